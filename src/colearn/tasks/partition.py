"""How rows are dealt to learners: evenly, or skewed in the ways that break naive averaging."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError
from colearn.tasks.base import IndexArray

__all__ = ["ALPHA_MAX", "DRAWS_MAX", "Seed", "Split", "SplitKind", "partition"]

DRAWS_MAX = 100
"""How often a random split is drawn again until every learner has `min_rows` (section 4)."""

ALPHA_MAX = 1e9
"""The largest Dirichlet concentration: shares are equal long before, and numpy's draw overflows."""

SplitKind = Literal["iid", "quantity", "dirichlet", "pathological", "group"]

Seed = int | np.random.SeedSequence


@dataclass(frozen=True, slots=True)
class Split:
    """How a task's rows are dealt to its learners; the keys of ``task.split`` in a file.

    Attributes:
        by: ``"iid"``: at random, in equal shares. ``"quantity"``: at random, in shares drawn from
            a Dirichlet distribution. ``"dirichlet"``: each class in shares drawn anew, which skews
            the labels. ``"pathological"``: each learner has rows of few classes only.
            ``"group"``: rows of one group stay with one learner.
        learners: How many learners, at least 1.
        alpha: The Dirichlet concentration of ``quantity`` and ``dirichlet``; smaller is more
            skewed; above 0, at most `ALPHA_MAX`.
        classes_per_learner: The most classes a learner has under ``pathological``.
        min_rows: The fewest rows a learner may have (section 4), at least 1.

    Raises:
        ConfigError: A value is of the wrong kind or out of range; the text names its key.
    """

    by: SplitKind = "iid"
    learners: int = 5
    alpha: float = 0.5
    classes_per_learner: int = 2
    min_rows: int = 20

    def __post_init__(self) -> None:
        if self.by not in get_args(SplitKind):
            raise ConfigError(
                f"task.split.by must be one of {', '.join(get_args(SplitKind))}, got {self.by!r}."
            )
        for key in ("learners", "classes_per_learner", "min_rows"):
            value: object = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"task.split.{key} must be a whole number from 1, got {value!r}.")
        alpha: object = self.alpha
        if isinstance(alpha, bool) or not isinstance(alpha, int | float):
            raise ConfigError(f"task.split.alpha must be a number, got {alpha!r}.")
        if not 0 < alpha <= ALPHA_MAX:
            raise ConfigError(
                f"task.split.alpha must be above 0 and at most {ALPHA_MAX:g}, got {alpha!r}.",
                hint='0.5 is a strong skew, 100 is close to none, "iid" is none.',
            )


def partition(
    y: npt.NDArray[Any], groups: npt.NDArray[Any] | None, split: Split, seed: Seed
) -> list[IndexArray]:
    """Deal the rows of `y` to the learners of `split`.

    Args:
        y: Labels or regression targets, (rows,).
        groups: One group per row, (rows,); only ``by = "group"`` reads it.
        split: How to deal.
        seed: The same seed gives the same parts.

    Returns:
        One ascending int64 index array per learner, disjoint and together every row.

    Raises:
        ConfigError: There are too few rows, classes or groups, no draw gave every learner
            ``split.min_rows`` rows, the target is not labels, or the seed is negative.
    """
    rows = len(y)
    needed = split.learners * split.min_rows
    if rows < needed:
        raise ConfigError(
            f"{split.learners} learners with task.split.min_rows = {split.min_rows} need {needed} "
            f"rows, and there are {rows}.",
            hint="Lower task.split.learners or task.split.min_rows.",
        )
    draw = _drawer(y, groups, split)
    rng = generator(seed)
    fewest: list[int] = []
    for _ in range(DRAWS_MAX if split.by in ("quantity", "dirichlet") else 1):
        parts = draw(rng)
        sizes = [len(part) for part in parts]
        if min(sizes) >= split.min_rows:
            return [np.sort(part).astype(np.int64) for part in parts]
        fewest = max(fewest, sizes, key=lambda counts: min(counts, default=-1))
    raise _too_few(split, fewest)


def generator(seed: Seed) -> np.random.Generator:
    """Return the random generator of a seed.

    Raises:
        ConfigError: The seed is not a whole number from 0.
    """
    return np.random.default_rng(seed_sequence(seed))


def seed_sequence(seed: Seed) -> np.random.SeedSequence:
    """Return the seed sequence of a seed, which spawns independent seeds.

    Raises:
        ConfigError: The seed is not a whole number from 0.
    """
    if isinstance(seed, np.random.SeedSequence):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"A seed must be a whole number from 0, got {seed!r}.")
    return np.random.SeedSequence(seed)


Draw = Callable[[np.random.Generator], list[IndexArray]]


