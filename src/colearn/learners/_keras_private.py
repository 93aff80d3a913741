"""Keras models trained by DP-SGD on the torch backend, as if they were PyTorch modules.

A model becomes a function of its variables by ``stateless_call``, and the gradient of one row is
mapped over the rows. Opacus cannot: it looks for PyTorch's own layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from colearn.errors import ColearnError, ConfigError
from colearn.learners._family import Arrays
from colearn.learners._keras_architecture import KerasArchitecture
from colearn.learners._keras_backend import as_array, keras
from colearn.learners._keras_loss import KerasObjective
from colearn.learners._torch_compute import CPU
from colearn.learners._torch_gradients import trained
from colearn.learners._torch_private import PrivateFitting, RowForm

__all__ = ["KerasSteps", "network_of", "private_fitting", "require_torch"]


class _Modules:
    """The models of an architecture as modules of PyTorch, with the same named arrays."""

    dtype = torch.float32

    def __init__(self, architecture: KerasArchitecture) -> None:
        self._architecture = architecture

    def arrays(self) -> Arrays:
        return self._architecture.arrays()

    def module(self, arrays: Arrays) -> nn.Module:
        return _Stateless(self._architecture.model(arrays))

    def arrays_of(self, module: nn.Module) -> Arrays:
        held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        return {name: as_array(held[name]) for name in self._architecture.arrays()}


class _Stateless(nn.Module):
    """A Keras model as a function of its variables; the trainable ones are the model's own.

    Attributes:
        network: Holds the model, and is not copied with the module.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = _Held(network)
        weights = {id(variable) for variable in network.weights}
        self._trained = [variable.path for variable in network.trainable_variables]
        self._others: list[str | Tensor] = []
        for variable in network.trainable_variables:
            self.register_parameter(variable.path, _parameter(variable))
        for variable in network.non_trainable_variables:
            if id(variable) in weights:
                self.register_buffer(variable.path, variable.value.detach())
            self._others.append(
                variable.path if id(variable) in weights else variable.value.detach()
            )

    def forward(self, rows: Tensor) -> Tensor:
        """Return the outputs in training mode; statistics that move are the module's buffers."""
        own = [self._parameters[name] for name in self._trained]
        others = [self._buffers[each] if isinstance(each, str) else each for each in self._others]
        outputs, moved, losses = self.network.model.stateless_call(
            own, others, rows, return_losses=True, training=True
        )
        if losses:
            raise ColearnError(
                "The model adds losses of its own, such as a regularizer's, to that of a row.",
                hint="Leave them out; an optimizer's weight_decay acts on no row.",
            )
        for name, before, after in zip(self._others, others, moved, strict=True):
            if isinstance(name, str) and after is not before:
                self._buffers[name] = after.detach()
        found: Tensor = outputs
        return found


class _Held:
    """What stays the same object when a module is copied."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __deepcopy__(self, _memo: object) -> _Held:
        return self


class _RowLosses:
    """The loss of training, row by row."""

    def __init__(self, objective: KerasObjective) -> None:
        self.classes_count = objective.classes_count
        self.is_own = not objective.weighs_rows
        self.counts_labels = objective.counts_labels
        self._objective = objective

    def row_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        # Without a label prior it depends on no labels but those of the rows.
        losses: Tensor = self._objective.training_loss(np.zeros(0, np.int64))(targets, outputs)
        if self.is_own:
            # One row's loss, or the mean of one.
            return losses.reshape(-1).mean().reshape(1)
        return losses.reshape(-1)


class KerasSteps:
    """A Keras optimizer that takes its gradients from a module's parameters."""

    def __init__(self, optimizer: Any, module: nn.Module) -> None:
        """Take the optimizer and the module whose Keras model it moves."""
        assert isinstance(module, _Stateless)
        self._optimizer = optimizer
        self._parameters = list(trained(module).values())
        self._variables = module.network.model.trainable_variables

    def step(self) -> None:
        """Move the variables by the gradients."""
        with torch.no_grad():
            self._optimizer.apply([each.grad for each in self._parameters], self._variables)

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's variables as arrays."""
        return {"variables": [as_array(each.value) for each in self._optimizer.variables]}


def network_of(module: nn.Module) -> Any:
    """Return the Keras model that a module stands for."""
    assert isinstance(module, _Stateless)
    return module.network.model


def private_fitting(
    architecture: KerasArchitecture, objective: KerasObjective, form: RowForm
) -> PrivateFitting:
    """Return what trains models of this architecture privately."""
    return PrivateFitting(
        _Modules(architecture), _RowLosses(objective), CPU, "vmap", form, methods=("vmap",)
    )


def require_torch() -> None:
    """Refuse another backend.

    Raises:
        ConfigError: Keras computes with jax.
    """
    backend = keras.backend.backend()
    if backend != "torch":
        raise ConfigError(
            f"KerasLearner trains privately with the backend torch alone, and Keras uses "
            f"{backend!r}.",
            hint="Set KERAS_BACKEND=torch before Keras is imported, or leave it out.",
        )


def _parameter(variable: Any) -> nn.Parameter:
    """Return the tensor of a variable, so that a Keras optimizer moves both."""
    value = variable.value
    if "." in variable.path or not isinstance(value, nn.Parameter):
        raise ConfigError(
            f"The variable {variable.path!r} cannot be trained privately.",
            hint="Its name must have no dot, and its backend must be torch.",
        )
    return value
