"""Gradients of single rows, clipped and summed (Abadi et al., 2016).

Three methods give the same sums. ``hooks`` lets Opacus keep the gradient of every row, layer by
layer. ``ghost`` lets Opacus compute norms alone, and sums by a second backward pass of the loss in
which each row is weighed by its clipping factor (Lee and Kifer, 2021; Li et al., 2022). ``vmap``
maps PyTorch's own gradient of one row over the rows, and needs no Opacus.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from colearn.errors import MissingExtraError, PrivacyError
from colearn.learners._torch_compute import seeded
from colearn.learners._torch_loss import RowLosses

__all__ = [
    "METHODS",
    "Clipped",
    "ClippedGradients",
    "opacus_is_here",
    "plain_gradients",
    "trained",
]

METHODS = ("hooks", "ghost", "vmap")

_HELD_BYTES = 2**24
_HELD_ROWS = 256
"""Gradients held at a time: of up to this many rows, and up to 16 MiB. More are slower: every
large block of memory is fetched from the operating system anew."""

Gradients = list[Tensor]
"""A tensor for each trained parameter, in the order of `trained`."""


@dataclass(frozen=True)
class Clipped:
    """The clipped gradients of a batch.

    Attributes:
        sums: Their sum over the units, by parameter name, float64.
        norms: The L2 norm of each after clipping, all parameters together, (units,) float64.
        lengths: The norms before clipping; inf or NaN for a unit that was left out.
    """

    sums: dict[str, npt.NDArray[np.float64]]
    norms: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.float64]


class ClippedGradients:
    """Sums of clipped gradients of one module, which keeps its mode and its weights.

    A unit whose gradient is not finite adds nothing, so that no single unit can end a training by
    being there. Memory is bounded whatever the batch: the gradients of a few units are held at a
    time.

    Attributes:
        max_grad_norm: The largest L2 norm of a unit's gradient, all parameters together.
        alike: Whether the rows of ``vmap`` draw the same random numbers, as rows do that pass
            through the module alone and from the same seed; only to compare them.
    """

    alike = False

    def __init__(
        self, method: str, module: nn.Module, objective: RowLosses, max_grad_norm: float
    ) -> None:
        """Prepare the module; Opacus's methods put hooks into it.

        Args:
            method: "hooks", "ghost" or "vmap".
            module: In training mode; its parameters are read anew at every call.
            objective: Its loss is the one that is trained.
            max_grad_norm: The largest L2 norm of a unit's gradient.

        Raises:
            MissingExtraError: The method is Opacus's, and Opacus is not installed.
        """
        self.max_grad_norm = max_grad_norm
        self._named = trained(module)
        self._rows: _PerRow | None = None
        self._ghost: _Ghost | None = None
        if method == "ghost":
            self._ghost = _Ghost(module, objective)
            row_bytes = _largest_kept(module)
        else:
            self._rows = (
                _Hooks(module, objective) if method == "hooks" else _Vmap(module, objective)
            )
            row_bytes = sum(each.nbytes for each in self._named.values())
        self._held = max(1, min(_HELD_ROWS, _HELD_BYTES // max(1, row_bytes)))

    def sums(self, X: Tensor, y: Tensor, units: npt.NDArray[np.int64], units_count: int) -> Clipped:
        """Return the sum over the units of their clipped gradients.

        Args:
            X: Rows on the module's device, (rows, ...); none is a batch too.
            y: Their targets, (rows,).
            units: Which unit each row belongs to, (rows,), from 0 to `units_count` - 1. The
                gradient of a unit is the sum of those of its rows.
            units_count: How many units there are.

        Raises:
            PrivacyError: A parameter has a gradient that the method did not see.
        """
        totals = [torch.zeros_like(each, dtype=torch.float64) for each in self._named.values()]
        order = np.argsort(units, kind="stable")
        starts = np.searchsorted(units[order], np.arange(units_count + 1))
        lengths, norms = [np.zeros(0)], [np.zeros(0)]
        for begin in range(0, units_count, self._held):
            end = min(begin + self._held, units_count)
            rows = order[starts[begin] : starts[end]]
            index = torch.from_numpy(rows).to(X.device)
            part = self._part(X[index], y[index], units[rows] - begin, end - begin)
            for total, each in zip(totals, part.sums, strict=True):
                total.add_(each)
            lengths.append(part.lengths.cpu().numpy())
            norms.append(part.norms.cpu().numpy())
        sums = dict(zip(self._named, (each.cpu().numpy() for each in totals), strict=True))
        return Clipped(sums, np.concatenate(norms), np.concatenate(lengths))

    def _part(self, X: Tensor, y: Tensor, units: npt.NDArray[np.int64], count: int) -> _Part:
        one_row_each = np.array_equal(units, np.arange(count))
        if self._ghost is not None:
            if not one_row_each:
                raise PrivacyError(
                    "Ghost clipping knows rows, not units of several rows.",
                    hint='Use dp_gradients="vmap" or "hooks".',
                )
            return self._ghost.clipped(X, y, self.max_grad_norm)
        gradients = self._of_rows(X, y) if one_row_each else self._of_units(X, y, units, count)
        lengths = _lengths(gradients)
        factors = _factors(lengths, self.max_grad_norm)
        lost = ~torch.isfinite(lengths)
        if bool(lost.any()):
            for each in gradients:
                each[lost] = 0.0
        sums = [torch.tensordot(factors.to(each), each, 1) for each in gradients]
        return _Part(sums, lengths, _norms(lengths, factors))

    def _of_units(
        self, X: Tensor, y: Tensor, units: npt.NDArray[np.int64], count: int
    ) -> Gradients:
        found = [each.new_zeros((count, *each.shape)) for each in self._named.values()]
        index = torch.from_numpy(units).to(X.device)
        for begin in range(0, len(X), self._held):
            rows = slice(begin, begin + self._held)
            for total, each in zip(found, self._of_rows(X[rows], y[rows]), strict=True):
                total.index_add_(0, index[rows], each)
        return found

    def _of_rows(self, X: Tensor, y: Tensor) -> Gradients:
        assert self._rows is not None
        return self._rows.gradients(X, y, alike=self.alike)


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require gradients, each once and under its first name."""
    return {name: each for name, each in module.named_parameters() if each.requires_grad}


