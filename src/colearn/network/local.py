"""One member's own part of an experiment: its rows, its learner, its settings (6.1).

A specification is written by somebody else, and it names functions that the learner is built
with. Nothing that it names is called unless it comes with Colearn, lies in the member's own
folder, or was named by the member itself.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import numpy as np

from colearn.errors import ConfigError
from colearn.experiment.config import ExperimentConfig, parse_config
from colearn.experiment.plan import Plan, plan, task_of
from colearn.interface import MachineLearningInterface
from colearn.network.terms import Terms
from colearn.preprocess import Scaling
from colearn.tasks import Split, Task, divide

__all__ = ["Local", "check_local", "learner_of", "local_plan", "search_beside", "strange_names"]

_KEYS = frozenset(
    {"task.use", "task.with", "task.test_share", "vote.share", "learner.use", "learner.with"}
)
_TABLES = ("task.with.", "learner.with.")
_SEED = "seed"
_OF_THE_SPLIT = frozenset({"task.test_share", "vote.share", _SEED})
"""What decides the experiment's own split, so that a member with a share of it cannot choose."""

_KNOWN_MODULES = frozenset(
    {
        "colearn.learners", "colearn.learners.torch_models", "colearn.learners.keras_models",
        "colearn.tasks", "keras.losses", "keras.optimizers", "sklearn.linear_model",
        "sklearn.naive_bayes", "sklearn.neural_network", "torch.nn", "torch.optim",
    }
)  # fmt: skip
"""Modules whose public objects any specification may name: they build models and read data."""


@dataclass(frozen=True, slots=True)
class Local:
    """What a member decides alone.

    Attributes:
        name: What its node is called.
        seed: Decides what its learner draws, where it has rows of its own.
        share: Which part of the experiment's own split it has, from 1; None for rows of its own.
        overrides: KEY=VALUE, in place of what the specification says.
        search: The folder whose modules may be named; None for none.
    """

    name: str
    seed: int
    share: int | None = None
    overrides: tuple[str, ...] = ()
    search: Path | None = None

    @property
    def place(self) -> int:
        """Its place among the sites of its plan, from 0."""
        return 0 if self.share is None else self.share - 1


def check_local(terms: Terms, local: Local) -> None:
    """Refuse settings that are not the member's to choose.

    Raises:
        ConfigError: Names the key.
    """
    for entry in local.overrides:
        key = _key(entry)
        if key not in _KEYS and key != _SEED and not key.startswith(_TABLES):
            raise ConfigError(
                f"[{key}] was agreed by all members, and no member can change it alone.",
                hint=f"A member may set {', '.join(sorted({*_KEYS, _SEED}))}.",
            )
        if local.share is not None and key in _OF_THE_SPLIT:
            raise ConfigError(
                f"[{key}] decides the split of all, and this member has a share of it.",
                hint=f"Leave out --share or {key}.",
            )
    shared = terms.config.preprocess.use == "shared"
    if shared and terms.config.privacy.asked:
        raise ConfigError(
            '[preprocess.use] "shared" with privacy needs moments that each member has noised, '
            "which do not cross the network yet.",
            hint='Use "public" or "none" in the experiment.',
        )
    learners = terms.config.task.split.learners
    if local.share is not None and not 1 <= local.share <= learners:
        raise ConfigError(
            f"The experiment's split has the shares 1 to {learners}, got {local.share}."
        )
    if local.share is None and shared:
        raise ConfigError(
            '[preprocess.use] "shared" needs the moments of all members, which do not cross the '
            "network yet.",
            hint='Use "public" or "none" in the experiment, or a share of its data (--share).',
        )


def strange_names(terms: Terms, local: Local, trusted: Sequence[str] = ()) -> list[str]:
    """Return what the specification names, and the member has to trust by name first.

    Returns:
        Lines such as ``learner.with.module = "subprocess:run"``.
    """
    own = {_key(entry) for entry in local.overrides}
    config = terms.config
    found = [("task.use", config.task.use), ("learner.use", config.learner.use)]
    found += _references("task.with", config.task.settings)
    found += _references("learner.with", config.learner.settings)
    return [
        f'{key} = "{use}"'
        for key, use in found
        if not _replaced(key, own)
        and use.partition(":")[0] not in trusted
        and not _is_known(use)
        and not _lies_in(local.search, use)
    ]


def search_beside(folder: Path | None) -> None:
    """Let modules of a folder be named in `use`, before all others."""
    if folder is not None and sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()


