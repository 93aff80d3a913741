"""PyTorch modules as a model family."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from colearn.errors import ColearnError, ConfigError, WeightsError
from colearn.interface import DiffPrivConfig
from colearn.learners._family import Arrays, Features
from colearn.learners._scoring import Floats, Predictions, Targets
from colearn.learners._torch_architecture import Architecture
from colearn.learners._torch_compute import CPU, seeded
from colearn.learners._torch_data import batch_of
from colearn.learners._torch_loss import Objective
from colearn.learners._torch_private import PrivateFitting
from colearn.learners._training_settings import private_length, refuse_clip_norm
from colearn.weights import NamedArrays

if TYPE_CHECKING:
    from colearn.privacy import PrivateTraining

__all__ = ["OptimizerFactory", "TorchFamily", "Training"]

OptimizerFactory = Callable[..., Optimizer]
"""Makes an optimizer of a list of parameters."""

_EVALUATED_BYTES = 2**24
_EVALUATED_ROWS = 256
"""Rows evaluated at a time: up to this many, and up to 16 MiB, but no fewer than are trained."""


@dataclass(frozen=True, slots=True)
class Training:
    """How a proposal is trained.

    Attributes:
        optimizer: Makes the optimizer of the parameters that require gradients.
        batch_size: Rows a step; a last batch of one row joins the one before it, since
            BatchNorm cannot train on one.
        epochs: Passes over the rows; None where `steps` says how long.
        steps: Optimizer steps, going over the rows again and again; None where `epochs` does.
        clip_norm: The largest L2 norm of the gradient of all parameters together, or None.
        device: Where batches and the module are computed on.
        keep_optimizer_state: Whether the optimizer goes on where the last proposal left it.
    """

    optimizer: OptimizerFactory
    batch_size: int
    epochs: int | None
    steps: int | None
    clip_norm: float | None
    device: torch.device
    keep_optimizer_state: bool

    def batches(
        self, rows_count: int, generator: torch.Generator
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the indices of each batch of one proposal, in the order `generator` draws."""
        passes = count() if self.epochs is None else range(self.epochs)
        epochs = (self._epoch(rows_count, generator) for _ in passes)
        return islice(chain.from_iterable(epochs), self.steps)

    def _epoch(self, rows_count: int, generator: torch.Generator) -> list[npt.NDArray[np.int64]]:
        order = torch.randperm(rows_count, generator=generator).numpy()
        ends = list(range(self.batch_size, rows_count, self.batch_size))
        if self.batch_size > 1 and ends and rows_count - ends[-1] == 1:
            ends.pop()
        return np.split(order, ends)


