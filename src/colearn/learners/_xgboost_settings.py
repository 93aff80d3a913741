"""How a booster's trees are grown, and the settings of XGBoost that cannot be used."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from colearn.errors import ConfigError
from colearn.learners._xgboost_trees import DEPTH_MAX

__all__ = ["TreeSettings", "refuse_unknown"]

ROUNDS_MAX = 100
"""Boosting rounds one proposal may add: a bound on how fast a booster can be filled with trees."""

MAX_BIN_MAX = 2**16
"""Bins of one feature's histogram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSettings:
    """A proposer's own settings; they change the numbers in its trees and never their form.

    Attributes:
        trees_per_proposal: Boosting rounds, 1 to ROUNDS_MAX; each adds one tree, or one for each
            class where there are more than two.
        max_depth: Edges from a root to a leaf, 1 to DEPTH_MAX.
        learning_rate: By which a tree's values are multiplied, above 0 up to 1 (XGBoost's eta).
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

    @property
    def params(self) -> dict[str, Any]:
        """The same as XGBoost's training parameters, those that are fixed included."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        del own["trees_per_proposal"]
        return {**own, "booster": "gbtree", "tree_method": "hist", "nthread": 1}


def _is_real(value: object, low: float, high: float, *, above: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    number = float(value)
    return math.isfinite(number) and low <= number <= high and not (above and number == low)


_FIXED: Mapping[str, tuple[object, str]] = {
    "booster": ("gbtree", "dart drops trees of others and gblinear has none"),
    "tree_method": ("hist", "the other methods may leave deleted nodes in their trees"),
    "n_jobs": (1, "sums split over threads round differently"),
    "nthread": (1, "sums split over threads round differently"),
    "num_parallel_tree": (1, "a boosting round adds one tree, or one for each class"),
    "multi_strategy": ("one_output_per_tree", "trees with vectors in their leaves do not travel"),
    "enable_categorical": (False, "splits on categories do not travel"),
    "process_type": ("default", "a proposal may only add trees (P3.5)"),
    "missing": (None, "missing values are refused or imputed before (6.2)"),
}
"""Settings with one value that works, and why no other does."""

_REFUSED: Mapping[str, str] = {
    "objective": "it follows from the classes: logistic, softmax or squared error",
    "num_class": "it follows from the classes",
    "base_score": "it is the same on every learner: even odds, or `constant` in regression (6.1)",
    "updater": "the trees are grown by tree_method hist",
    "monotone_constraints": "nobody could check that the trees of others keep them",
    "interaction_constraints": "nobody could check that the trees of others keep them",
    "random_state": "it follows from the learner's seed and the round; set seed",
    "n_estimators": "the booster grows with the rounds; set trees_per_proposal",
    "eta": "set learning_rate",
    "colsample": "set colsample_bytree",
    "lambda": "set reg_lambda",
}


def refuse_unknown(settings: Mapping[str, object], known: Collection[str]) -> dict[str, Any]:
    """Return the settings in `known`; those of XGBoost with the only value that works are dropped.

    Raises:
        ConfigError: Another setting; names it and says why it cannot be used.
    """
    for name, value in settings.items():
        if name in known:
            continue
        if name in _FIXED:
            fixed, reason = _FIXED[name]
            if value != fixed or isinstance(value, bool) != isinstance(fixed, bool):
                raise ConfigError(
                    f"XGBoostLearner needs {name} = {fixed!r}, got {value!r}: {reason}."
                )
        elif name in _REFUSED:
            raise ConfigError(f"XGBoostLearner does not take {name}: {_REFUSED[name]}.")
        else:
            own = ", ".join(each.name for each in fields(TreeSettings))
            raise ConfigError(
                f"XGBoostLearner does not know the setting {name!r}.",
                hint=f"Those of its trees are {own}.",
            )
    return {name: value for name, value in settings.items() if name in known}
