"""Boosters as LightGBM's own scikit-learn estimators, for those who use the model."""

from __future__ import annotations

from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor

from colearn.errors import MissingExtraError

__all__ = ["handed_out"]


class _Labels:
    """What LightGBM turns places of classes into labels with; without scikit-learn's encoder."""

    def __init__(self, classes: tuple[int | str, ...]) -> None:
        self.classes_ = np.asarray(classes)

    def inverse_transform(self, places: Any) -> Any:
        return self.classes_[np.asarray(places)]


def handed_out(booster: Any, classes: tuple[int | str, ...] | None) -> Any:
    """Return a fitted estimator around a booster that nobody else uses.

    Feature importances count splits: gains do not travel. LightGBM fits its estimators from rows
    alone, so what `fit` would leave in one is set by name.

    Raises:
        MissingExtraError: scikit-learn is not installed, which these estimators need.
    """
    try:
        estimator = LGBMRegressor() if classes is None else LGBMClassifier()
    except Exception as error:
        if "scikit-learn" not in str(error):
            raise
        raise MissingExtraError("scikit-learn", extra="sklearn") from error
    width = booster.num_feature()
    fitted: dict[str, Any] = {
        "_Booster": booster,
        "_n_features": width,
        "_n_features_in": width,
        "_best_iteration": 0,
        "_objective": "regression",
        "fitted_": True,
    }
    if classes is not None:
        labels = _Labels(classes)
        fitted |= {
            "_objective": "binary" if len(classes) == 2 else "multiclass",
            "_le": labels,
            "_classes": labels.classes_,
            "_class_map": {label: place for place, label in enumerate(labels.classes_)},
            "_n_classes": len(classes),
        }
    vars(estimator).update(fitted)
    return estimator
