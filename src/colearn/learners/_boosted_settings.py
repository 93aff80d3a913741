"""How a booster's trees are grown: what its frameworks share, and refusing everything else."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from colearn.errors import ConfigError
from colearn.learners._boosted_trees import DEPTH_MAX

__all__ = ["ROUNDS_MAX", "TreeSettings", "refuse_unknown"]

ROUNDS_MAX = 100
"""Boosting rounds one proposal may add: a bound on how fast a booster can be filled with trees."""

MAX_BIN_MAX = 2**16
"""Bins of one feature's histogram."""


@dataclass(frozen=True, kw_only=True)
class TreeSettings:
    """A proposer's own settings; they change the numbers in its trees and never their form.

    Attributes:
        trees_per_proposal: Boosting rounds, 1 to ROUNDS_MAX; each adds one tree, or one for each
            class where there are more than two.
        max_depth: Edges from a root to a leaf, 1 to DEPTH_MAX.
        learning_rate: By which a tree's values are multiplied, above 0 up to 1.
        subsample: The share of the rows each tree is grown on, above 0 up to 1.
        colsample_bytree: The share of the features each tree may use, above 0 up to 1.
        reg_lambda: The L2 penalty on a leaf's value, 0 or more.
        min_child_weight: The least sum of second derivatives in a node, 0 or more.
        max_bin: Bins of one feature's histogram, 2 to MAX_BIN_MAX.

    Raises:
        ConfigError: A value out of range; names the setting.
    """

    trees_per_proposal: int
    max_depth: int
    learning_rate: float
    subsample: float
    colsample_bytree: float
    reg_lambda: float
    min_child_weight: float
    max_bin: int

    def __post_init__(self) -> None:
        self._require_whole("trees_per_proposal", 1, ROUNDS_MAX)
        self._require_whole("max_depth", 1, DEPTH_MAX)
        self._require_whole("max_bin", 2, MAX_BIN_MAX)
        for name in ("learning_rate", "subsample", "colsample_bytree"):
            self._require(name, _is_real(getattr(self, name), 0, 1, above=True), "above 0, up to 1")
        for name in ("reg_lambda", "min_child_weight"):
            self._require(name, _is_real(getattr(self, name), 0, math.inf), "0 or more and finite")

    def _require_whole(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        self._require(name, whole and low <= value <= high, f"a whole number from {low} to {high}")

    def _require(self, name: str, holds: bool, expected: str) -> None:  # noqa: FBT001
        if not holds:
            raise ConfigError(f"{name} must be {expected}, got {getattr(self, name)!r}.")


def _is_real(value: object, low: float, high: float, *, above: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    number = float(value)
    return math.isfinite(number) and low <= number <= high and not (above and number == low)


def refuse_unknown(
    learner: str,
    settings: Mapping[str, object],
    known: Collection[str],
    *,
    fixed: Mapping[str, tuple[object, str]],
    refused: Mapping[str, str],
    own: Iterable[str],
) -> dict[str, Any]:
    """Return the settings in `known`; the framework's with the only value that works are dropped.

    Args:
        learner: The class, as messages name it.
        settings: What it was given beside the settings of its trees.
        known: Names that are the learner's own.
        fixed: The framework's settings with one value that works, and why no other does.
        refused: Those that no value makes usable, and why.
        own: The names of the settings of its trees, for the hint.

    Raises:
        ConfigError: Another setting; names it and says why it cannot be used.
    """
    for name, value in settings.items():
        if name in known:
            continue
        if name in fixed:
            works, reason = fixed[name]
            if value != works or isinstance(value, bool) != isinstance(works, bool):
                raise ConfigError(f"{learner} needs {name} = {works!r}, got {value!r}: {reason}.")
        elif name in refused:
            raise ConfigError(f"{learner} does not take {name}: {refused[name]}.")
        else:
            raise ConfigError(
                f"{learner} does not know the setting {name!r}.",
                hint=f"Those of its trees are {', '.join(own)}.",
            )
    return {name: value for name, value in settings.items() if name in known}
