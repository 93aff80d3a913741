"""Learners on Keras models."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError
from colearn.interface import ColearnModel, ModelFormat, Weights
from colearn.learners._family import Features
from colearn.learners._keras_architecture import KerasArchitecture, ModelFactory
from colearn.learners._keras_backend import keras, undisturbed
from colearn.learners._keras_family import KerasFamily, KerasTraining, OptimizerFactory
from colearn.learners._keras_loss import KerasLoss, KerasObjective, is_probability
from colearn.learners._label_prior import LabelPrior
from colearn.learners._rows import Rows
from colearn.learners._template import TemplateLearner
from colearn.learners._torch_compute import at_threads
from colearn.learners._torch_private import RowForm
from colearn.learners._training_settings import (
    checked_bool,
    checked_count,
    checked_length,
    checked_norm,
    checked_schema,
    read_settings,
)
from colearn.schema import Schema

__all__ = ["KerasLearner"]

_SGD: dict[str, Any] = {"learning_rate": 0.05, "momentum": 0.9}
_TRIAL_ROWS = 2


class KerasLearner(TemplateLearner):
    """A learner on any ``keras.Model``, with the backend torch or jax, on the CPU.

    The weights are all of the model's, the moving statistics of BatchNorm too, under their Keras
    paths, such as ``sequential/dense/kernel``. Voters evaluate in inference mode, with the
    statistics of the proposal. The random states of Dropout are no weights: they are drawn anew
    for every proposal.

    A classifier returns one score a class, (rows, classes), in the order of ``schema.classes``;
    of two classes also one score a row, for the second. A regressor returns one value a row,
    (rows,) or (rows, 1). Voting and testing use the log loss or the squared error, whatever the
    training loss is (section 4).

    The same seed, data, model and number of threads give the same bytes. Where nobody has chosen
    a backend it is torch. `threads` counts PyTorch's; those of jax are chosen when it starts.

    Attributes:
        row_shape: The shape of one row of X.
        from_logits: Whether the model's scores are logits; else they are probabilities.
    """

    _any_rank: ClassVar[bool] = True

    def __init__(
        self,
        model: ModelFactory,
        *,
        train: Rows,
        vote: Rows,
        test: Rows | None = None,
        classes: Iterable[object] | None = None,
        features: Sequence[str] | None = None,
        schema: Schema | None = None,
        loss: KerasLoss | None = None,
        from_logits: bool | None = None,
        optimizer: OptimizerFactory | None = None,
        batch_size: int = 32,
        epochs: int | None = None,
        steps: int | None = None,
        clip_norm: float | None = None,
        threads: int = 1,
        label_prior: LabelPrior = "none",
        keep_optimizer_state: bool = False,
        model_seed: int = 0,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        """Build the learner.

        Args:
            model: A factory of the model: called as ``model(schema=...)`` if it has a parameter
                of that name, else without arguments, with random numbers seeded by `model_seed`,
                floats of 32 bits and fresh layer names.
            train: X of shape (rows, ...), y of shape (rows,) and maybe weights of rows.
            vote: Private rows to vote on, disjoint from `train`.
            test: Rows that only report a score.
            classes: Every class of the experiment; None for regression.
            features: Column names; None calls them x0, x1, ...
            schema: The whole schema, instead of `classes` and `features`.
            loss: None for the cross-entropy ("cross_entropy") with classes and the squared error
                ("mse") without; or a function of targets and outputs, as Keras calls it.
            from_logits: Whether a classifier puts out logits, and not probabilities. None looks
                at the last layer: softmax or sigmoid means probabilities, else they are logits.
            optimizer: Makes the optimizer, called without arguments; None is SGD with
                learning_rate 0.05 and momentum 0.9.
            batch_size: Rows an optimizer step.
            epochs: Passes over the training rows in a proposal; 1 if `steps` is None too.
            steps: Optimizer steps in a proposal, instead of `epochs`.
            clip_norm: The largest L2 norm of a step's gradient, all variables together.
            threads: CPU threads that PyTorch uses while this learner computes.
            label_prior: "none"; or a logit-adjusted loss against label skew (section 4):
                "uniform", or one share for each class, the task's own prior.
            keep_optimizer_state: Whether momenta and the like go on with the learner's next
                proposal; they are no part of the model, and start anew with the process.
            model_seed: The experiment's seed of model 0, the same on every learner (6.1).
            seed: Makes its proposals repeatable; not shared with others.
            **settings: Those of `TemplateLearner`: name, mode, z, balanced, damping, metric,
                privacy; private training needs the backend torch.

        Raises:
            ConfigError: A model or setting that cannot be used; rows that do not fit; Keras runs
                on another backend.
        """
        kept = checked_bool(keep_optimizer_state, "keep_optimizer_state")
        self.local_state = "restarted" if kept else "none"
        self._threads = checked_count(threads, "threads")
        self.row_shape = np.shape(train[0])[1:]
        schema = checked_schema(schema, classes, features, self.row_shape)
        training = KerasTraining(
            optimizer=partial(keras.optimizers.SGD, **_SGD) if optimizer is None else optimizer,
            batch_size=checked_count(batch_size, "batch_size"),
            **checked_length(epochs, steps),
            clip_norm=checked_norm(clip_norm),
            keep_optimizer_state=kept,
        )
        with at_threads(self._threads):
            architecture = KerasArchitecture(model, schema, model_seed)
            seen = not is_probability(architecture.model(architecture.arrays()))
            self.from_logits = (
                seen if from_logits is None else checked_bool(from_logits, "from_logits")
            )
            if self.from_logits and not seen and schema.classes:
                raise ConfigError(
                    "The model ends in softmax or sigmoid, and from_logits is True.",
                    hint="Leave from_logits out, or the last activation.",
                )
            objective = KerasObjective(
                loss,
                len(schema.classes or ()),
                label_prior=label_prior,
                from_logits=self.from_logits,
            )
            form = RowForm(self.row_shape, np.asarray(train[0]).dtype)
            self._models = KerasFamily(architecture, objective, training, form)
        super().__init__(
            self._models, schema, train=train, vote=vote, test=test, seed=seed, **settings
        )
        self._try_out()

    @classmethod
    def from_settings(cls, schema: Schema, **settings: Any) -> KerasLearner:
        """Build the learner an experiment file describes.

        ``model`` names the factory as ``module:name``, ``model_with`` holds its arguments;
        ``optimizer`` names the optimizer, ``loss`` may name a function or a class. Of the other
        settings, those this class does not know are passed on to the optimizer.

        Raises:
            ConfigError: No model, or a setting that nobody knows.
        """
        known = set(inspect.signature(cls).parameters)
        known |= set(inspect.signature(TemplateLearner).parameters)
        factory, mine = read_settings(
            settings, known, "model", partial(keras.optimizers.SGD, **_SGD)
        )
        return cls(factory, schema=schema, **mine)

    def mli_propose_weights(self) -> Weights:
        """Train from the current model on the private training rows, and return the result.

        Raises:
            LearnerError: The training failed or ended in numbers that are none; nothing is kept
                of it then.
        """
        weights = super().mli_propose_weights()
        self._models.keep()
        return weights

    def mli_get_current_model(self) -> ColearnModel:
        """Return the current model as ONNX.

        Raises:
            MissingExtraError: The extra `onnx` is not installed.
            ColearnError: Keras computes with another backend than torch, or the model cannot be
                exported.
        """
        from colearn.learners._keras_onnx import onnx_of_keras  # noqa: PLC0415  (needs its extra)

        rows = np.array(self._vote.X[:_TRIAL_ROWS])
        with self._computing(), undisturbed(0):
            model = onnx_of_keras(
                self.model_, rows, self.schema.classes, from_logits=self.from_logits
            )
        return ColearnModel(model_format=ModelFormat.ONNX, model=model)

    def _computing(self) -> AbstractContextManager[Any]:
        return at_threads(self._threads)

    def _features(self, X: npt.ArrayLike) -> Features:
        array = np.asarray(X)
        if array.dtype.kind not in "fiub":
            raise ConfigError(f"X must be numbers, got dtype {array.dtype}.")
        if array.dtype.kind != "f":
            return array
        # What does not fit becomes infinite, and is refused as such.
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)

    def _try_out(self) -> None:
        """Let the model see two rows, so that one that cannot is named before a round begins."""
        X = self._vote.X[:_TRIAL_ROWS]
        try:
            with self._computing():
                self._models.predict(self._model, X)
        except Exception as error:
            raise ConfigError(
                f"Learner {self.name!r}: the model fails on {len(X)} rows of shape {X.shape[1:]} "
                f"and dtype {X.dtype}: {error}"
            ) from error
