"""The way between a PyTorch module and named arrays (protocol 6.1, 6.3)."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from colearn.errors import ConfigError
from colearn.learners._family import Arrays
from colearn.learners._torch_compute import CPU, seeded
from colearn.schema import Schema

__all__ = ["Architecture", "ModuleFactory", "takes_schema"]

ModuleFactory = Callable[..., nn.Module]
"""Builds a new module at each call: from ``schema=`` where it has a parameter of that name."""

_DTYPES = {
    torch.float32, torch.float64, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32,
    torch.int64,
}  # fmt: skip


class Architecture:
    """A module as its factory makes it; copies of it are filled with weights.

    The arrays are the entries of ``state_dict()``, parameters and buffers alike, under its names.
    A tensor that a module knows by several names travels once, under the first of them, so that
    a proposal cannot give it two values.

    Every computation takes a fresh copy. Whatever training leaves in a module beside its weights
    is thrown away with the copy, and nothing that fails half-way leaves a trace.

    Attributes:
        dtype: The dtype of the module's first trainable parameter, and of what is fed to it.
    """

    def __init__(self, factory: ModuleFactory, schema: Schema, model_seed: int) -> None:
        """Build the module twice, since every learner must get the same from the seed (6.1).

        Raises:
            ConfigError: No factory, or it fails; two modules from one seed differ (names the
                array) or share memory; nothing to train; a state that named arrays cannot hold.
        """
        self._module = _built(factory, schema, model_seed)
        again = _built(factory, schema, model_seed)
        self._aliases = _aliases(_state(self._module))
        _check_repeats(_state(self._module), _state(again))
        trainable = [p for p in self._module.parameters() if p.requires_grad]
        if not trainable:
            raise ConfigError("The module has no parameters to train.")
        self.dtype = trainable[0].dtype
        self._check_fills()

    def arrays(self) -> Arrays:
        """Return model 0."""
        return self.arrays_of(self._module)

    def arrays_of(self, module: nn.Module) -> Arrays:
        """Return the weights of `module`, a copy of this one; views of its memory on a CPU."""
        state = module.state_dict()
        return {
            name: tensor.detach().cpu().numpy()
            for name, tensor in state.items()
            if name not in self._aliases
        }

    def module(self, arrays: Mapping[str, Any]) -> nn.Module:
        """Return a new module with these weights, on the CPU.

        Args:
            arrays: Named arrays of the names, dtypes and shapes of `arrays()`.
        """
        module = copy.deepcopy(self._module)
        # Copied, because PyTorch has no tensor that cannot be written.
        state = {name: torch.from_numpy(np.array(arrays[name])) for name in arrays}
        state |= {alias: state[name] for alias, name in self._aliases.items()}
        module.load_state_dict(state)
        return module

    def _check_fills(self) -> None:
        """Refuse a module that cannot be copied or filled, before anybody waits for it."""
        try:
            self.module(self.arrays())
        except Exception as error:
            raise ConfigError(
                f"The module cannot be copied and filled with its own weights: {error}"
            ) from error


def _built(factory: ModuleFactory, schema: Schema, seed: int) -> nn.Module:
    if isinstance(factory, nn.Module):
        raise ConfigError(
            "Expected a factory that builds the module, and got a module.",
            hint="Every learner must build the same model 0 from the seed (6.1): write for "
            "example TorchLearner(lambda: nn.Linear(64, 10), ...).",
        )
    if not callable(factory):
        raise ConfigError(f"The module factory must be callable, got {type(factory).__name__}.")
    given = {"schema": schema} if takes_schema(factory) else {}
    try:
        # The CPU's random numbers, so that learners with other devices start from the same.
        with seeded(seed, CPU):
            module = factory(**given)
    except Exception as error:
        raise ConfigError(f"The module factory failed: {error}") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(
            f"The module factory must return a torch.nn.Module, got {type(module).__name__}."
        )
    return module.cpu()


def takes_schema(factory: ModuleFactory) -> bool:
    """Say whether a factory wants to be told the schema."""
    try:
        return "schema" in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    for name, value in module.state_dict().items():
        tensor: object = value
        if not isinstance(tensor, torch.Tensor):
            raise ConfigError(
                f"The module's state has {name!r}, a {type(tensor).__name__}, which is no array."
            )
        if torch.nn.parameter.is_lazy(tensor):
            raise ConfigError(
                f"The module's {name!r} has no shape yet.", hint="Give every layer its sizes."
            )
        if tensor.dtype not in _DTYPES or tensor.layout is not torch.strided:
            raise ConfigError(
                f"The module's {name!r} is {tensor.dtype} in the layout {tensor.layout}, and "
                "weights cannot be.",
                hint="Build it in float32 or float64, for example by .float() in the factory.",
            )
        state[name] = tensor
    return state


def _aliases(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return the further names of tensors, each with the first name of the same tensor."""
    first: dict[tuple[object, ...], str] = {}
    aliases = {}
    for name, tensor in state.items():
        if not tensor.numel():
            continue
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        known = first.setdefault(place, name)
        if known != name:
            aliases[name] = known
    _check_apart({name: tensor for name, tensor in state.items() if name not in aliases})
    return aliases


def _check_apart(state: Mapping[str, torch.Tensor]) -> None:
    spans = sorted((*_span(tensor), name) for name, tensor in state.items() if tensor.numel())
    for (_, end, name), (begin, _, other) in pairwise(spans):
        if begin < end:
            raise ConfigError(
                f"The module's {name!r} and {other!r} are different parts of the same memory.",
                hint="Give each a tensor of its own, or share the whole of one.",
            )


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    """Return the first byte of a tensor in memory, and the first one behind it."""
    extent = sum(
        (size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True)
    )
    return tensor.data_ptr(), tensor.data_ptr() + (extent + 1) * tensor.element_size()


def _check_repeats(first: dict[str, torch.Tensor], again: dict[str, torch.Tensor]) -> None:
    taken = {tensor.data_ptr() for tensor in first.values() if tensor.numel()}
    for name, tensor in again.items():
        if tensor.numel() and tensor.data_ptr() in taken:
            raise ConfigError(
                f"The module factory gave the same {name!r} twice.",
                hint="It must build a new module at each call.",
            )
    for name in first | again:
        mine, theirs = first.get(name), again.get(name)
        if mine is None or theirs is None or not _same_bytes(mine, theirs):
            raise ConfigError(
                f"The module factory is not deterministic: {name!r} differs between two modules "
                "from the same seed, so learners would not start from the same model (6.1).",
                hint="Draw random numbers from torch alone, and take nothing from the clock.",
            )


def _same_bytes(mine: torch.Tensor, theirs: torch.Tensor) -> bool:
    one, other = mine.detach().numpy(), theirs.detach().numpy()
    same_form = one.dtype == other.dtype and one.shape == other.shape
    return same_form and one.tobytes() == other.tobytes()
