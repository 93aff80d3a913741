"""Which rows are the common test set, and which each site trains and votes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError
from colearn.tasks.base import IndexArray, Task
from colearn.tasks.partition import Seed, Split, generator, partition, seed_sequence

__all__ = ["VOTE_ROWS_MIN", "Division", "Site", "divide"]

VOTE_ROWS_MIN = 2
"""The fewest vote samples a learner may have: one sample has no standard error (section 4)."""


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """One learner's rows, the vote set disjoint from the training set (section 4).

    Attributes:
        train: Indices of the rows it trains on, int64 (train rows,), in random order.
        vote: Indices of the rows it votes on, int64 (vote rows,), in random order.
    """

    train: IndexArray
    vote: IndexArray


@dataclass(frozen=True, slots=True, eq=False)
class Division:
    """All rows of a task, divided.

    Attributes:
        test: Indices of the common test set, int64; empty without one.
        sites: One `Site` per learner.
    """

    test: IndexArray
    sites: tuple[Site, ...]

    @property
    def pooled(self) -> IndexArray:
        """Every site's train and vote indices, int64: what one learner with all data would have."""
        return np.concatenate([rows for site in self.sites for rows in (site.train, site.vote)])


def divide(
    task: Task,
    split: Split,
    seed: Seed,
    test_share: float = 0.3,
    vote_share: float = 0.3,
    *,
    whole_groups: bool = False,
) -> Division:
    """Divide a task's rows into the common test set and the sites' train and vote sets.

    The test set depends on the seed and `test_share` alone, so that splits can be compared.

    Args:
        task: What to divide.
        split: How the rows outside the test set are dealt to the learners.
        seed: The same seed gives the same division.
        test_share: Share of all rows in the test set, from 0 to below 1.
        vote_share: Share of a learner's rows in its vote set, between 0 and 1 (section 4); at
            least two rows, and one is left to train on.
        whole_groups: Whether rows of one group are all voted on or all trained on, as where
            groups are people whose privacy is kept.

    Raises:
        ConfigError: A share is out of range, or the rows cannot be dealt; see `partition`.
    """
    if not _is_number(test_share) or not 0 <= test_share < 1:
        raise ConfigError(f"task.test_share must be from 0 to below 1, got {test_share!r}.")
    if not _is_number(vote_share) or not 0 < vote_share < 1:
        raise ConfigError(f"task.vote_share must be above 0 and below 1, got {vote_share!r}.")
    # Built anew, because spawn() counts: a caller's sequence must give the same children twice.
    root = seed_sequence(seed)
    root = np.random.SeedSequence(root.entropy, spawn_key=root.spawn_key, pool_size=root.pool_size)
    test_seed, split_seed, cut_seed = root.spawn(3)
    # Drawn from all rows, by group too: the common test measures the model for the sites that
    # learn it. Whole groups held out would measure a site that is in nobody's training set, make
    # the test depend on the split, and leave fewer groups to deal.
    rows = generator(test_seed).permutation(len(task.y)).astype(np.int64)
    test, rest = np.split(rows, [round(test_share * len(rows))])
    rest = np.sort(rest)
    groups = None if task.groups is None else task.groups[rest]
    parts = partition(task.y[rest], groups, split, split_seed)
    cuts = cut_seed.spawn(len(parts))
    whole = task.groups if whole_groups else None
    sites = [
        _cut(rest[part], vote_share, generator(child))
        if whole is None
        else _cut_by_group(rest[part], whole[rest[part]], vote_share, generator(child))
        for part, child in zip(parts, cuts, strict=True)
    ]
    return Division(np.sort(test), tuple(sites))


def _is_number(share: object) -> bool:
    return isinstance(share, int | float)


def _cut(rows: IndexArray, vote_share: float, rng: np.random.Generator) -> Site:
    if len(rows) <= VOTE_ROWS_MIN:
        raise ConfigError(
            f"A learner needs at least {VOTE_ROWS_MIN} rows to vote and 1 to train on, and one "
            f"has {len(rows)}.",
            hint="Raise task.split.min_rows, or lower task.split.learners.",
        )
    votes = min(max(VOTE_ROWS_MIN, round(vote_share * len(rows))), len(rows) - 1)
    vote, train = np.split(rng.permutation(rows), [votes])
    return Site(train=train, vote=vote)


def _cut_by_group(
    rows: IndexArray, groups: npt.NDArray[Any], vote_share: float, rng: np.random.Generator
) -> Site:
    """Cut where a group ends, after the first with which the vote set is large enough."""
    names, codes = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ConfigError(
            f"A learner needs the rows of at least 2 groups, one to vote and one to train on, and "
            f"one has {len(names)}.",
            hint="Lower task.split.learners, or deal the rows otherwise.",
        )
    order = rng.permutation(len(names))
    sizes = np.cumsum(np.bincount(codes)[order])
    wanted = max(VOTE_ROWS_MIN, round(vote_share * len(rows)))
    count = min(int(np.searchsorted(sizes, wanted)) + 1, len(names) - 1)
    votes = np.isin(codes, order[:count])
    return Site(train=rng.permutation(rows[~votes]), vote=rng.permutation(rows[votes]))
