"""What a module must be like to train privately, found out on made-up rows alone.

The promise of DP-SGD rests on every row having a gradient of its own (Abadi et al., 2016). A
module breaks it that mixes the rows of a batch, that carries something from one batch to the
next, or whose gradients a method gets wrong. No private row is needed to see that.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from colearn.errors import ColearnError, ConfigError
from colearn.learners._torch_compute import CPU, seeded
from colearn.learners._torch_data import batch_of, features_of
from colearn.learners._torch_gradients import ClippedGradients, plain_gradients, trained
from colearn.learners._torch_loss import RowLosses

__all__ = ["Guards", "draws", "far_apart"]

_ROWS = 4
_COMPARED_ROWS = 3
_SEED = 20_160_701
_SCALES = (1.0, 0.01, 100.0)
_TOLERANCE = 1e-5
_GRADIENT_TOLERANCE = 1e-3
_SHAKE = 0.1
_HINT = "GroupNorm and LayerNorm normalize each row by itself."


class Guards:
    """Checks of one module, on the CPU and in training mode.

    Its trainable parameters are moved a little first: a part that is multiplied by 0 in model 0,
    as the last scale of a residual block often is, would hide what stands behind it.
    """

    def __init__(
        self,
        module: nn.Module,
        objective: RowLosses,
        row_shape: tuple[int, ...],
        row_dtype: np.dtype[Any],
        dtype: torch.dtype,
    ) -> None:
        """Take the module and the form of its rows.

        Args:
            module: A copy that nobody else uses, on the CPU.
            objective: Its loss is the one that is trained.
            row_shape: The shape of a row.
            row_dtype: The dtype of the rows as they were given.
            dtype: That of floats as they reach the module.

        Raises:
            ConfigError: The module fails on made-up rows.
        """
        self._module = module.train()
        self._objective = objective
        self._dtype = dtype
        generator = torch.Generator(CPU).manual_seed(_SEED)
        with torch.no_grad():
            for parameter in trained(module).values():
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.add_(_SHAKE * noise)
        self._made = self._rows_that_pass((_ROWS, *row_shape), row_dtype)

    def check(self) -> None:
        """Refuse a module whose rows are not each by themselves.

        Raises:
            ConfigError: It is one; names its first part that is. Or it fails on made-up rows.
        """
        try:
            self._check_repeats()
            self._check_still()
            for X in self._made:
                self._check_rows(X)
        except ColearnError:
            raise
        except Exception as error:
            raise ConfigError(
                f"The module cannot be checked for private training: it fails on made-up rows of "
                f"shape {tuple(self._made[0].shape[1:])}: {error}"
            ) from error

    def disagreement(self, method: str) -> str:
        """Say how a method's gradients differ from PyTorch's own; nothing where they do not.

        Raises:
            MissingExtraError: The method is Opacus's, and Opacus is not installed.
        """
        X = self._made[0][:_COMPARED_ROWS]
        y = self._targets()[:_COMPARED_ROWS]
        expected = plain_gradients(
            method, copy.deepcopy(self._module), self._objective, X, y, seed=_SEED
        )
        lengths = np.array([_length(each) for each in expected])
        if not np.isfinite(lengths).all() or not lengths.max():
            return "made-up rows have no finite gradient other than zero"
        # Some are clipped and some are not.
        bound = float(np.median(lengths)) or float(lengths.max())
        clipped = ClippedGradients(method, copy.deepcopy(self._module), self._objective, bound)
        clipped.alike = True
        with seeded(_SEED, CPU):
            got = clipped.sums(X, y, np.arange(len(X)), len(X))
        if far_apart(got.lengths, lengths, bound, _GRADIENT_TOLERANCE):
            return f"the norms of three rows are {got.lengths}, and must be {lengths}"
        factors = np.minimum(1.0, bound / np.maximum(lengths, bound))
        for name in got.sums:
            rows = [
                float(f) * each[name].double().numpy()
                for f, each in zip(factors, expected, strict=True)
            ]
            right = np.sum(rows, axis=0)
            error = float(np.linalg.norm(got.sums[name] - right))
            if error > _GRADIENT_TOLERANCE * float(np.linalg.norm(right)) + 1e-6 * bound:
                return f"the gradient of {name!r} is another one"
        return ""

    def _rows_that_pass(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> list[Tensor]:
        generator = np.random.default_rng(_SEED)
        if dtype.kind == "f":
            normal = generator.normal(size=shape)
            made = [(scale * normal).astype(dtype) for scale in _SCALES]
        else:
            made = [generator.integers(0, high, shape).astype(dtype) for high in self._highs(dtype)]
        passed, failed = [], ""
        for each in made:
            X = batch_of(features_of(each, self._dtype), self._dtype, CPU)
            try:
                self._outputs(X)
            except Exception as error:  # noqa: BLE001  (whatever a user's module raises)
                failed = str(error)
                continue
            passed.append(X)
        if not passed:
            raise ConfigError(
                f"The module cannot be checked for private training: it fails on made-up rows of "
                f"shape {shape[1:]} and dtype {dtype}: {failed}"
            )
        return passed

    def _highs(self, dtype: np.dtype[Any]) -> list[int]:
        """Return how many whole numbers to draw from: those an embedding knows, else a byte's."""
        if dtype.kind == "b":
            return [2]
        sizes = [getattr(each, "num_embeddings", None) for each in self._module.modules()]
        known = {each for each in sizes if isinstance(each, int) and each > 1}
        limit = np.iinfo(dtype).max
        return [int(min(each, limit)) for each in (sorted(known, reverse=True) or [256])] + [2]

    def _targets(self) -> Tensor:
        count = self._objective.classes_count
        if count:
            return torch.arange(_ROWS) % count
        return torch.linspace(-1.0, 1.0, _ROWS, dtype=self._dtype)

    def _outputs(self, X: Tensor, *, before: Tensor | None = None) -> Tensor:
        """Return what a fresh copy puts out, having seen the rows of `before` or nothing."""
        module = copy.deepcopy(self._module)
        if before is not None:
            with seeded(_SEED + 1, CPU):
                module(before)
        with seeded(_SEED, CPU):
            return _tensor(module(X))

    def _check_rows(self, X: Tensor) -> None:
        outputs = self._outputs(X)
        self._check_apart(X, outputs)
        if not _equal(outputs, self._outputs(X, before=X.flip(0))):
            raise ConfigError(
                "What the module puts out depends on the rows of earlier batches.",
                hint="Keep nothing from one batch to the next.",
            )
        self._check_alone(X, outputs)
        if X.is_floating_point():
            self._check_slopes(X)

    def _check_repeats(self) -> None:
        X = self._made[0]
        if not _equal(self._outputs(X), self._outputs(X)):
            raise ConfigError(
                "The module puts out other numbers for the same rows and the same seed.",
                hint="Draw its random numbers from torch alone.",
            )

    def _check_still(self) -> None:
        module = copy.deepcopy(self._module)
        before = {name: tensor.detach().clone() for name, tensor in _held(module)}
        with seeded(_SEED, CPU):
            outputs = _tensor(module(self._made[0]))
            if outputs.requires_grad:
                torch.autograd.backward(outputs.sum())
        after = dict(_held(module))
        for name in before | after:
            same = name in before and name in after and _identical(before[name], after[name])
            if not same:
                raise ConfigError(
                    f"The module moves {name!r} as rows pass through it in training, so private "
                    "rows would be in it without noise.",
                    hint=f"Keep no statistics of rows. {_HINT}",
                )

    def _check_alone(self, X: Tensor, outputs: Tensor) -> None:
        """Let each row through alone; a layer with random numbers of its own drops other units."""
        if draws(copy.deepcopy(self._module), X):
            return
        for row in range(len(X)):
            with seeded(_SEED, CPU):
                alone = copy.deepcopy(self._module)(X[row : row + 1])
            if not _equal(alone, outputs[row : row + 1], tolerance=_GRADIENT_TOLERANCE):
                raise ConfigError(
                    "A row gets another output from the module alone than among others.",
                    hint="Give layers such as Dropout no seed of their own.",
                )

    def _check_apart(self, X: Tensor, outputs: Tensor) -> None:
        """Replace a row, and look whether the outputs of others stay what they were."""
        for row in (0, len(X) - 1):
            for other in self._replacements(X, row):
                if not _equal_but(outputs, self._outputs(other), row):
                    raise self._mixed(X, other, row)

    def _replacements(self, X: Tensor, row: int) -> Iterator[Tensor]:
        for values in (
            X.flip(0)[row] if len(X) > 1 else X[row],
            torch.zeros_like(X[row]),
            X[row] * 100,
        ):
            other = X.clone()
            other[row] = values
            # Whole numbers times 100 are no tokens any more.
            if X.is_floating_point() or bool(values.max() <= X.max()):
                yield other

    def _check_slopes(self, X: Tensor) -> None:
        """Look for a derivative of a row's output by another row."""
        rows = X.clone().requires_grad_()
        with seeded(_SEED, CPU):
            outputs = _tensor(copy.deepcopy(self._module)(rows))
            weights = torch.randn_like(outputs)
        if not outputs.requires_grad:
            return
        for row in range(len(X)):
            value = (outputs[row] * weights[row]).sum()
            slopes: tuple[Tensor | None, ...] = torch.autograd.grad(
                value, rows, retain_graph=True, allow_unused=True
            )
            slope = slopes[0]
            if slope is None:
                continue
            own = slope[row].abs().max()
            others = slope.abs().reshape(len(X), -1).amax(1)
            others[row] = 0.0
            if bool(others.max() > _TOLERANCE * own):
                other = X.clone()
                other[int(others.argmax())] += 1.0
                raise self._mixed(X, other, int(others.argmax()))

    def _mixed(self, X: Tensor, other: Tensor, row: int) -> ConfigError:
        found = [_recorded(copy.deepcopy(self._module), rows) for rows in (X, other)]
        part = "the module"
        for (name, one), (again, two) in zip(*found, strict=False):
            if name == again and not _equal_but(one, two, row):
                kind = type(self._module.get_submodule(name)).__name__
                part = f"its part {name!r}, a {kind},"
                break
        return ConfigError(
            f"The module mixes the rows of a batch: {part} gives a row another output when "
            "another row is replaced, so no row has a gradient of its own.",
            hint=_HINT,
        )


