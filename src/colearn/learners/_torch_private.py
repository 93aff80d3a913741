"""Modules trained by DP-SGD (Abadi et al., 2016): the loop, and what leaves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from colearn.errors import ConfigError, MissingExtraError, PrivacyError
from colearn.interface import DiffPrivConfig
from colearn.learners._family import Arrays, Features
from colearn.learners._scoring import Targets
from colearn.learners._torch_compute import seeded
from colearn.learners._torch_data import batch_of
from colearn.learners._torch_gradients import (
    METHODS,
    ClippedGradients,
    opacus_is_here,
    plain_gradients,
    trained,
)
from colearn.learners._torch_guards import Guards, draws, far_apart
from colearn.learners._torch_loss import RowLosses
from colearn.weights import NamedArrays

if TYPE_CHECKING:
    from colearn.privacy import PrivateTraining

__all__ = ["PrivateFitting", "RowForm", "checked_method"]

_CPU_SHARE = 1e-3
_GPU_SHARE = 1e-2
"""How far a reported norm may be from PyTorch's own; a GPU rounds its products more."""


@dataclass(frozen=True, slots=True)
class RowForm:
    """What rows look like, which is public; their values are not.

    Attributes:
        shape: The shape of one row.
        dtype: Their dtype as they were given.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Modules(Protocol):
    """An architecture, as private training needs it."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of floats as they reach the module."""

    def arrays(self) -> Arrays:
        """Return model 0."""

    def module(self, arrays: Arrays) -> nn.Module:
        """Return a new module with these weights, on the CPU."""

    def arrays_of(self, module: nn.Module) -> Arrays:
        """Return the weights of a module, under the names of its parameters and buffers."""


class Steps(Protocol):
    """An optimizer, as private training needs it."""

    def step(self) -> object:
        """Move the parameters by their gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Return what it keeps."""


