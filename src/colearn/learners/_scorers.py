"""The metrics that scikit-learn calls scorers, on what a model says about some rows (section 2).

The sign of a scorer, and whether it wants labels, probabilities or decision values, are the
scorer's own: it is given an estimator that answers with the predictions, and larger is better.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn import config_context, metrics
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from colearn.errors import ConfigError
from colearn.learners._scoring import Floats, Predictions, Targets

__all__ = ["Scorer", "fitting_scorers", "scorer_named"]

Kind = Literal["probabilities", "margins", "values"]

_VARIANTS = ("_macro", "_micro", "_weighted", "_ovr", "_ovo", "_ovr_weighted", "_ovo_weighted")
"""What scikit-learn puts behind a name that is for two classes, for its kin that takes more."""


class _Told:
    """What an estimator has that answers with predictions made before."""

    predictions: Predictions

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: ARG002  (the rows are known)
        return self.predictions.best


class _Values(_Told, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    def __init__(self, predictions: Predictions) -> None:
        self.predictions = predictions


class _Classes(_Told, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    def __init__(self, predictions: Predictions) -> None:
        self.predictions = predictions
        self.classes_ = np.arange(predictions.scores.shape[1])


class _Probabilities(_Classes):
    def predict_proba(self, X: Any) -> Floats:  # noqa: ARG002
        # Scorers want rows that add up to 1 more exactly than float32 models give them.
        scores = self.predictions.scores
        return np.asarray(scores / scores.sum(axis=1, keepdims=True))


class _Margins(_Classes):
    def decision_function(self, X: Any) -> Floats:  # noqa: ARG002
        scores = self.predictions.scores
        # f_y - f_other, which is f itself where it was split half each way (section 4).
        return scores if scores.shape[1] != 2 else np.asarray(scores[:, 1] - scores[:, 0])


_ESTIMATORS = {"values": _Values, "probabilities": _Probabilities, "margins": _Margins}


class Scorer:
    """A scorer of scikit-learn as a `Metric`; what has no value is NaN, and nothing raises.

    Attributes:
        name: scikit-learn's name of it.
        takes_weights: Whether rows may have weights.
    """

    def __init__(self, name: str, kind: Kind, classes_count: int) -> None:
        """Take the scorer `name` for models whose predictions are of `kind`.

        Raises:
            ValueError: It is not for them, or there is no such scorer; and whatever else the
                scorer raises of rows that have every class.
        """
        self.name = name
        self._scorer = metrics.get_scorer(name)
        self._classes_count = classes_count
        targets, predictions = _sample(kind, classes_count)
        if math.isnan(self._asked(targets, predictions)):
            raise ValueError(name)
        self.takes_weights = self._takes(sample_weight=np.ones(len(targets)))
        self._takes_labels = bool(classes_count) and self._takes(labels=np.arange(classes_count))
        # Labels matter where columns stand for classes; of labels alone they would change a mean.
        self._by_column = classes_count > 0 and not self._reads_labels(targets, predictions)

    def __call__(
        self, targets: Targets, predictions: Predictions, weights: Floats | None = None
    ) -> float:
        """Return the score of `predictions`, larger is better; NaN where it has none.

        Args:
            targets: (rows,) class indices or values.
            predictions: Of the same rows.
            weights: (rows,) above 0, or None; only where `takes_weights`.
        """
        extra: dict[str, Any] = {} if weights is None else {"sample_weight": weights}
        if self._takes_labels and self._by_column and self._lacks_a_class(targets):
            extra["labels"] = np.arange(self._classes_count)
        try:
            return self._asked(targets, predictions, **extra)
        except ValueError:
            # Rows of one class, predictions that are no numbers, values below 0 for a logarithm.
            return math.nan

    def has_value(self, targets: Targets, kind: Kind) -> bool:
        """Say whether any predictions of `kind` can have a score on rows with these targets."""
        if kind == "values":
            predictions = Predictions("values", np.abs(targets) + 1.0 + np.arange(len(targets)))
        else:
            predictions = Predictions(kind, _scores(targets, self._classes_count))
        return not math.isnan(self(targets, predictions))

    def _lacks_a_class(self, targets: Targets) -> bool:
        return len(np.unique(targets)) < self._classes_count

    def _asked(self, targets: Targets, predictions: Predictions, **extra: Any) -> float:
        estimator = _ESTIMATORS[predictions.kind](predictions)
        rows = np.zeros((len(targets), 1))
        # Warnings of undefined values: they are NaN or scikit-learn's default, and told once.
        with warnings.catch_warnings(), config_context(enable_metadata_routing=bool(extra)):
            warnings.simplefilter("ignore")
            if not extra:
                return float(self._scorer(estimator, rows, targets))
            scorer = metrics.get_scorer(self.name)
            scorer.set_score_request(**dict.fromkeys(extra, True))
            return float(scorer(estimator, rows, targets, **extra))

    def _takes(self, **extra: Any) -> bool:
        kind: Kind = "probabilities" if self._classes_count else "values"
        try:
            self._asked(*_sample(kind, self._classes_count), **extra)
        except (TypeError, ValueError):
            return False
        return True

    def _reads_labels(self, targets: Targets, predictions: Predictions) -> bool:
        """Say whether an estimator that has labels alone is enough for the scorer."""
        asked = _Classes(predictions)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._scorer(asked, np.zeros((len(targets), 1)), targets)
        except (AttributeError, ValueError):
            return False
        return True


def scorer_named(name: str, kind: Kind, classes_count: int) -> Scorer:
    """Return the scorer called `name`, for predictions of `kind` about so many classes (0: none).

    Raises:
        ConfigError: scikit-learn has no such scorer, or it is for another kind of task, for
            clusters, or for another number of classes; says which names fit.
    """
    if _is_fitting(name, kind, classes_count):
        return Scorer(name, kind, classes_count)
    fitting = fitting_scorers(kind, classes_count)
    what = f"{classes_count} classes" if classes_count else "regression"
    if kind == "margins":
        what += " without probabilities"
    kin = [name + variant for variant in _VARIANTS if name + variant in fitting]
    if kin:
        raise ConfigError(
            f"The metric {name!r} is not for {classes_count} classes.",
            hint=f"Use one of {', '.join(kin)}.",
        )
    known = name in metrics.get_scorer_names()
    raise ConfigError(
        f"The metric {name!r} is not for {what}." if known else f"Unknown metric {name!r}.",
        hint=f"For {what} use one of neg_loss, {', '.join(fitting)}.",
    )


def fitting_scorers(kind: Kind, classes_count: int) -> list[str]:
    """Return the names of scikit-learn that fit such predictions, in alphabetic order."""
    return [name for name in metrics.get_scorer_names() if _is_fitting(name, kind, classes_count)]


def _is_fitting(name: str, kind: Kind, classes_count: int) -> bool:
    # Scores of clusters have the names of their functions; they take any labels, and none is ours.
    if name not in metrics.get_scorer_names() or hasattr(metrics.cluster, name):
        return False
    # A scorer of numbers takes class indices too, so it is known by taking what is no class.
    if (kind == "values") != _is_usable(name, "values", 0):
        return False
    return kind == "values" or _is_usable(name, kind, classes_count)


def _is_usable(name: str, kind: Kind, classes_count: int) -> bool:
    try:
        Scorer(name, kind, classes_count)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


def _sample(kind: Kind, classes_count: int) -> tuple[Targets, Predictions]:
    """Return rows that any scorer of the kind can score: each class often, values above 0."""
    if kind == "values":
        values = np.linspace(0.5, 4.25, 8)
        return values, Predictions("values", values[::-1] + 0.125)
    targets = np.repeat(np.arange(classes_count), 4)
    return targets, Predictions(kind, _scores(targets, classes_count))


def _scores(targets: Targets, classes_count: int) -> Floats:
    scores = np.full((len(targets), classes_count), 0.5 / classes_count)
    scores[np.arange(len(targets)), targets] += 0.5
    # One row of each class is mistaken for the next, so that no count of a kind is 0.
    _, first, count = np.unique(targets, return_index=True, return_counts=True)
    mistaken = first[count > 1]
    scores[mistaken] = np.roll(scores[mistaken], 1, axis=1)
    return scores
