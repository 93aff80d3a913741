"""Linear models trained under differential privacy, with gradients in closed form.

A row's gradient is the outer product of what its scores change the loss by and its features, so
its norm is a product of two norms and no gradient of a single row is ever built. The steps are
those of scikit-learn's stochastic gradient descent, on released sums (Abadi et al., 2016).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError
from colearn.learners._family import Arrays, Features
from colearn.learners._scoring import Floats

if TYPE_CHECKING:
    from colearn.privacy import PrivateTraining

__all__ = ["Descent", "clipped_sums", "descent_of", "private_length"]

_BATCH = 64
"""Units that a step draws on average, unless the configuration says otherwise."""

Derivative = Callable[[Floats, Floats, float], Floats]
"""Of the loss by the score: takes scores, targets and the loss's epsilon, (rows, outputs)."""


@dataclass(frozen=True, slots=True)
class Descent:
    """Settings of one estimator, as private steps use them.

    Attributes:
        derivative: Of the loss by the score.
        epsilon: The width of the losses that have one.
        eta0: The learning rate of the first step.
        power: Step t has the rate ``eta0 / t**power``; 0 for a constant rate.
        l2: By ``rate * l2`` a step shrinks the coefficients, before it adds the gradient.
        l1: By ``rate * l1`` a step moves them towards 0, after that.
        intercept: Whether there is one to train.
    """

    derivative: Derivative
    epsilon: float
    eta0: float
    power: float
    l2: float
    l1: float
    intercept: bool

    def trained(
        self, model: Mapping[str, Any], X: Features, targets: Floats, training: PrivateTraining
    ) -> Arrays:
        """Return the model after the steps of one proposal.

        Penalties act on what is released already, so they cost no privacy.

        Args:
            model: ``coef`` (outputs, features) and ``intercept`` (outputs,).
            X: float64 (rows, features).
            targets: (rows, outputs); of a classifier 1 for the output's class, else -1.
            training: Draws the batches, and adds the noise.

        Raises:
            PrivacyError: A bound does not hold; nothing is released of that step.
        """
        coef, intercept = np.array(model["coef"]), np.array(model["intercept"])
        for step, batch in enumerate(training.batches(), start=1):
            rows = X[batch.rows]
            with np.errstate(all="ignore"):
                scores = rows @ coef.T + intercept
                slopes = self.derivative(scores, targets[batch.rows], self.epsilon)
            sums, norms = clipped_sums(
                slopes, rows, batch.units, batch.units_count,
                bound=training.max_grad_norm, intercept=self.intercept,
            )  # fmt: skip
            released = training.released(sums, norms)
            rate = self.eta0 / step**self.power
            coef = coef * max(0.0, 1 - rate * self.l2) - rate * released["coef"]
            coef = np.sign(coef) * np.maximum(abs(coef) - rate * self.l1, 0.0)
            if self.intercept:
                intercept = intercept - rate * released["intercept"]
        training.finish()
        return {"coef": coef, "intercept": intercept}


def descent_of(estimator: Any, *, is_classifier: bool) -> Descent:
    """Return how an SGDClassifier or SGDRegressor trains privately.

    Raises:
        ConfigError: A setting that has no private form; names it.
    """
    if getattr(estimator, "class_weight", None) is not None:
        raise ConfigError(
            "class_weight does not go with private training, since it weighs private rows.",
            hint="Leave it out.",
        )
    losses = {**_OF_VALUES, **(_OF_MARGINS if is_classifier else {})}
    if estimator.loss not in losses:
        raise ConfigError(
            f"The loss {estimator.loss!r} has no private training.",
            hint=f"Use one of {', '.join(sorted(losses))}.",
        )
    l2, l1 = _penalties(estimator)
    return Descent(
        derivative=losses[estimator.loss],
        epsilon=_number(estimator, "epsilon"),
        eta0=_number(estimator, "eta0"),
        power=_power(estimator),
        l2=l2,
        l1=l1,
        intercept=bool(estimator.fit_intercept),
    )


def private_length(
    units_count: int, epochs: int, batch_size: int | None = None
) -> tuple[int, int, float | None]:
    """Return the batch size and the steps that make `epochs` passes; the rate is not fixed."""
    batch = max(1, min(units_count, batch_size or _BATCH))
    return batch, epochs * max(1, math.ceil(units_count / batch)), None


