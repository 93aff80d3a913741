"""Rows for a PyTorch learner: arrays, tensors, data sets and loaders, as arrays in the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from colearn.errors import ColearnError, ConfigError
from colearn.learners._family import Features
from colearn.learners._rows import Rows
from colearn.learners._torch_compute import CPU, seeded

__all__ = ["DATA_BYTES_MAX", "TorchRows", "as_rows", "batch_of", "features_of"]

TorchRows = tuple[Any, Any] | tuple[Any, Any, Any] | Dataset[Any] | DataLoader[Any]
"""X of shape (rows, ...) and y of shape (rows,) as arrays or tensors, and, if rows count unlike,
their weights, (rows,); or what yields pairs of X and y."""

DATA_BYTES_MAX = 2**31
"""What a data set or loader may hold, in bytes: 2 GiB. Arrays have no limit."""


def as_rows(rows: TorchRows, what: str, seed: int) -> Rows:
    """Return X, y and any weights as numpy arrays; those of tensors are views of their memory.

    A data set or a loader is read to its end, once. The vote set has to stay the same (section 4),
    and so have the rows that labels are counted on; random augmentation belongs into the module,
    where it is drawn anew for every batch.

    Args:
        rows: The rows.
        what: What they are, for the error.
        seed: Seeds a loader that shuffles and a data set that draws.

    Raises:
        ConfigError: Not X and y, or a data set or loader of more than `DATA_BYTES_MAX`.
    """
    if isinstance(rows, tuple | list) and len(rows) == 2:
        return _array(rows[0]), _array(rows[1])
    if isinstance(rows, tuple | list) and len(rows) == 3:
        return _array(rows[0]), _array(rows[1]), _array(rows[2])
    if isinstance(rows, TensorDataset) and len(rows.tensors) == 2:
        return _array(rows.tensors[0]), _array(rows.tensors[1])
    if not isinstance(rows, Dataset | DataLoader):
        raise ConfigError(
            f"{what} must be (X, y), a torch Dataset or a DataLoader, got {type(rows).__name__}."
        )
    try:
        with seeded(seed, CPU):
            return _read(rows, what)
    except ColearnError:
        raise
    except Exception as error:
        raise ConfigError(f"{what} cannot be read: {error}") from error


def features_of(X: Any, dtype: torch.dtype) -> Features:
    """Return X as it is kept: floats no wider than the module's `dtype`, whole numbers as they are.

    Raises:
        ConfigError: X is not made of numbers.
    """
    array = np.asarray(X)
    if array.dtype.kind not in "fiub":
        raise ConfigError(f"X must be numbers, got dtype {array.dtype}.")
    wanted = torch.empty(0, dtype=dtype, device=CPU).numpy().dtype
    if array.dtype.kind != "f" or array.dtype.itemsize <= wanted.itemsize:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    # What does not fit becomes infinite, and is refused as such.
    with np.errstate(over="ignore"):
        return array.astype(wanted)


def batch_of(X: Features, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return rows as a tensor on the device: floats of `dtype`, whole numbers as int64.

    Args:
        X: Rows that nothing else uses: the tensor may be a view of their memory.
        dtype: The module's.
        device: Where the module is.
    """
    kind = dtype if X.dtype.kind == "f" else torch.int64
    return torch.from_numpy(X).to(device=device, dtype=kind)


def _array(values: Any) -> npt.NDArray[Any]:
    if isinstance(values, Tensor):
        tensor = values.detach().cpu()
        # numpy has no bfloat16.
        return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()
    return np.asarray(values)


def _read(rows: Dataset[Any] | DataLoader[Any], what: str) -> Rows:
    is_loader = isinstance(rows, DataLoader)
    X, y, held = [], [], 0
    for item in _items(rows):
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ConfigError(f"{what} must yield pairs of X and y, got {type(item).__name__}.")
        features, target = _array(item[0]), _array(item[1])
        if not is_loader:
            features, target = features[np.newaxis], target[np.newaxis]
        held += features.nbytes + target.nbytes
        if held > DATA_BYTES_MAX:
            raise ConfigError(
                f"{what} has more than {DATA_BYTES_MAX} bytes; a data set or loader is read into "
                "memory once.",
                hint="Give X and y as arrays; a numpy.memmap is read batch by batch.",
            )
        # A data set may use one buffer for every item.
        X.append(features.copy())
        y.append(target.copy())
    if not X:
        raise ConfigError(f"{what} has no rows.")
    return np.concatenate(X), np.concatenate(y)


def _items(rows: Any) -> Iterator[Any]:
    """Yield batches or rows; a data set with a length need not raise IndexError at its end."""
    if isinstance(rows, DataLoader | IterableDataset) or not hasattr(rows, "__len__"):
        yield from rows
        return
    for index in range(len(rows)):
        yield rows[index]