class PrivateFitting:
    """Private training of modules of one architecture.

    Attributes:
        method: How gradients are computed; empty until `require` has agreed.
    """

    def __init__(
        self,
        architecture: Modules,
        objective: RowLosses,
        device: torch.device,
        method: str,
        form: RowForm,
        *,
        methods: tuple[str, ...] = METHODS,
    ) -> None:
        """Put the parts together; `require` decides whether and how they can train.

        Args:
            architecture: Makes the modules.
            objective: The loss that is trained.
            device: Where they are trained.
            method: How gradients are computed; "auto" chooses among `methods`.
            form: What rows look like.
            methods: Those that may be chosen or recommended.
        """
        self._methods = methods
        self._architecture = architecture
        self._objective = objective
        self._device = device
        self._asked = method
        self._form = form
        self.method = ""

    def require(self, config: DiffPrivConfig) -> None:
        """Refuse what cannot train privately, and choose how gradients are computed.

        The module sees made-up rows alone.

        Raises:
            ConfigError: A setting that reveals more; a module whose rows have no gradients of
                their own, or of which no method gets them right.
            MissingExtraError: `dp_gradients` asks for Opacus, which is not installed.
        """
        if self._objective.counts_labels:
            raise ConfigError(
                "label_prior does not go with private training: it counts the private labels.",
                hint='Leave it at "none".',
            )
        self._check_asked(by_user=config.unit.kind == "user")
        architecture, form = self._architecture, self._form
        module = architecture.module(architecture.arrays())
        guards = Guards(module, self._objective, form.shape, form.dtype, architecture.dtype)
        guards.check()
        self.method = self._chosen(guards, module, by_user=config.unit.kind == "user")

    def fit(
        self,
        model: NamedArrays,
        X: Features,
        y: Targets,
        training: PrivateTraining,
        *,
        seed: int,
        make: Callable[[nn.Module], Steps],
    ) -> tuple[Arrays, dict[str, Any]]:
        """Train a copy of the module on what `training` releases of its gradients.

        The optimizer sees released gradients alone, so its momenta are as private as they.
        Whatever else the module did while rows passed through it stays in the copy: what leaves
        is `model` with other trainable parameters.

        Args:
            model: Named arrays to start from.
            X: All training rows.
            y: Their targets.
            training: Draws the batches and adds the noise.
            seed: Of dropout and the like, which nobody has to keep secret.
            make: Makes the optimizer.

        Returns:
            The arrays, and the optimizer's state.

        Raises:
            PrivacyError: A bound does not hold, or the method's norms are not PyTorch's.
        """
        if not self.method:
            raise PrivacyError("Nobody has checked that this module can train privately.")
        with seeded(seed, self._device):
            module = self._architecture.module(model).to(self._device).train()
            optimizer = make(module)
            gradients = ClippedGradients(
                self.method, module, self._objective, training.max_grad_norm
            )
            checked = False
            for batch in training.batches():
                rows, targets = self._rows(X, y, batch.rows)
                clipped = gradients.sums(rows, targets, batch.units, batch.units_count)
                if len(rows) and not checked:
                    unit = int(np.random.default_rng(seed).integers(batch.units_count))
                    own = torch.from_numpy(np.flatnonzero(batch.units == unit)).to(self._device)
                    bare = self._architecture.module(self._architecture.arrays_of(module))
                    length = float(clipped.lengths[unit])
                    self._check_one(gradients, bare, (rows[own], targets[own]), length)
                    checked = True
                _give(module, training.released(clipped.sums, clipped.norms))
                optimizer.step()
            training.finish()
            arrays, moved = self._architecture.arrays_of(module), trained(module)
            released = {name: arrays[name] if name in moved else model[name] for name in model}
            return released, optimizer.state_dict()

    def _rows(self, X: Features, y: Targets, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        dtype = self._architecture.dtype
        return batch_of(X[rows], dtype, self._device), batch_of(y[rows], dtype, self._device)

    def _check_asked(self, *, by_user: bool) -> None:
        asked = self._asked
        if by_user and asked == "ghost":
            raise ConfigError(
                'dp_gradients "ghost" clips rows, and the unit of privacy is a user.',
                hint='Use dp_gradients="vmap" or "hooks".',
            )
        if self._objective.is_own and asked in ("hooks", "ghost"):
            raise ConfigError(
                f"dp_gradients {asked!r} needs the loss of each row, and a loss of your own is "
                "the mean of a batch.",
                hint='Use dp_gradients="vmap", which evaluates it on one row at a time.',
            )
        if asked in ("hooks", "ghost") and not opacus_is_here():
            raise MissingExtraError("opacus", extra="opacus")

    def _chosen(self, guards: Guards, module: nn.Module, *, by_user: bool) -> str:
        order = self._order(module, by_user=by_user)
        asked, problems = self._asked, {}
        for method in order if asked == "auto" else [asked]:
            problems[method] = _problem(guards, method)
            if not problems[method]:
                return method
        if asked != "auto":
            others = [each for each in order if each != asked and not _problem(guards, each)]
            raise ConfigError(
                f"dp_gradients {asked!r} does not get the module's gradients right: "
                f"{problems[asked]}.",
                hint=f'Use dp_gradients="{others[0]}", which does.' if others else "",
            )
        found = "; ".join(f"{method}: {problem}" for method, problem in problems.items())
        raise ConfigError(
            f"No way to compute the module's gradients row by row gets them right. {found}.",
            hint="" if opacus_is_here() else 'Two more come with pip install "colearn[opacus]".',
        )

    def _order(self, module: nn.Module, *, by_user: bool) -> list[str]:
        """Return the methods that may be used, the one that is likely to be fastest first.

        Ghost clipping never builds the gradient of a row in a linear layer or an embedding: a
        step took 2 to 5 plain ones whatever the size, and with the others up to 20 and 70. Where
        convolutions do most of the work, `vmap` is the fastest, since ghost clipping computes
        them twice (``benchmarks/private_training.py``).
        """
        if self._objective.is_own or not opacus_is_here():
            return ["vmap"]
        flat = _is_flat(module)
        order = ["ghost", "vmap", "hooks"] if flat else ["vmap", "hooks", "ghost"]
        barred = {"ghost"} if by_user else set()
        return [each for each in order if each in self._methods and each not in barred]

    def _check_one(
        self,
        gradients: ClippedGradients,
        bare: nn.Module,
        rows: tuple[Tensor, Tensor],
        reported: float,
    ) -> None:
        """Hold the norm of one drawn unit against PyTorch's own gradients of its rows.

        Args:
            gradients: What reported the norm.
            bare: The module as it is now, without hooks.
            rows: The rows of the unit, and their targets.
            reported: The norm of their gradient before clipping.
        """
        bare.to(self._device).train()
        expected = _length(plain_gradients(self.method, bare, self._objective, *rows, seed=0))
        if draws(bare, rows[0]):
            # Dropout drew other numbers in the batch, so the rows pass through once more.
            gradients.alike = True
            with seeded(0, self._device):
                units = np.zeros(len(rows[0]), np.int64)
                reported = float(gradients.sums(*rows, units, 1).lengths[0])
            gradients.alike = False
        share = _CPU_SHARE if self._device.type == "cpu" else _GPU_SHARE
        bound = gradients.max_grad_norm
        if far_apart(np.array([reported]), np.array([expected]), bound, share):
            raise PrivacyError(
                f"The norms of the {self.method} gradients are not PyTorch's own, so clipping "
                "would not bound what one unit changes. Nothing is released.",
                hint="Use another dp_gradients.",
            )


def checked_method(value: object) -> str:
    """Return the setting `dp_gradients`.

    Raises:
        ConfigError: It is none of its values.
    """
    if value not in ("auto", *METHODS):
        raise ConfigError(
            f'dp_gradients must be "auto", "hooks", "ghost" or "vmap", got {value!r}.'
        )
    return str(value)


def _problem(guards: Guards, method: str) -> str:
    try:
        return guards.disagreement(method)
    except Exception as error:  # noqa: BLE001  (whatever a framework raises about a module)
        return f"{type(error).__name__}: {error}"


def _is_flat(module: nn.Module) -> bool:
    """Say whether linear layers and embeddings have four fifths of the trainable parameters."""
    flat = 0
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            flat += sum(
                each.numel() for each in part.parameters(recurse=False) if each.requires_grad
            )
    return 5 * flat >= 4 * sum(each.numel() for each in trained(module).values())


def _give(module: nn.Module, released: dict[str, npt.NDArray[np.float64]]) -> None:
    for name, parameter in trained(module).items():
        gradient = torch.from_numpy(released[name]).reshape(parameter.shape)
        parameter.grad = gradient.to(parameter)


def _length(gradients: list[dict[str, Tensor]]) -> float:
    whole = [torch.stack([each[name] for each in gradients]).sum(0) for name in gradients[0]]
    return float(np.sqrt(sum(float(each.double().square().sum()) for each in whole)))
