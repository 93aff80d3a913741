"""CIFAR-10 from local files, in the binary version that holds no pickle; nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from colearn.errors import ConfigError
from colearn.preprocess import Scaling
from colearn.schema import Schema
from colearn.tasks.base import Task

__all__ = ["cifar10"]

CLASSES = range(10)
CHANNELS, SIDE = 3, 32
PIXELS = CHANNELS * SIDE * SIDE
PIXEL_MAX = 255.0
RECORD_BYTES = 1 + PIXELS
"""One image: its class, then 1,024 red, 1,024 green and 1,024 blue pixels, row by row."""

FILE_RECORDS = 10_000
_FILES = {
    "train": [f"data_batch_{number}.bin" for number in range(1, 6)],
    "test": ["test_batch.bin"],
}


def cifar10(
    path: str | os.PathLike[str], part: Literal["train", "test"] = "train", rows: int | None = None
) -> Task:
    """Return CIFAR-10: colour images of ten kinds of things (Krizhevsky, 2009).

    The scaling divides by 255. A module of PyTorch can begin with
    ``torch.nn.Unflatten(1, (3, 32, 32))``.

    Args:
        path: The folder with the files of the binary version, ``cifar-10-batches-bin``, or the
            folder it is in.
        part: ``"train"``, 50,000 images in five files, or ``"test"``, 10,000 in one.
        rows: How many images, from the first on; all of them without it.

    Returns:
        X float64 (rows, 3072) from 0 to 255: red, green, blue, each row by row; y int64 (rows,).

    Raises:
        ConfigError: The files are not found or not of this form, or an argument is out of range.
    """
    if part not in _FILES:
        raise ConfigError(f'part must be "train" or "test", got {part!r}.')
    most = FILE_RECORDS * len(_FILES[part])
    if rows is not None and not (type(rows) is int and 1 <= rows <= most):
        raise ConfigError(f"rows must be a whole number from 1 to {most}, got {rows!r}.")
    folder = _folder(Path(path), _FILES[part][0])
    wanted = most if rows is None else rows
    found: list[np.ndarray[tuple[int, int], np.dtype[np.uint8]]] = []
    for name in _FILES[part]:
        count = min(FILE_RECORDS, wanted - FILE_RECORDS * len(found))
        if count <= 0:
            break
        found.append(_records(folder / name, count))
    records = np.concatenate(found)
    names = [
        f"{colour}_{row}_{column}"
        for colour in ("red", "green", "blue")
        for row in range(SIDE)
        for column in range(SIDE)
    ]
    return Task(
        name=f"cifar10_{part}",
        X=records[:, 1:].astype(np.float64),
        y=records[:, 0].astype(np.int64),
        schema=Schema.of(names, CLASSES),
        scaling=Scaling.divide(PIXEL_MAX, PIXELS),
    )


def _folder(path: Path, name: str) -> Path:
    for folder in (path, path / "cifar-10-batches-bin"):
        if (folder / name).is_file():
            return folder
    raise ConfigError(
        f"There is no {name} in {path}.",
        hint="Unpack the binary version of CIFAR-10 there; the one for Python holds pickles, which "
        "run code when they are opened.",
    )


def _records(path: Path, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return the first `count` records of a file, (count, 3073) uint8."""
    try:
        size = path.stat().st_size
        if size != FILE_RECORDS * RECORD_BYTES:
            raise ConfigError(
                f"{path} must have {FILE_RECORDS * RECORD_BYTES} bytes, got {size}.",
                hint="Unpack the binary version of CIFAR-10 again.",
            )
        data = np.fromfile(path, np.uint8, count * RECORD_BYTES)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from error
    records = data.reshape(-1, RECORD_BYTES)
    wrong = int(records[:, 0].max(initial=0))
    if wrong not in CLASSES:
        raise ConfigError(f"{path}: expected classes from 0 to 9, got {wrong}.")
    return records
