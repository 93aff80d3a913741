"""Gaussian naive Bayes: a proposal adds the statistics of rows not used before."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.naive_bayes import GaussianNB

from colearn.errors import ColearnError, WeightsError
from colearn.learners._family import Arrays, Features
from colearn.learners._scoring import Floats, Predictions, Targets
from colearn.schema import Schema
from colearn.weights import NamedArrays

__all__ = ["NaiveBayesFamily"]

_PRIOR_FLOOR = 1e-300
"""The prior of a class nobody has shown yet: as good as never, and its logarithm exists."""


class NaiveBayesFamily:
    """GaussianNB: arrays ``count`` (classes,), ``mean`` and ``variance`` (classes, features).

    Counting a row twice would make the model surer than it may be, so every proposal takes the
    next rows, and a learner whose rows are used up proposes nothing more.
    """

    grows = False
    damping = 1.0
    weighs_rows = True

    def __init__(self, estimator: GaussianNB, schema: Schema, rows_per_proposal: int) -> None:
        """Keep the smoothing of `estimator`, and add `rows_per_proposal` rows at a time."""
        self._smoothing = float(estimator.var_smoothing)
        self._labels = schema.classes or ()
        self._features_count = len(schema.features)
        self._rows_per_proposal = rows_per_proposal
        self._used_count = 0

    def initial(self) -> Arrays:
        """Return a model that has seen no row."""
        classes = len(self._labels)
        empty = np.zeros((classes, self._features_count))
        return {"count": np.zeros(classes), "mean": empty, "variance": empty}

    def check(self, proposed: NamedArrays, model: NamedArrays) -> None:
        """Refuse counts and variances below 0, and rows taken away.

        Raises:
            WeightsError: There are some; names the array.
        """
        if (proposed["variance"] < 0).any():
            raise WeightsError("Array 'variance' must not be below 0.")
        if (proposed["count"] < model["count"]).any():
            raise WeightsError("Array 'count' must not be below the model's.")

    def fit(
        self,
        model: NamedArrays,
        X: Features,
        y: Targets,
        seed: int,  # noqa: ARG002  (nothing is drawn)
        weights: Floats | None = None,
    ) -> Arrays:
        """Merge the next rows into the statistics (Chan, Golub and LeVeque, 1983).

        Raises:
            ColearnError: Every row has been used.
        """
        rows = slice(self._used_count, self._used_count + self._rows_per_proposal)
        new_X, new_y = X[rows], y[rows]
        if not len(new_y):
            raise ColearnError("every training row has been used")
        self._used_count += len(new_y)
        merged = model.copy()
        for label in np.unique(new_y):
            own = new_y == label
            _merge(merged, label, new_X[own], None if weights is None else weights[rows][own])
        return merged

    def predict(self, model: NamedArrays, X: Features) -> Predictions:
        """Return class probabilities; 1 / C before anybody has shown a row."""
        classes = len(self._labels)
        if not model["count"].any():
            return Predictions("probabilities", np.full((len(X), classes), 1 / classes))
        fitted = self._fitted(model, np.arange(classes))
        return Predictions("probabilities", fitted.predict_proba(X))

    def estimator(self, model: NamedArrays) -> Any:
        """Return a fitted GaussianNB that answers with the experiment's class labels."""
        return self._fitted(model, np.asarray(self._labels))

    def _fitted(self, model: NamedArrays, classes: Targets) -> Any:
        estimator = GaussianNB(var_smoothing=self._smoothing)
        count = model["count"]
        estimator.classes_ = classes
        estimator.class_count_ = count.copy()
        estimator.class_prior_ = np.maximum(count / max(count.sum(), 1.0), _PRIOR_FLOOR)
        estimator.theta_ = model["mean"].copy()
        estimator.epsilon_ = max(self._smoothing * float(model["variance"].max()), 1e-12)
        estimator.var_ = model["variance"] + estimator.epsilon_
        estimator.n_features_in_ = self._features_count
        return estimator


def _merge(model: dict[str, Any], label: int, X: Features, weights: Floats | None) -> None:
    """Merge rows of one class, each counted by its weight."""
    added = len(X) if weights is None else weights.sum()
    before = model["count"][label]
    new_mean = np.average(X, axis=0, weights=weights)
    new_variance = np.average(np.square(X - new_mean), axis=0, weights=weights)
    total = before + added
    mean, variance = model["mean"][label], model["variance"][label]
    step = new_mean - mean
    squares = before * variance + new_variance * added + step**2 * before * added / total
    model["mean"][label] = mean + step * added / total
    model["variance"][label] = squares / total
    model["count"][label] = total
