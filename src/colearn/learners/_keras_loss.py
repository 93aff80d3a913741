"""What a Keras model's outputs mean: the loss of training, and what is voted on (section 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from colearn.errors import ColearnError, ConfigError
from colearn.learners._keras_backend import as_array, keras
from colearn.learners._label_prior import LabelPrior, log_prior, logit_shift
from colearn.learners._scoring import Floats, Predictions, Targets

__all__ = ["KerasLoss", "KerasObjective", "is_probability"]

KerasLoss = str | Callable[[Any, Any], Any]

_SUM_ERROR = 1e-3
"""How far a row of probabilities may be from adding up to 1, as float32 rounds."""


class KerasObjective:
    """The loss of training, and the one of voting, on logits or on probabilities."""

    def __init__(
        self,
        loss: KerasLoss | None,
        classes_count: int,
        *,
        label_prior: LabelPrior,
        from_logits: bool,
    ) -> None:
        """Check the settings; `classes_count` is 0 for regression.

        Raises:
            ConfigError: An unknown loss; a prior that does not fit it or the classes.
        """
        own = "cross_entropy" if classes_count else "mse"
        if loss is not None and not callable(loss) and loss != own:
            raise ConfigError(
                f"The loss {loss!r} is unknown here.",
                hint=f'Use "{own}", or a function of targets and outputs, as Keras calls it.',
            )
        self._own_loss = loss if callable(loss) else None
        if label_prior != "none" and (self._own_loss is not None or not classes_count):
            raise ConfigError('label_prior needs loss="cross_entropy", whose outputs it adjusts.')
        self._log_prior = log_prior(label_prior, classes_count)
        self._classes_count = classes_count
        self._from_logits = from_logits

    @property
    def weighs_rows(self) -> bool:
        """Whether rows may have weights: a loss of the user's own is a mean nobody can weigh."""
        return self._own_loss is None

    @property
    def classes_count(self) -> int:
        """How many classes there are; 0 for regression."""
        return self._classes_count

    @property
    def counts_labels(self) -> bool:
        """Whether training depends on how many rows of each class there are."""
        return self._log_prior is not None

    def training_loss(self, y: Targets) -> Callable[[Any, Any], Any]:
        """Return the loss of each row, as Keras calls it, to train on rows whose targets are `y`.

        With a label prior it is the cross-entropy on z_c + log((count_c + .5) / (n + .5 C)) -
        log(prior_c); z is the logarithm of the probabilities where the model gives those.
        """
        if self._own_loss is not None:
            return self._own_loss
        if not self._classes_count:
            return _squared_error
        shift = None if self._log_prior is None else logit_shift(y, self._log_prior)

        def loss(targets: Any, outputs: Any) -> Any:
            scores = self._scores(outputs)
            if shift is not None:
                scores = scores + keras.ops.convert_to_tensor(shift, scores.dtype)
            return keras.ops.sparse_categorical_crossentropy(
                keras.ops.reshape(targets, (-1,)), scores, from_logits=True
            )

        return loss

    def predictions(self, outputs: Any) -> Predictions:
        """Return what a model that put out `outputs`, (rows, ...), says about these rows.

        Raises:
            ColearnError: They are no array of the shape that the task needs, or no probabilities.
        """
        self._check_form(outputs)
        # In float64, as every family's: in float32 a probability near 1 would have no loss at all.
        found = as_array(outputs).astype(np.float64)
        if not self._classes_count:
            return Predictions("values", found.reshape(-1))
        if found.ndim == 1:
            found = found[:, np.newaxis]
        if self._from_logits:
            scores = np.hstack([np.zeros_like(found), found]) if found.shape[1] == 1 else found
            return Predictions("probabilities", _softmax(scores))
        scores = np.hstack([1 - found, found]) if found.shape[1] == 1 else found
        if (scores < 0).any() or (np.abs(scores.sum(axis=1) - 1) > _SUM_ERROR).any():
            raise ColearnError(
                "The model's outputs are no probabilities.",
                hint="Say from_logits=True where it ends without softmax or sigmoid.",
            )
        return Predictions("probabilities", scores)

    def _scores(self, outputs: Any) -> Any:
        """Return (rows, classes) logits; the logarithms of probabilities are some."""
        ops = keras.ops
        if len(outputs.shape) == 1:
            outputs = outputs[:, None]
        single = outputs.shape[1] == 1
        if self._from_logits:
            return ops.concatenate([ops.zeros_like(outputs), outputs], 1) if single else outputs
        outputs = ops.concatenate([1 - outputs, outputs], 1) if single else outputs
        return ops.log(ops.clip(outputs, keras.config.epsilon(), 1.0))

    def _check_form(self, outputs: Any) -> None:
        shape = getattr(outputs, "shape", None)
        if shape is None:
            raise ColearnError(f"The model must return one tensor, got {type(outputs).__name__}.")
        rows, classes = shape[0], self._classes_count
        fits = [(rows, classes)] if classes > 2 else [(rows, 1), (rows,)]
        if classes == 2:
            fits.append((rows, 2))
        if tuple(shape) not in fits:
            raise ColearnError(
                f"The model must return a tensor of shape {fits[-1]} for {rows} rows, got "
                f"{tuple(shape)}."
            )


def is_probability(model: Any) -> bool:
    """Say whether a model's last layer ends in softmax or sigmoid, as far as it can be seen."""
    layers = getattr(model, "layers", [])
    outputs = getattr(model, "outputs", None) or []
    history = getattr(outputs[0], "_keras_history", None) if len(outputs) == 1 else None
    last = layers[-1] if history is None and layers else getattr(history, "operation", None)
    known = (keras.activations.softmax, keras.activations.sigmoid)
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) in known


def _squared_error(targets: Any, outputs: Any) -> Any:
    flat = keras.ops.reshape(outputs, (-1,))
    return keras.ops.square(flat - keras.ops.cast(keras.ops.reshape(targets, (-1,)), flat.dtype))


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
