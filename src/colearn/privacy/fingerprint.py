"""Which dataset is it? A digest of its rows, whatever their order and division."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError

__all__ = ["fingerprint", "split_digest"]

_CHUNK_BYTES = 8 * 2**20
"""About how many bytes of rows are converted at a time."""

_DIGEST_BYTES = 32


def fingerprint(*parts: tuple[npt.ArrayLike, npt.ArrayLike]) -> str:
    """Return a digest of the rows of all parts together.

    It depends on neither the order of the rows nor how they are divided into parts, and rows that
    occur twice count twice. Whole numbers count as int64, others as float64, so a dataset rounded
    to float32 is another one; so is one that was scaled, or has a row more or less.

    Args:
        parts: (X, y) of each part; X is (rows, ...), y is (rows, ...); numbers, texts or dates.

    Returns:
        Sha256 in hexadecimal.

    Raises:
        ConfigError: X and y have not the same number of rows, or a value is of another type.
    """
    digests = b"".join(_row_digests(X, y) for X, y in parts)
    return hashlib.sha256(b"colearn-rows-1" + _sorted(digests)).hexdigest()


def split_digest(named: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]]) -> str:
    """Return a digest of which rows are in which part; the order of either makes no difference.

    Args:
        named: (X, y) of each part by its name, as in `fingerprint`.

    Returns:
        Sha256 in hexadecimal.

    Raises:
        ConfigError: As `fingerprint`.
    """
    whole = hashlib.sha256(b"colearn-split-1")
    for name, (X, y) in sorted(named.items()):
        digests = _sorted(_row_digests(X, y))
        whole.update(_framed(name.encode("utf-8", "surrogatepass")))
        whole.update(_framed(digests))
    return whole.hexdigest()


def _row_digests(X: npt.ArrayLike, y: npt.ArrayLike) -> bytes:
    """Return 32 bytes for each row, (rows * 32,)."""
    columns = [_array("X", X), _array("y", y)]
    if len(columns[0]) != len(columns[1]):
        raise ConfigError(f"X has {len(columns[0])} rows, y has {len(columns[1])}.")
    digests = bytearray()
    for row, target in zip(_rows(columns[0]), _rows(columns[1]), strict=True):
        digests += hashlib.sha256(_framed(row) + target).digest()
    return bytes(digests)


def _array(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ConfigError(f"{name} must be one array: {error}.") from error
    if array.ndim == 0:
        raise ConfigError(f"{name} must have rows, got {type(values).__name__}.")
    return array


def _rows(array: npt.NDArray[Any]) -> Iterator[bytes]:
    """Yield the bytes of one row after the other; a few rows are converted at a time."""
    row_bytes = max(1, array[:1].size) * 8
    step = max(1, _CHUNK_BYTES // row_bytes)
    for start in range(0, len(array), step):
        chunk = array[start : start + step]
        if chunk.dtype.kind in "biufmM":
            tag, numbers = _normalised(chunk)
            for row in numbers.reshape(len(chunk), -1):
                yield tag + row.tobytes()
        else:
            for row in chunk:
                yield b"o" + b"".join(_value(value) for value in np.ravel(row).tolist())


def _normalised(chunk: npt.NDArray[Any]) -> tuple[bytes, npt.NDArray[Any]]:
    """Return numbers of the type that stands for all of their kind, and its letter."""
    kind = chunk.dtype.kind
    if kind == "f":
        with np.errstate(over="ignore"):
            # Adding zero makes -0.0 a 0.0; every NaN becomes the same one.
            floats = chunk.astype("<f8") + 0.0
        floats[np.isnan(floats)] = np.nan
        return b"f", floats
    if kind in "mM":
        return kind.encode(), chunk.astype(f"<{kind}8[ns]").view("<i8")
    # An unsigned number beyond int64 wraps around, which is no worse for a digest.
    return b"i", chunk.astype("<i8")


def _value(value: object) -> bytes:
    """Return one value of an array of texts or of mixed types."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return b"s" + _framed(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return b"b" + _framed(value)
    if isinstance(value, float):
        return b"f" + _normalised(np.array([value]))[1].tobytes()
    if isinstance(value, int):
        return b"i" + _framed(str(int(value)).encode())
    if value is None:
        return b"n"
    raise ConfigError(
        f"A row must be made of numbers, texts and dates, got {type(value).__name__}.",
        hint="Name the dataset instead of having its rows counted.",
    )


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def _sorted(digests: bytes) -> bytes:
    """Return digests of rows in ascending order."""
    words = np.frombuffer(digests, dtype=">u8").reshape(-1, _DIGEST_BYTES // 8)
    return words[np.lexsort(words.T[::-1])].tobytes()