def local_plan(terms: Terms, local: Local) -> Plan:
    """Load the member's rows and scale them as everybody does (6.2).

    With a share the rows are those that `colearn run` would deal to this place. Without one, all
    rows of the task are the member's, divided into training, vote and test rows.

    Raises:
        ConfigError: Something does not fit; names the key or the column.
    """
    check_local(terms, local)
    config = _local_config(terms.config, local.overrides)
    if local.share is not None:
        prepared = plan(config)
        _check_scaling(terms, prepared.task)
        return prepared
    task = task_of(config)
    scaling = _check_scaling(terms, task)
    whole = Split(by="iid", learners=1, min_rows=1)
    shares = {"test_share": config.task.test_share, "vote_share": config.vote.share}
    by_user = "user" in config.privacy.units
    division = divide(task, whole, local.seed, **shares, whole_groups=by_user)
    own = _own_seed(local)
    X = scaling.apply(task.X)
    return Plan(config, task, division, X, (local.name,), frozenset(), own_seed=own)


def learner_of(prepared: Plan, local: Local) -> MachineLearningInterface:
    """Return the member's learner, as it is before any round.

    Raises:
        ConfigError: Its settings do not fit; names the key.
    """
    return prepared.member(local.place)


def _local_config(config: ExperimentConfig, overrides: Sequence[str]) -> ExperimentConfig:
    kept = [entry for entry in overrides if _key(entry) != _SEED]
    return parse_config(config.model_dump(by_alias=True, exclude_none=True), kept)


def _own_seed(local: Local) -> int:
    for entry in local.overrides:
        if _key(entry) == _SEED:
            text = entry.partition("=")[2].strip()
            if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
                raise ConfigError(f"[seed] must be a whole number from 0, got {text[:40]!r}.")
            local = replace(local, seed=int(text))
    return local.seed


def _check_scaling(terms: Terms, task: Task) -> Scaling:
    """Return the scaling that was agreed on; a task whose own one differs is refused (6.2)."""
    width = task.X.shape[1]
    plain = Scaling.identity(width)
    if terms.config.preprocess.use == "shared":
        return plain
    agreed = plain if terms.scaling is None else terms.scaling
    if agreed.offset.size != width:
        raise ConfigError(
            f"The experiment has {agreed.offset.size} columns, and this task {width}.",
            hint="The specification says which columns, and in which order.",
        )
    own = task.scaling
    if terms.config.preprocess.use == "none" or own is None or _equal(own, plain):
        return agreed
    if not _equal(own, agreed):
        differs = (own.offset != agreed.offset) | (own.divisor != agreed.divisor)
        at = int(np.flatnonzero(differs)[0])
        raise ConfigError(
            f"Column {task.schema.features[at]!r} is scaled by ({own.offset[at]}, "
            f"{own.divisor[at]}) in this task, and the experiment's offset and divisor are "
            f"({agreed.offset[at]}, {agreed.divisor[at]}).",
            hint="Let the task give no scaling: then the experiment's is used.",
        )
    return agreed


def _equal(one: Scaling, other: Scaling) -> bool:
    return np.array_equal(one.offset, other.offset) and np.array_equal(one.divisor, other.divisor)


def _key(entry: str) -> str:
    key, equals, _ = entry.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"Expected KEY=VALUE, got {entry!r}.", hint="Write vote.share=0.2.")
    return key.strip()


def _references(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield every text in settings that an adapter could take for ``module:name``."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _references(f"{key}.{name}", each)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _references(f"{key}.{place}", each)
    elif isinstance(value, str):
        module, colon, name = value.partition(":")
        if colon and name and all(part.isidentifier() for part in module.split(".")):
            yield key, value


def _replaced(key: str, own: set[str]) -> bool:
    """Say whether the member has set a key itself, or a table that it lies in."""
    parts = key.split(".")
    return any(".".join(parts[:count]) in own for count in range(1, len(parts) + 1))


def _lies_in(folder: Path | None, use: str) -> bool:
    """Say whether the module that is named is a file or a package right in a folder."""
    if folder is None:
        return False
    top = use.partition(":")[0].partition(".")[0]
    if top in sys.stdlib_module_names:
        return False
    found = PathFinder.find_spec(top, [str(folder)])
    # A folder without __init__.py has no origin, and could be the name of any other package.
    return found is not None and found.origin is not None


def _is_known(use: str) -> bool:
    """Say whether an object is one that any specification may name."""
    module, _, name = use.partition(":")
    if module not in _KNOWN_MODULES:
        return False
    if not module.startswith("colearn."):
        # Classes of layers, losses and optimizers; functions beside them read files and configs.
        return name[:1].isupper()
    try:
        return name in importlib.import_module(module).__all__
    except ImportError:
        # Its extra is missing, which will be said where it is used.
        return True