def opacus_is_here() -> bool:
    """Say whether Opacus is installed, without importing it."""
    return importlib.util.find_spec("opacus") is not None


def plain_gradients(
    method: str, module: nn.Module, objective: RowLosses, X: Tensor, y: Tensor, *, seed: int
) -> list[dict[str, Tensor]]:
    """Return the gradient of each row by PyTorch alone: what a method is held against.

    The rows draw the random numbers that the method's draw from the same seed: Opacus sends all
    rows through the module together, and ``vmap``, if they are to draw alike, each alone.
    """
    if method != "vmap":
        with seeded(seed, X.device):
            return _one_by_one(module, objective, X, y)
    found = []
    for row in range(len(X)):
        with seeded(seed, X.device):
            found += _one_by_one(module, objective, X[row : row + 1], y[row : row + 1])
    return found


def _one_by_one(
    module: nn.Module, objective: RowLosses, X: Tensor, y: Tensor
) -> list[dict[str, Tensor]]:
    named = trained(module)
    outputs = module(X)
    found = []
    for row in range(len(X)):
        loss = objective.row_losses(outputs[row : row + 1], y[row : row + 1]).sum()
        slopes = torch.autograd.grad(
            loss, list(named.values()), retain_graph=True, allow_unused=True
        )
        pairs = zip(named.items(), slopes, strict=True)
        found.append(
            {
                name: torch.zeros_like(value) if each is None else each
                for (name, value), each in pairs
            }
        )
    return found


@dataclass(frozen=True)
class _Part:
    sums: Gradients
    lengths: Tensor
    norms: Tensor


class _PerRow(Protocol):
    def gradients(self, X: Tensor, y: Tensor, *, alike: bool) -> Gradients:
        """Return the gradients of each row, (rows, ...) for each parameter."""


class _Vmap:
    def __init__(self, module: nn.Module, objective: RowLosses) -> None:
        self._parameters = trained(module)

        def loss(parameters: dict[str, Tensor], row: Tensor, target: Tensor) -> Tensor:
            outputs = torch.func.functional_call(module, parameters, (row[None],))
            return objective.row_losses(outputs, target[None])[0]

        self._slope = torch.func.grad(loss)

    def gradients(self, X: Tensor, y: Tensor, *, alike: bool) -> Gradients:
        parameters = {name: each.detach() for name, each in self._parameters.items()}
        randomness = "same" if alike else "different"
        with _quiet():
            found = torch.func.vmap(self._slope, (None, 0, 0), randomness=randomness)(
                parameters, X, y
            )
        return [found[name] for name in parameters]


class _Hooks:
    def __init__(self, module: nn.Module, objective: RowLosses) -> None:
        self._module = _opacus("GradSampleModule", module)
        self._objective = objective
        self._named = trained(module)

    def gradients(self, X: Tensor, y: Tensor, *, alike: bool) -> Gradients:  # noqa: ARG002
        for parameter in self._named.values():
            parameter.grad, parameter.grad_sample = None, None  # type: ignore[attr-defined]
        with _quiet():
            losses = self._objective.row_losses(self._module(X), y)
            torch.autograd.backward(losses.sum())
        found = []
        for name, parameter in self._named.items():
            each = _seen(parameter, "grad_sample", name)
            found.append(
                each if each is not None else parameter.new_zeros((len(X), *parameter.shape))
            )
        return found


