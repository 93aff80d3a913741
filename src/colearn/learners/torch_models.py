"""Small PyTorch modules, to begin with and to copy.

Each function is a factory for `TorchLearner`: it builds a new module for a schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from colearn.schema import Schema

__all__ = ["mlp", "small_cnn"]

IMAGE_SIDE = 28


def mlp(schema: Schema, hidden: Sequence[int] = (64,)) -> nn.Module:
    """Return a multi-layer perceptron for rows of columns, (rows, features).

    Args:
        schema: Says how many columns and classes there are; without classes one value comes out.
        hidden: Units of each hidden layer.
    """
    sizes = [len(schema.features), *hidden]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], _outputs(schema)))


def small_cnn(schema: Schema, side: int = IMAGE_SIDE) -> nn.Module:
    """Return a small convolutional network for square grey images.

    It takes them as (rows, side, side), (rows, 1, side, side) or flat as (rows, side * side). It
    has no BatchNorm: the statistics of one learner's rows mislead the others where classes are
    spread unevenly.

    Args:
        schema: Says how many classes there are; without classes one value comes out.
        side: Pixels along an edge, at least 4.
    """
    return nn.Sequential(
        _Images(side),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (side // 4) ** 2, 64),
        nn.ReLU(),
        nn.Linear(64, _outputs(schema)),
    )


class _Images(nn.Module):
    def __init__(self, side: int) -> None:
        super().__init__()
        self._shape = (1, side, side)

    def forward(self, rows: Tensor) -> Tensor:
        return torch.reshape(rows, (len(rows), *self._shape))


def _outputs(schema: Schema) -> int:
    return len(schema.classes) if schema.classes is not None else 1
