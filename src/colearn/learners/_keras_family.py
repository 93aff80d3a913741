"""Keras models as a model family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ColearnError, ConfigError, WeightsError
from colearn.interface import DiffPrivConfig
from colearn.learners._family import Arrays, Features
from colearn.learners._keras_architecture import KerasArchitecture
from colearn.learners._keras_backend import as_array, keras, undisturbed
from colearn.learners._keras_loss import KerasObjective
from colearn.learners._keras_private import (
    KerasSteps,
    network_of,
    private_fitting,
    require_torch,
)
from colearn.learners._scoring import Floats, Predictions, Targets
from colearn.learners._torch_private import RowForm
from colearn.learners._training_settings import private_length, refuse_clip_norm
from colearn.weights import NamedArrays

if TYPE_CHECKING:
    from colearn.privacy import PrivateTraining

__all__ = ["KerasFamily", "KerasTraining", "OptimizerFactory"]

OptimizerFactory = Callable[[], Any]
"""Makes a new ``keras.optimizers.Optimizer`` at each call."""

_EVALUATED_ROWS = 256


@dataclass(frozen=True, slots=True)
class KerasTraining:
    """How a proposal is trained.

    Attributes:
        optimizer: Makes the optimizer.
        batch_size: Rows a step; a last batch of one row joins the one before it, since
            BatchNorm cannot train on one.
        epochs: Passes over the rows; None where `steps` says how long.
        steps: Optimizer steps; None where `epochs` does.
        clip_norm: The largest L2 norm of the gradient of all variables together, or None.
        keep_optimizer_state: Whether the optimizer goes on where the last proposal left it.
    """

    optimizer: OptimizerFactory
    batch_size: int
    epochs: int | None
    steps: int | None
    clip_norm: float | None
    keep_optimizer_state: bool

    def batches(self, rows_count: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the indices of each batch of one proposal, in an order drawn from `seed`."""
        generator = np.random.default_rng(seed)
        passes = count() if self.epochs is None else range(self.epochs)
        epochs = (self._epoch(generator.permutation(rows_count)) for _ in passes)
        return islice(chain.from_iterable(epochs), self.steps)

    def _epoch(self, order: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        ends = list(range(self.batch_size, len(order), self.batch_size))
        if self.batch_size > 1 and ends and len(order) - ends[-1] == 1:
            ends.pop()
        return np.split(order, ends)


class KerasFamily:
    """Keras models of one architecture, trained by gradients."""

    grows = False
    damping = 1.0
    trains_privately = True

    def __init__(
        self,
        architecture: KerasArchitecture,
        objective: KerasObjective,
        training: KerasTraining,
        form: RowForm,
    ) -> None:
        """Put the parts together.

        Raises:
            ConfigError: The optimizer cannot be made.
        """
        self.weighs_rows = objective.weighs_rows
        self._architecture = architecture
        self._objective = objective
        self._training = training
        self._private = private_fitting(architecture, objective, form)
        self._kept: list[npt.NDArray[Any]] | None = None
        self._left: list[npt.NDArray[Any]] | None = None
        with undisturbed(0):
            self._optimizer()

    def initial(self) -> Arrays:
        """Return what the factory makes of the experiment's model seed."""
        return self._architecture.arrays()

    def check(self, proposed: NamedArrays, model: NamedArrays) -> None:
        """Refuse whole numbers and truth values that differ: training changes floats alone (6.3).

        Raises:
            WeightsError: One does; names the array.
        """
        for name, before in model.items():
            if before.dtype.kind != "f" and not np.array_equal(before, proposed[name]):
                raise WeightsError(f"Array {name!r} must be the model's: it is not trained.")

    def fit(
        self, model: NamedArrays, X: Features, y: Targets, seed: int, weights: Floats | None = None
    ) -> Arrays:
        """Train a model of its own by the optimizer, and return its weights.

        Batches and dropout draw from `seed`.

        Raises:
            ColearnError: The model returns something of another form.
        """
        self._left = None
        network = self._architecture.model(model)
        with undisturbed(seed):
            _reseed(network, seed)
            optimizer = self._optimizer()
            self._restore(optimizer, network)
            network.compile(
                optimizer=optimizer,
                loss=self._objective.training_loss(y),
                jit_compile=keras.backend.backend() == "jax",
            )
            for rows in self._training.batches(len(y), seed):
                own = None if weights is None else weights[rows]
                network.train_on_batch(X[rows], y[rows], sample_weight=own)
            if self._training.keep_optimizer_state:
                self._left = [as_array(variable.value) for variable in optimizer.variables]
            return self._architecture.arrays_of(network)

    def require_private(self, config: DiffPrivConfig) -> None:
        """Refuse a model or a setting that would reveal more; looks at no private row.

        Raises:
            ConfigError: Names the variable or the setting; or Keras computes with jax.
        """
        require_torch()
        refuse_clip_norm(self._training.clip_norm)
        with undisturbed(0):
            self._private.require(config)

    def private_length(
        self, units_count: int, batch_size: int | None = None
    ) -> tuple[int, int, float | None]:
        """Return batch size and steps of one proposal; its sampling rate follows from them."""
        own = self._training
        return private_length(units_count, batch_size or own.batch_size, own.epochs, own.steps)

    def fit_privately(
        self, model: NamedArrays, X: Features, y: Targets, training: PrivateTraining, seed: int
    ) -> Arrays:
        """Train by `training` alone; only trainable variables differ from `model` afterwards.

        Raises:
            PrivacyError: A bound does not hold; nothing is released.
        """
        self._left = None

        def make(module: Any) -> KerasSteps:
            network, optimizer = network_of(module), self._optimizer()
            _reseed(network, seed)
            self._restore(optimizer, network)
            return KerasSteps(optimizer, module)

        with undisturbed(seed):
            arrays, state = self._private.fit(model, X, y, training, seed=seed, make=make)
        if self._training.keep_optimizer_state:
            self._left = state["variables"]
        return arrays

    def keep(self) -> None:
        """Keep what the last training left in its optimizer; its result turned out well."""
        if self._left is not None:
            self._kept, self._left = self._left, None

    def predict(self, model: NamedArrays, X: Features) -> Predictions:
        """Return what the model says in inference mode, with the statistics of `model`.

        Raises:
            ColearnError: The model returns something of another form.
        """
        if not len(X):
            raise ColearnError("There is no row to predict.")
        network, found = self._architecture.model(model), []
        step = max(self._training.batch_size, _EVALUATED_ROWS)
        with undisturbed(0):
            _reseed(network, 0)
            for begin in range(0, len(X), step):
                # A frozen layer of torch's tensors would still record gradients.
                rows = keras.ops.convert_to_tensor(np.array(X[begin : begin + step]))
                outputs = keras.ops.stop_gradient(network(rows, training=False))
                found.append(self._objective.predictions(outputs))
        return Predictions(found[0].kind, np.concatenate([each.scores for each in found]))

    def estimator(self, model: NamedArrays) -> Any:
        """Return a ``keras.Model`` with these weights."""
        return self._architecture.model(model)

    def _optimizer(self) -> Any:
        try:
            optimizer = self._training.optimizer()
        except Exception as error:
            raise ConfigError(
                f"The optimizer cannot be made: {error}.",
                hint="In an experiment file, what the learner does not know is the optimizer's.",
            ) from error
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise ConfigError(
                f"The optimizer must be a keras.optimizers.Optimizer, got "
                f"{type(optimizer).__name__}."
            )
        if self._training.clip_norm is not None:
            if optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue:
                raise ConfigError("Give clip_norm, or an optimizer that clips, not both.")
            optimizer.global_clipnorm = self._training.clip_norm
        return optimizer

    def _restore(self, optimizer: Any, network: Any) -> None:
        if self._kept is None:
            return
        optimizer.build(network.trainable_variables)
        for variable, value in zip(optimizer.variables, self._kept, strict=True):
            variable.assign(value)


def _reseed(network: Any, seed: int) -> None:
    """Give every random generator of the model a state that is drawn from `seed`."""
    own = {id(variable) for variable in network.weights}
    states = [variable for variable in network.variables if id(variable) not in own]
    drawn = np.random.SeedSequence([seed, 1]).generate_state(len(states)) >> 1
    for variable, start in zip(states, drawn, strict=True):
        variable.assign(np.array([start, 0], np.int64).astype(str(variable.dtype)))