class _Ghost:
    def __init__(self, module: nn.Module, objective: RowLosses) -> None:
        self._module = _opacus("GradSampleModuleFastGradientClipping", module)
        self._objective = objective
        self._named = trained(module)

    def clipped(self, X: Tensor, y: Tensor, bound: float) -> _Part:
        """Clip by two backward passes; Opacus's criterion and optimizer have no part in it."""
        losses, lengths = self._norms_of(X, y)
        kept = torch.isfinite(lengths)
        if not bool(kept.all()):
            return self._without(X, y, bound, lengths, kept)
        factors = _factors(lengths, bound)
        self._module.disable_hooks()
        self._forget()
        with _quiet():
            torch.autograd.backward((losses * factors.to(losses)).sum())
        sums = [
            torch.zeros_like(each) if each.grad is None else each.grad
            for each in self._named.values()
        ]
        return _Part(sums, lengths, _norms(lengths, factors))

    def _norms_of(self, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        self._module.enable_hooks()
        self._forget()
        with _quiet():
            losses = self._objective.row_losses(self._module(X), y)
            torch.autograd.backward(losses.sum(), retain_graph=True)
        found = [_seen(each, "_norm_sample", name) for name, each in self._named.items()]
        squares = [each.double() ** 2 for each in found if each is not None]
        if not squares:
            return losses, losses.new_zeros(len(X), dtype=torch.float64)
        return losses, torch.stack(squares).sum(0).sqrt()

    def _without(self, X: Tensor, y: Tensor, bound: float, lengths: Tensor, kept: Tensor) -> _Part:
        """Leave rows out, since 0 times infinity would be in everybody's sum."""
        norms = torch.zeros_like(lengths)
        if not bool(kept.any()):
            return _Part([torch.zeros_like(each) for each in self._named.values()], lengths, norms)
        part = self.clipped(X[kept], y[kept], bound)
        lengths = lengths.clone()
        lengths[kept], norms[kept] = part.lengths, part.norms
        return _Part(part.sums, lengths, norms)

    def _forget(self) -> None:
        for parameter in self._named.values():
            parameter.grad, parameter._norm_sample = None, None  # type: ignore[attr-defined]  # noqa: SLF001


def _opacus(name: str, module: nn.Module) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from opacus import grad_sample  # noqa: PLC0415  (its extra)
            from opacus.grad_sample import (  # noqa: PLC0415
                grad_sample_module_fast_gradient_clipping as ghost,
            )
    except ModuleNotFoundError as error:
        raise MissingExtraError("opacus", extra="opacus") from error
    kind = getattr(grad_sample, name, None) or getattr(ghost, name)
    # Not strict: Opacus's own checks miss what _torch_guards finds, and refuse constant buffers.
    return kind(module, batch_first=True, loss_reduction="sum", strict=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch from warning that rows need no gradients, and that some parts are slow."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop")
        warnings.filterwarnings("ignore", "Full backward hook is firing")
        yield


def _seen(parameter: nn.Parameter, what: str, name: str) -> Tensor | None:
    """Return what Opacus left at a parameter; None where the parameter was not used at all."""
    found: object = getattr(parameter, what, None)
    if isinstance(found, Tensor):
        return found
    if found is not None or parameter.grad is not None:
        raise PrivacyError(
            f"The parameter {name!r} has a gradient that Opacus did not see row by row.",
            hint='Use dp_gradients="vmap".',
        )
    return None


def _largest_kept(module: nn.Module) -> int:
    """Return the bytes of a row's gradient that ghost clipping holds at a time."""
    whole = (nn.Linear, nn.Embedding)
    kept = (each for each in module.modules() if not isinstance(each, whole))
    parameters = (each for part in kept for each in part.parameters(recurse=False))
    return max((each.nbytes for each in parameters if each.requires_grad), default=0)


def _lengths(gradients: Sequence[Tensor]) -> Tensor:
    """Return the L2 norm of each unit over all parameters, (units,) float64."""
    squares = [
        torch.linalg.vector_norm(each.reshape(len(each), -1), dim=1).double() ** 2
        for each in gradients
    ]
    return torch.stack(squares).sum(0).sqrt()


def _factors(lengths: Tensor, bound: float) -> Tensor:
    """Return by what each unit's gradient is multiplied: at most 1, or 0 if it is not finite."""
    shrunk = (bound / lengths.clamp(min=bound)).clamp(max=1.0)
    return torch.where(torch.isfinite(lengths), shrunk, torch.zeros_like(shrunk))


def _norms(lengths: Tensor, factors: Tensor) -> Tensor:
    return torch.where(torch.isfinite(lengths), lengths * factors, torch.zeros_like(lengths))
