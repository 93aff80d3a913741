"""Metrics by name: those of scikit-learn's scorers, and a few that need no scikit-learn."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from colearn.errors import ConfigError, MissingExtraError
from colearn.learners._scoring import LOSS_FLOOR, Floats, Predictions, Targets

__all__ = [
    "LOSS",
    "OWN_METRICS",
    "Metric",
    "is_own",
    "metric_named",
    "require_deciding",
    "row_losses",
]

LOSS = "loss"
"""The name of the loss that section 4 lets decide: log loss, hinge or squared error."""


class Metric(Protocol):
    """Larger is better, always; NaN where there is no value."""

    def __call__(
        self, targets: Targets, predictions: Predictions, weights: Floats | None = None, /
    ) -> float:
        """Return the score of predictions for rows whose weights, (rows,), are above 0."""


def _mean(values: Floats, weights: Floats | None) -> float:
    if weights is None:
        return float(values.mean())
    return float(np.average(values, weights=weights))


def _accuracy(
    targets: Targets, predictions: Predictions, weights: Floats | None = None, /
) -> float:
    return _mean(predictions.best == targets, weights)


def _balanced_accuracy(
    targets: Targets, predictions: Predictions, weights: Floats | None = None, /
) -> float:
    hits = predictions.best == targets
    classes = [targets == label for label in np.unique(targets)]
    return float(
        np.mean([_mean(hits[own], None if weights is None else weights[own]) for own in classes])
    )


def _negated_loss(
    targets: Targets, predictions: Predictions, weights: Floats | None = None, /
) -> float:
    return -_mean(predictions.losses(targets), weights)


def _r2(targets: Targets, predictions: Predictions, weights: Floats | None = None, /) -> float:
    each = 1.0 if weights is None else weights
    spread = float((each * np.square(targets - _mean(targets, weights))).sum())
    if spread == 0:
        return math.nan
    return 1.0 - float((each * np.square(targets - predictions.best)).sum()) / spread


OWN_METRICS: dict[str, tuple[str, Metric]] = {
    "accuracy": ("classification", _accuracy),
    "balanced_accuracy": ("classification", _balanced_accuracy),
    "neg_loss": ("both", _negated_loss),
    "r2": ("regression", _r2),
}
"""Metrics that need no scikit-learn, and the kind of task they are for; all but ``neg_loss``, the
mean of the voting losses with a minus, are scikit-learn's of the same name."""


def is_own(name: object, classes_count: int) -> bool:
    """Say whether `name` is in OWN_METRICS, for a task of so many classes (0: none)."""
    task = OWN_METRICS[name][0] if isinstance(name, str) and name in OWN_METRICS else "none"
    return task in ("both", "classification" if classes_count else "regression")


def metric_named(
    name: str, predictions: Predictions, *, classes_count: int, weighted: bool = False
) -> Metric:
    """Return the metric called `name`.

    Args:
        name: One of OWN_METRICS, or a scorer of ``sklearn.metrics.get_scorer_names()``.
        predictions: Any that the model makes: their kind decides what can be computed.
        classes_count: 0 for regression.
        weighted: Whether it will be asked for rows with weights.

    Raises:
        ConfigError: No metric has this name, it does not fit the task, or takes no weights.
        MissingExtraError: It is scikit-learn's, and the extra `sklearn` is not installed.
    """
    if not isinstance(name, str):
        raise ConfigError(f"A metric must be the name of one, got {name!r}.")
    if is_own(name, classes_count):
        return OWN_METRICS[name][1]
    try:
        from colearn.learners._scorers import scorer_named  # noqa: PLC0415  (needs its extra)
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-learn", extra="sklearn") from error
    scorer = scorer_named(name, predictions.kind, classes_count)
    if weighted and not scorer.takes_weights:
        raise ConfigError(
            f"The metric {name!r} takes no weights of rows.",
            hint="Choose another metric, or leave the weights of vote and test rows out.",
        )
    return scorer


def _misses(targets: Targets, predictions: Predictions) -> Floats:
    return np.asarray(predictions.best != targets, np.float64)


def _log_losses(targets: Targets, predictions: Predictions) -> Floats:
    own = predictions.scores[np.arange(len(targets)), targets]
    return np.asarray(-np.log(np.clip(own, LOSS_FLOOR, 1.0)))


def _squares(targets: Targets, predictions: Predictions) -> Floats:
    return np.asarray(np.square(predictions.scores - targets))


def _distances(targets: Targets, predictions: Predictions) -> Floats:
    return np.asarray(np.abs(predictions.scores - targets))


_ROW_LOSSES = {
    "accuracy": (("probabilities", "margins"), _misses),
    "neg_log_loss": (("probabilities",), _log_losses),
    "neg_mean_squared_error": (("values",), _squares),
    "neg_mean_absolute_error": (("values",), _distances),
}
"""Metrics that are means over the rows, for which kinds of predictions, and what of."""


def require_deciding(name: str, predictions: Predictions) -> None:
    """Refuse what cannot decide in mode ``paired``, which compares row by row (section 4).

    Args:
        name: "loss", or the name of a metric that is a mean over the rows.
        predictions: Any that the model makes.

    Raises:
        ConfigError: It is neither.
    """
    fitting = [LOSS, *(key for key, (kinds, _) in _ROW_LOSSES.items() if predictions.kind in kinds)]
    if name not in fitting:
        raise ConfigError(
            f"decides={name!r} cannot decide in mode paired, which compares each row's loss.",
            hint=f'Use one of {", ".join(fitting)}, or mode="classic", where the metric decides.',
        )


def row_losses(name: str, targets: Targets, predictions: Predictions) -> Floats:
    """Return the loss of each row that decides in mode ``paired``, shape (rows,), checked before.

    What is no number counts as infinitely bad.
    """
    if name == LOSS:
        return predictions.losses(targets)
    with np.errstate(all="ignore"):
        losses = _ROW_LOSSES[name][1](targets, predictions)
    lost = np.isnan(predictions.scores).reshape(len(targets), -1).any(axis=1)
    return np.where(lost, np.inf, losses)
