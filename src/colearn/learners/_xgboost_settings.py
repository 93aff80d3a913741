"""XGBoost's names of the settings of trees, and its settings that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from colearn.learners._boosted_settings import TreeSettings

__all__ = ["FIXED", "REFUSED", "training_params"]


def training_params(settings: TreeSettings) -> dict[str, Any]:
    """Return `settings` as XGBoost's training parameters, those that are fixed included."""
    own = asdict(settings)
    del own["trees_per_proposal"]
    return {**own, "booster": "gbtree", "tree_method": "hist", "nthread": 1}


FIXED: Mapping[str, tuple[object, str]] = {
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

REFUSED: Mapping[str, str] = {
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
"""Settings that no value makes usable here, and why."""
