"""How a voter decides: losses, row weights and the two modes of protocol section 4."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "LOSS_FLOOR",
    "Floats",
    "Predictions",
    "Targets",
    "class_balance",
    "improves",
    "is_not_worse",
]

Floats = npt.NDArray[np.float64]
Targets = npt.NDArray[Any]
"""Class indices (int64) of a classifier, values (float64) of a regressor, shape (rows,)."""

LOSS_FLOOR = 1e-15
"""A probability below this counts as this in the log loss (section 4)."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says about some rows.

    Attributes:
        kind: What `scores` holds.
        scores: (rows, classes) class probabilities or decision values, or (rows,) values.
    """

    kind: Literal["probabilities", "margins", "values"]
    scores: Floats

    def losses(self, targets: Targets) -> Floats:
        """Return each row's loss, shape (rows,) (section 4).

        Log loss where there are probabilities, the multi-class hinge max(0, 1 - margin) where
        there are decision values, squared error for a regressor. What is no number counts as
        infinitely bad.
        """
        with np.errstate(all="ignore"):
            losses = self._raw_losses(targets)
        return np.where(np.isnan(losses), np.inf, losses)

    def _raw_losses(self, targets: Targets) -> Floats:
        if self.kind == "values":
            return np.asarray(np.square(self.scores - targets))
        rows = np.arange(len(targets))
        own = self.scores[rows, targets]
        if self.kind == "probabilities":
            return np.asarray(-np.log(np.clip(own, LOSS_FLOOR, 1.0)))
        others = self.scores.copy()
        others[rows, targets] = -np.inf
        return np.asarray(np.maximum(0.0, 1.0 - (own - others.max(axis=1))))

    @property
    def best(self) -> Targets:
        """The predicted class index, or the predicted value, of each row."""
        if self.kind == "values":
            return self.scores
        return np.asarray(self.scores.argmax(axis=1))


def class_balance(targets: Targets, classes_count: int, weights: Floats | None = None) -> Floats:
    """Return 1 / (count of the row's class among these rows), shape (rows,) (section 4).

    With `weights`, (rows,), it is weight / (sum of the weights of the row's class): every class
    of the rows counts alike in any case.
    """
    if weights is None:
        return np.asarray(1.0 / np.bincount(targets, minlength=classes_count)[targets])
    return np.asarray(weights / np.bincount(targets, weights, classes_count)[targets])


def is_not_worse(current: Floats, proposed: Floats, balance: Floats | None, z: float) -> bool:
    """Decide by mode ``paired``: the proposal is not significantly worse (section 4).

    Args:
        current: (rows,) losses of the model M on the private vote set.
        proposed: (rows,) losses of the proposal M' on the same rows.
        balance: (rows,) weights the differences are multiplied by; None for none. Only their
            ratios matter.
        z: How many standard errors below zero the mean difference may lie.

    Returns:
        mean(d) > z * stderr(d) with d = loss(M) - loss(M'), stderr with ddof 1; where the
        differences do not vary, whether their mean is above 0.
    """
    with np.errstate(all="ignore"):
        difference = current - proposed
        if balance is not None:
            difference = difference * balance
        mean = float(difference.mean())
        error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    return mean > z * error if error > 0 else mean > 0


def improves(current: float, proposed: float) -> bool:
    """Decide by mode ``classic``: strictly better, the original rule (section 4)."""
    return proposed > current