def clipped_sums(
    slopes: Floats,
    rows: Features,
    units: npt.NDArray[np.int64],
    units_count: int,
    *,
    bound: float,
    intercept: bool,
) -> tuple[dict[str, Floats], Floats]:
    """Return the sum over units of their clipped gradients, and the norms after clipping.

    The gradient of a unit is the sum of its rows'. One that is not finite counts as zero, so that
    a row cannot stop the training and show by that.

    Args:
        slopes: (rows, outputs), the loss of each row differentiated by its scores.
        rows: (rows, features).
        units: (rows,), which unit each row belongs to, from 0 to `units_count` - 1.
        units_count: How many units there are.
        bound: The largest norm of a unit, over coefficients and intercepts of all outputs.
        intercept: Whether intercepts have a gradient.

    Returns:
        ``coef`` (outputs, features) and, if there is one, ``intercept`` (outputs,); and
        (units,) norms.
    """
    inputs = np.column_stack([rows, np.ones(len(rows))]) if intercept else rows
    with np.errstate(all="ignore"):
        norms = _norms(slopes, inputs, units, units_count)
        finite = np.isfinite(norms)
        factors = np.where(finite, bound / np.maximum(norms, bound), 0.0)
        kept = np.where(finite[units, np.newaxis], slopes * factors[units, np.newaxis], 0.0)
        sums = kept.T @ inputs
        after = np.where(finite, norms * factors, 0.0)
    if not intercept:
        return {"coef": sums}, after
    return {"coef": sums[:, :-1], "intercept": sums[:, -1]}, after


def _norms(
    slopes: Floats, inputs: Features, units: npt.NDArray[np.int64], units_count: int
) -> Floats:
    if np.array_equal(units, np.arange(units_count)):
        return np.asarray(np.linalg.norm(slopes, axis=1) * np.linalg.norm(inputs, axis=1))
    order = np.argsort(units, kind="stable")
    starts = np.searchsorted(units[order], np.arange(1, units_count))
    groups = np.split(order, starts)
    return np.array([np.linalg.norm(slopes[own].T @ inputs[own]) for own in groups])


def _power(estimator: Any) -> float:
    if estimator.learning_rate == "constant":
        return 0.0
    if estimator.learning_rate == "invscaling":
        return _number(estimator, "power_t")
    raise ConfigError(
        f"learning_rate {estimator.learning_rate!r} has no private training: it looks at the "
        "rows, or begins with a step in which noise drowns everything.",
        hint='Use learning_rate="constant" with eta0, or "invscaling".',
    )


def _penalties(estimator: Any) -> tuple[float, float]:
    """Return the strength of the l2 and of the l1 penalty."""
    alpha = _number(estimator, "alpha")
    if estimator.penalty not in ("l2", "l1", "elasticnet", None):
        raise ConfigError(
            f"The penalty {estimator.penalty!r} is unknown.",
            hint='Use "l2", "l1", "elasticnet" or None.',
        )
    if estimator.penalty is None:
        return 0.0, 0.0
    if estimator.penalty == "elasticnet":
        share = _number(estimator, "l1_ratio", most=1.0)
    else:
        share = float(estimator.penalty == "l1")
    return alpha * (1 - share), alpha * share


def _number(estimator: Any, name: str, most: float = math.inf) -> float:
    value = getattr(estimator, name)
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= most or value == math.inf:
        raise ConfigError(f"{name} must be a finite number from 0 to {most}, got {value!r}.")
    return float(value)


def _log_loss(scores: Floats, targets: Floats, _: float) -> Floats:
    # 1 / (1 + exp(z)), written so that no z overflows.
    return np.asarray(-targets * (1 - np.tanh(scores * targets / 2)) / 2)


def _hinge(scores: Floats, targets: Floats, _: float) -> Floats:
    return np.where(scores * targets <= 1, -targets, 0.0)


def _perceptron(scores: Floats, targets: Floats, _: float) -> Floats:
    return np.where(scores * targets <= 0, -targets, 0.0)


def _squared_hinge(scores: Floats, targets: Floats, _: float) -> Floats:
    return np.asarray(-2 * targets * np.maximum(1 - scores * targets, 0.0))


def _modified_huber(scores: Floats, targets: Floats, _: float) -> Floats:
    margins = scores * targets
    inner = np.maximum(2 * (1 - margins), 0.0)
    return np.asarray(-targets * np.where(margins >= -1, inner, 4.0))


def _squared_error(scores: Floats, targets: Floats, _: float) -> Floats:
    return np.asarray(scores - targets)


def _huber(scores: Floats, targets: Floats, epsilon: float) -> Floats:
    return np.clip(scores - targets, -epsilon, epsilon)


def _epsilon_insensitive(scores: Floats, targets: Floats, epsilon: float) -> Floats:
    error = scores - targets
    return np.sign(error) * (abs(error) > epsilon)


def _squared_epsilon_insensitive(scores: Floats, targets: Floats, epsilon: float) -> Floats:
    error = scores - targets
    return np.asarray(2 * np.sign(error) * np.maximum(abs(error) - epsilon, 0.0))


_OF_MARGINS: Mapping[str, Derivative] = {
    "log_loss": _log_loss,
    "hinge": _hinge,
    "perceptron": _perceptron,
    "squared_hinge": _squared_hinge,
    "modified_huber": _modified_huber,
}
_OF_VALUES: Mapping[str, Derivative] = {
    "squared_error": _squared_error,
    "huber": _huber,
    "epsilon_insensitive": _epsilon_insensitive,
    "squared_epsilon_insensitive": _squared_epsilon_insensitive,
}
