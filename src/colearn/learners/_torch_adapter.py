"""A module of which only the trainable part travels (Hu et al., 2021: low-rank adaptation)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from colearn.errors import ConfigError
from colearn.learners._family import Arrays
from colearn.learners._torch_architecture import Architecture, ModuleFactory
from colearn.schema import Schema

__all__ = ["BASE", "AdapterArchitecture"]

BASE = "base.sha256"
"""The array that stands for everything that does not travel: (32,) uint8, its digest."""


class AdapterArchitecture(Architecture):
    """A module whose frozen parameters and buffers every learner has, equal byte for byte.

    Their digest is one of the arrays. Model 0 of a learner with another base is therefore another
    model 0 (6.1), and a proposal made on another base is refused as one that changes a constant.
    """

    def __init__(self, factory: ModuleFactory, schema: Schema, model_seed: int) -> None:
        """Build the module as `Architecture` does, and take the digest of its base.

        Raises:
            ConfigError: As `Architecture`; or nothing is frozen.
        """
        self._carried: frozenset[str] = frozenset()
        self._digest = np.zeros(32, np.uint8)
        super().__init__(factory, schema, model_seed)
        module = self._module
        trained = {name for name, each in module.named_parameters() if each.requires_grad}
        state = module.state_dict()
        self._carried = frozenset(trained & state.keys())
        base = {name: tensor for name, tensor in state.items() if name not in self._carried}
        if not base:
            raise ConfigError(
                "The module has no frozen part, so all of it would travel.",
                hint="Freeze the base by requires_grad_(False), or use TorchLearner.",
            )
        self._digest = _digest_of(base)
        self._check_fills()

    def arrays_of(self, module: nn.Module) -> Arrays:
        """Return the trainable weights of `module`, and the digest of the rest."""
        arrays = super().arrays_of(module)
        return {BASE: self._digest, **{name: arrays[name] for name in sorted(self._carried)}}

    def module(self, arrays: Mapping[str, Any]) -> nn.Module:
        """Return a new module with these trainable weights on the learner's own base."""
        module = copy.deepcopy(self._module)
        carried = {name: torch.from_numpy(np.array(arrays[name])) for name in self._carried}
        # Names of the base are missing on purpose; of the adapter every name is there.
        module.load_state_dict(carried, strict=False)
        return module


def _digest_of(base: Mapping[str, torch.Tensor]) -> Any:
    """Return the sha256 over names, dtypes, shapes and bytes, (32,) uint8."""
    whole = hashlib.sha256()
    for name, tensor in sorted(base.items()):
        array = np.ascontiguousarray(tensor.detach().numpy())
        head = f"{len(name)}:{name} {array.dtype.str} {array.shape} "
        whole.update(head.encode())
        whole.update(array.tobytes())
    return np.frombuffer(whole.digest(), np.uint8)