def _drawer(y: npt.NDArray[Any], groups: npt.NDArray[Any] | None, split: Split) -> Draw:
    """Check what this kind of split needs and return the function that draws one."""
    n = split.learners
    if split.by == "iid":
        return lambda rng: np.array_split(rng.permutation(len(y)), n)
    if split.by == "quantity":
        return lambda rng: _deal(rng.permutation(len(y)), n, split.alpha, rng)
    if split.by == "group":
        codes = _group_codes(groups, len(y), split)
        return lambda rng: _by_group(codes, n, rng)
    members = _class_members(y, split)
    if split.by == "dirichlet":
        return lambda rng: _dirichlet(members, n, split.alpha, rng)
    return lambda rng: _pathological(members, n, split.classes_per_learner, rng)


def _class_members(y: npt.NDArray[Any], split: Split) -> list[IndexArray]:
    if y.dtype.kind == "f":
        raise ConfigError(
            f"task.split.by = {split.by!r} deals by class, and the target is numbers "
            f"(dtype {y.dtype}).",
            hint='Use "iid", "quantity" or "group" for regression.',
        )
    classes, codes = np.unique(y, return_inverse=True)
    if split.by == "pathological":
        most = split.learners * split.classes_per_learner
        if not split.classes_per_learner <= len(classes) <= most:
            raise ConfigError(
                f"task.split.classes_per_learner = {split.classes_per_learner} with "
                f"{split.learners} learners deals {split.classes_per_learner} to {most} classes, "
                f"and there are {len(classes)}.",
                hint="Choose it at most the classes, and times learners at least the classes.",
            )
    return [np.flatnonzero(codes == code) for code in range(len(classes))]


def _group_codes(groups: npt.NDArray[Any] | None, rows: int, split: Split) -> IndexArray:
    if groups is None:
        raise ConfigError(
            'task.split.by = "group" needs a group for every row, and the task has none.',
            hint="Name the group column of the task.",
        )
    if len(groups) != rows:
        raise ConfigError(f"Expected one group for each of {rows} rows, got {len(groups)}.")
    names, codes = np.unique(groups, return_inverse=True)
    if len(names) < split.learners:
        raise ConfigError(
            f"task.split.learners = {split.learners} needs as many groups, and there are "
            f"{len(names)}.",
            hint=f"Lower task.split.learners to {len(names)} or less.",
        )
    return codes.astype(np.int64)


def _deal(
    rows: IndexArray, learners: int, alpha: float, rng: np.random.Generator
) -> list[IndexArray]:
    """Cut `rows` into Dirichlet shares."""
    shares = rng.dirichlet(np.full(learners, alpha))
    cuts = np.rint(np.cumsum(shares)[:-1] * len(rows)).astype(np.int64)
    return np.split(rows, np.minimum(cuts, len(rows)))


def _dirichlet(
    members: list[IndexArray], learners: int, alpha: float, rng: np.random.Generator
) -> list[IndexArray]:
    dealt = [_deal(rng.permutation(rows), learners, alpha, rng) for rows in members]
    return [np.concatenate(pieces) for pieces in zip(*dealt, strict=True)]


def _pathological(
    members: list[IndexArray], learners: int, classes: int, rng: np.random.Generator
) -> list[IndexArray]:
    """Let every learner in turn take the classes that the fewest learners hold."""
    # The least held first keeps the numbers of holders within one of each other, so that with
    # learners * classes >= len(members) no class is left without a holder.
    holders: list[list[int]] = [[] for _ in members]
    for learner in range(learners):
        held_by = np.array([len(held) for held in holders])
        order = np.lexsort((rng.random(len(members)), held_by))
        for chosen in order[:classes]:
            holders[chosen].append(learner)
    parts: list[list[IndexArray]] = [[] for _ in range(learners)]
    for rows, held in zip(members, holders, strict=True):
        for learner, piece in zip(
            held, np.array_split(rng.permutation(rows), len(held)), strict=True
        ):
            parts[learner].append(piece)
    return [np.concatenate(pieces) for pieces in parts]


def _by_group(codes: IndexArray, learners: int, rng: np.random.Generator) -> list[IndexArray]:
    """Give the groups, the largest first, to the learner with the fewest rows so far."""
    sizes = np.bincount(codes)
    # The seed decides between groups of equal size, and between learners of equal load.
    order = np.lexsort((rng.random(len(sizes)), -sizes))
    seats = rng.permutation(learners)
    load = np.zeros(learners, dtype=np.int64)
    owner = np.zeros(len(sizes), dtype=np.int64)
    for group in order:
        lightest = int(np.argmin(load))
        owner[group] = seats[lightest]
        load[lightest] += sizes[group]
    return [np.flatnonzero(owner[codes] == learner) for learner in range(learners)]


def _too_few(split: Split, counts: list[int]) -> ConfigError:
    change = {
        "iid": "",
        "quantity": "Raise task.split.alpha, or lower",
        "dirichlet": "Raise task.split.alpha, or lower",
        "pathological": "Raise task.split.classes_per_learner, or lower",
        "group": "Choose a group column with groups of more equal size, or lower",
    }[split.by]
    return ConfigError(
        f"task.split.by = {split.by!r} left a learner fewer than task.split.min_rows = "
        f"{split.min_rows} rows: the parts have {counts[:20]}.",
        hint=f"{change or 'Lower'} task.split.learners or task.split.min_rows.",
    )