def draws(module: nn.Module, X: Tensor) -> bool:
    """Say whether a module draws random numbers as rows pass through it."""
    on_gpu = X.device.type == "cuda"
    with seeded(0, X.device), torch.no_grad():
        before = [torch.get_rng_state(), *([torch.cuda.get_rng_state(X.device)] if on_gpu else [])]
        module(X)
        after = [torch.get_rng_state(), *([torch.cuda.get_rng_state(X.device)] if on_gpu else [])]
    return not all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def far_apart(
    got: npt.NDArray[np.float64], expected: npt.NDArray[np.float64], bound: float, share: float
) -> bool:
    """Say whether norms differ by more than a share, or by what clipping at `bound` would show."""
    both = np.isfinite(got) & np.isfinite(expected)
    if not np.array_equal(np.isfinite(got), np.isfinite(expected)):
        return True
    allowed = share * expected[both] + 1e-4 * bound
    return bool((np.abs(got[both] - expected[both]) > allowed).any())


def _length(gradient: dict[str, Tensor]) -> float:
    return float(np.sqrt(sum(float(each.double().square().sum()) for each in gradient.values())))


def _held(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Return parameters and buffers, also those that ``state_dict()`` leaves out."""
    return [*module.named_parameters(), *module.named_buffers()]


def _tensor(outputs: object) -> Tensor:
    if not isinstance(outputs, Tensor) or not outputs.ndim or len(outputs) != _ROWS:
        raise ConfigError(
            "The module must return one tensor with a row for each row, got "
            f"{type(outputs).__name__}."
        )
    return outputs


def _recorded(module: nn.Module, X: Tensor) -> list[tuple[str, Tensor]]:
    """Return what each part put out, in the order in which they were done."""
    seen: list[tuple[str, Tensor]] = []

    def keep(name: str, _part: nn.Module, _given: Any, outputs: object) -> None:
        if isinstance(outputs, Tensor) and outputs.ndim and len(outputs) == len(X):
            seen.append((name, outputs.detach().clone()))

    for name, part in module.named_modules():
        if name:
            part.register_forward_hook(partial(keep, name))
    with seeded(_SEED, CPU):
        module(X)
    return seen


def _equal(one: Tensor, other: Tensor, *, tolerance: float = _TOLERANCE) -> bool:
    if one.shape != other.shape:
        return False
    one, other = one.detach().double(), other.detach().double()
    whole = one[torch.isfinite(one)].abs()
    scale = max(1e-30, float(whole.max()) if whole.numel() else 0.0)
    return torch.allclose(one, other, rtol=0.0, atol=tolerance * scale, equal_nan=True)


def _equal_but(one: Tensor, other: Tensor, row: int) -> bool:
    if one.shape != other.shape:
        return False
    kept = [each for each in range(len(one)) if each != row]
    return _equal(one[kept], other[kept])


def _identical(one: Tensor, other: Tensor) -> bool:
    same_form = one.shape == other.shape and one.dtype == other.dtype
    return same_form and torch.equal(one.nan_to_num(), other.detach().nan_to_num())
