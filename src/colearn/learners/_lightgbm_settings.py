"""LightGBM's names of the settings of trees, and its settings that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from colearn.learners._boosted_settings import TreeSettings

__all__ = ["FIXED", "REFUSED", "LeafwiseSettings", "training_params"]

LEAVES_MAX = 131_072
"""Leaves of one tree: LightGBM's own limit."""


@dataclass(frozen=True, kw_only=True)
class LeafwiseSettings(TreeSettings):
    """A proposer's own settings, with those of trees that grow leaf by leaf.

    Attributes:
        num_leaves: Leaves of one tree, 2 to LEAVES_MAX; `max_depth` may leave room for fewer.
        min_child_samples: Rows in a leaf, at least; 1 or more.

    Raises:
        ConfigError: A value out of range; names the setting.
    """

    num_leaves: int
    min_child_samples: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_whole("num_leaves", 2, LEAVES_MAX)
        self._require_whole("min_child_samples", 1, 2**31 - 1)


def training_params(settings: LeafwiseSettings) -> dict[str, Any]:
    """Return `settings` as LightGBM's training parameters, those that are fixed included."""
    return {
        "num_leaves": min(settings.num_leaves, 2**settings.max_depth),
        "max_depth": settings.max_depth,
        "learning_rate": settings.learning_rate,
        "bagging_fraction": settings.subsample,
        "bagging_freq": 1,
        "feature_fraction": settings.colsample_bytree,
        "lambda_l2": settings.reg_lambda,
        "min_sum_hessian_in_leaf": settings.min_child_weight,
        "min_data_in_leaf": settings.min_child_samples,
        "max_bin": settings.max_bin,
        "boosting": "gbdt",
        "tree_learner": "serial",
        "device_type": "cpu",
        "boost_from_average": False,
        "use_missing": False,
        "zero_as_missing": False,
        # Which features may split would else be decided by the rows alone, before any tree.
        "feature_pre_filter": False,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }


_THREADS = (1, "sums split over threads round differently")
_BOOSTING = ("gbdt", "dart drops and rescales trees of others, and rf takes the mean of all")
_GROWER = ("serial", "the rows are on one machine")
_DEVICE = ("cpu", "a GPU does not promise the same bytes for the same seed")
_ALONE = "nobody could check that the trees of others keep them"
_SEED = "it follows from the learner's seed and the round; set seed"
_ROUNDS = "the booster grows with the rounds; set trees_per_proposal"
_MODEL_0 = "it is the same on every learner: even odds, or `constant` in regression (6.1)"
_WEIGHTS = "set class_weight"

FIXED: Mapping[str, tuple[object, str]] = {
    "boosting": _BOOSTING,
    "boosting_type": _BOOSTING,
    "boost": _BOOSTING,
    "data_sample_strategy": ("bagging", "goss needs no rows that count unlike; set subsample"),
    "tree_learner": _GROWER,
    "device": _DEVICE,
    "device_type": _DEVICE,
    "num_threads": _THREADS,
    "nthread": _THREADS,
    "n_jobs": _THREADS,
    "subsample_freq": (1, "each tree is grown on rows of its own"),
    "bagging_freq": (1, "each tree is grown on rows of its own"),
    "deterministic": (True, "a proposal can be made again from its seed"),
    "force_row_wise": (True, "which way is tried first must not depend on the clock"),
    "force_col_wise": (False, "which way is tried first must not depend on the clock"),
    "boost_from_average": (False, _MODEL_0),
    "linear_tree": (False, "leaves with linear models do not travel"),
    "use_missing": (False, "missing values are refused or imputed before (6.2)"),
    "zero_as_missing": (False, "0 is a number; missing values are refused or imputed (6.2)"),
    "is_unbalance": (False, _WEIGHTS),
    "scale_pos_weight": (1, _WEIGHTS),
    "verbosity": (-1, "a library does not print"),
    "verbose": (-1, "a library does not print"),
}
"""Settings with one value that works, and why no other does."""

REFUSED: Mapping[str, str] = {
    "objective": "it follows from the classes: binary, multiclass or regression (squared error)",
    "application": "it follows from the classes: binary, multiclass or regression (squared error)",
    "num_class": "it follows from the classes",
    "init_score": _MODEL_0,
    "categorical_feature": "splits on categories do not travel",
    "cat_feature": "splits on categories do not travel",
    "monotone_constraints": _ALONE,
    "interaction_constraints": _ALONE,
    "forcedsplits_filename": "no file is read",
    "forcedbins_filename": "no file is read",
    "input_model": "training goes on from the group's model",
    "init_model": "training goes on from the group's model",
    "reg_sqrt": "every learner must mean the same number by a leaf's value",
    "early_stopping_round": "the others decide by their votes when a tree is one too many",
    "class_weights": _WEIGHTS,
    "random_state": _SEED,
    "bagging_seed": _SEED,
    "feature_fraction_seed": _SEED,
    "data_random_seed": _SEED,
    "n_estimators": _ROUNDS,
    "num_iterations": _ROUNDS,
    "num_boost_round": _ROUNDS,
    "eta": "set learning_rate",
    "bagging_fraction": "set subsample",
    "feature_fraction": "set colsample_bytree",
    "lambda_l2": "set reg_lambda",
    "min_data_in_leaf": "set min_child_samples",
    "min_sum_hessian_in_leaf": "set min_child_weight",
}
"""Settings that no value makes usable here, and why."""
