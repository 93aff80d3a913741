"""Boosters as XGBoost's own scikit-learn estimators, for those who use the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from xgboost import XGBClassifier, XGBRegressor

__all__ = ["LabelledClassifier", "handed_out"]


class LabelledClassifier(XGBClassifier):  # type: ignore[misc]
    """An XGBClassifier that answers with class labels, where XGBoost's own knows 0, 1, ... only.

    Attributes:
        labels_: The class labels of the experiment, sorted; None before it is fitted.
    """

    labels_: npt.NDArray[Any] | None = None

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class labels, in the order of the columns of `predict_proba`."""
        return np.asarray(super().classes_) if self.labels_ is None else self.labels_

    def predict(self, X: Any, *, output_margin: bool = False, **settings: Any) -> Any:
        """Return the label of each row of X, or with `output_margin` the margins."""
        found = super().predict(X, output_margin=output_margin, **settings)
        if output_margin or self.labels_ is None:
            return found
        return self.labels_[np.asarray(found, np.int64)]


def handed_out(data: bytes, classes: tuple[int | str, ...] | None) -> Any:
    """Return a fitted estimator from a model file that this process has written.

    Feature importances count splits: gains and covers do not travel.
    """
    estimator = XGBRegressor() if classes is None else LabelledClassifier()
    estimator.set_params(importance_type="weight")
    estimator.load_model(bytearray(data))
    if classes is not None:
        estimator.labels_ = np.asarray(classes)
    return estimator