class TorchFamily:
    """Modules of one architecture, trained by gradients.

    Rows, weights, votes and the optimizer's kept state stay on the CPU. A batch goes to the
    device, and so does the copy of the module that a computation uses.
    """

    grows = False
    damping = 1.0

    trains_privately = True

    def __init__(
        self,
        architecture: Architecture,
        objective: Objective,
        training: Training,
        private: PrivateFitting,
    ) -> None:
        """Put the parts together; `private` trains the same architecture by the same objective.

        Raises:
            ConfigError: The optimizer cannot be made.
        """
        self.weighs_rows = objective.weighs_rows
        self._architecture = architecture
        self._objective = objective
        self._training = training
        self._private = private
        self._kept: dict[str, Any] | None = None
        self._left: dict[str, Any] | None = None
        module = architecture.module(architecture.arrays())
        try:
            self._optimizer(module)
        except ColearnError:
            raise
        except Exception as error:
            raise ConfigError(
                f"The optimizer cannot be made: {error}.",
                hint="In an experiment file, what the learner does not know is the optimizer's.",
            ) from error

    def initial(self) -> Arrays:
        """Return what the factory makes of the experiment's model seed."""
        return self._architecture.arrays()

    def check(self, proposed: NamedArrays, model: NamedArrays) -> None:
        """Refuse whole numbers that training does not make of the model's (6.3).

        A single number counts, as BatchNorm counts its batches: it may rise, but not so far that
        honest proposals could not add to it any more. An array of whole numbers or truth values
        is a constant of the architecture; one index out of range stops a GPU for the process.

        Raises:
            WeightsError: There are some; names the array.
        """
        for name, before in model.items():
            if before.dtype.kind == "f":
                continue
            after = proposed[name]
            if before.ndim or before.dtype.kind == "b":
                if not np.array_equal(before, after):
                    raise WeightsError(f"Array {name!r} must be the model's: it is not trained.")
                continue
            rise = int(after) - int(before)
            if not 0 <= rise <= 2 ** (4 * before.itemsize):
                raise WeightsError(
                    f"Array {name!r} counts and may rise by {2 ** (4 * before.itemsize)}, got "
                    f"{int(after)} after {int(before)}."
                )

    def fit(
        self, model: NamedArrays, X: Features, y: Targets, seed: int, weights: Floats | None = None
    ) -> Arrays:
        """Train a copy of the module by the optimizer, and return its state.

        Batches and dropout draw from `seed`. On a CPU the same seed repeats the bytes at the same
        number of threads; a GPU adds in an order of its own and does not promise it.

        Raises:
            ColearnError: The module or the loss returns something of another form.
        """
        self._left = None
        device = self._training.device
        generator = torch.Generator(CPU).manual_seed(seed)
        loss = self._objective.training_loss(y)
        with seeded(seed, device):
            module = self._architecture.module(model).to(device).train()
            optimizer = self._optimizer(module)
            for rows in self._training.batches(len(y), generator):
                outputs = module(batch_of(X[rows], self._architecture.dtype, device))
                targets = batch_of(y[rows], self._architecture.dtype, device)
                own = None if weights is None else weights[rows]
                weighed = None if own is None else batch_of(own, self._architecture.dtype, device)
                value = loss(outputs, targets, weighed)
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(value)
                self._clip(module)
                optimizer.step()
            if self._training.keep_optimizer_state:
                self._left = _on_cpu(optimizer.state_dict())
            return self._architecture.arrays_of(module)

    def require_private(self, config: DiffPrivConfig) -> None:
        """Refuse a module or a setting that would reveal more; looks at no private row.

        Raises:
            ConfigError: Names the module's part or the setting.
            MissingExtraError: The setting asks for Opacus, which is not installed.
        """
        refuse_clip_norm(self._training.clip_norm)
        self._private.require(config)

    @property
    def private_method(self) -> str:
        """How private training computes gradients; empty before `require_private`."""
        return self._private.method

    def private_length(
        self, units_count: int, batch_size: int | None = None
    ) -> tuple[int, int, float | None]:
        """Return batch size and steps of one proposal; its sampling rate follows from them."""
        own = self._training
        return private_length(units_count, batch_size or own.batch_size, own.epochs, own.steps)

    def fit_privately(
        self, model: NamedArrays, X: Features, y: Targets, training: PrivateTraining, seed: int
    ) -> Arrays:
        """Train by `training` alone; only trainable parameters differ from `model` afterwards.

        Raises:
            PrivacyError: A bound does not hold; nothing is released.
        """
        self._left = None
        arrays, state = self._private.fit(model, X, y, training, seed=seed, make=self._optimizer)
        if self._training.keep_optimizer_state:
            self._left = _on_cpu(state)
        return arrays

    def keep(self) -> None:
        """Keep what the last training left in its optimizer; its result turned out well."""
        if self._left is not None:
            self._kept, self._left = self._left, None

    def predict(self, model: NamedArrays, X: Features) -> Predictions:
        """Return what the module says in evaluation mode, with the buffers of `model`.

        Raises:
            ColearnError: The module returns something of another form.
        """
        device, found = self._training.device, []
        step = self._evaluated_rows(X)
        with seeded(0, device), torch.no_grad():
            module = self._architecture.module(model).to(device).eval()
            for begin in range(0, len(X), step):
                rows = np.array(X[begin : begin + step])
                outputs = module(batch_of(rows, self._architecture.dtype, device))
                found.append(self._objective.predictions(outputs))
        if not found:
            raise ColearnError("There is no row to predict.")
        return Predictions(found[0].kind, np.concatenate([each.scores for each in found]))

    def estimator(self, model: NamedArrays) -> nn.Module:
        """Return the module with these weights, on the CPU and in evaluation mode."""
        return self._architecture.module(model).eval()

    def _optimizer(self, module: nn.Module) -> Optimizer:
        optimizer: object = self._training.optimizer(
            [parameter for parameter in module.parameters() if parameter.requires_grad]
        )
        if not isinstance(optimizer, Optimizer):
            raise ConfigError(
                f"The optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}."
            )
        if isinstance(optimizer, LBFGS):
            raise ConfigError("LBFGS needs the loss as a closure.", hint="Use SGD or Adam.")
        if self._kept is not None:
            # Copied, because the optimizer would go on in the same memory, and may yet fail.
            optimizer.load_state_dict(copy.deepcopy(self._kept))
        return optimizer

    def _clip(self, module: nn.Module) -> None:
        if self._training.clip_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), self._training.clip_norm)

    def _evaluated_rows(self, X: Features) -> int:
        row_bytes = max(1, X.itemsize * int(np.prod(X.shape[1:])))
        fitting = min(_EVALUATED_ROWS, _EVALUATED_BYTES // row_bytes)
        return max(self._training.batch_size, fitting)


def _on_cpu(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.detach().to(CPU)
    if isinstance(state, dict):
        return {key: _on_cpu(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_on_cpu(value) for value in state]
    return state
