"""Weights as bytes and back: canonical safetensors, never pickle (protocol 6.3).

The format is the public safetensors one, so any reader of it opens our files. Ours is one exact
spelling of it: compact JSON, ``__metadata__`` first with sorted keys, arrays by descending item
size and then name, their data in that order without gaps, the header padded with spaces to a
multiple of eight. Equal weights therefore have equal bytes, and other spellings are refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from mmap import mmap
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from colearn.errors import WeightsError
from colearn.shallow import read_json
from colearn.weights.layout import DTYPE_CODES, METADATA_KEY, ArrayForm, layout_of
from colearn.weights.limits import DEFAULT_LIMITS, WeightsLimits
from colearn.weights.named import NamedArrays, check_metadata, freeze, opened

__all__ = ["decode", "encode"]

_LENGTH_BYTES = 8
_DTYPES = {code: dtype for dtype, code in DTYPE_CODES.items()}
_SIZE_MAX = 2**63 - 1
"""The largest dimension numpy can hold; a larger one is hostile."""


def encode(
    arrays: Mapping[str, npt.NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
    limits: WeightsLimits = DEFAULT_LIMITS,
) -> bytes:
    """Return the canonical bytes of named arrays.

    Args:
        arrays: Name to numpy array.
        metadata: Short text to travel along; None takes that of `arrays`, if it has any.
        limits: What is too large.

    Raises:
        WeightsError: As `freeze`.
    """
    if isinstance(arrays, NamedArrays) and metadata is None:
        return arrays.data
    return freeze(arrays, metadata or {}, limits).data


def decode(
    data: bytes | mmap, limits: WeightsLimits = DEFAULT_LIMITS, *, digest: str = ""
) -> NamedArrays:
    """Read canonical bytes, which may come from anybody.

    The arrays are views of `data`: nothing the size of the weights is allocated, and nothing at
    all before the header is checked against the length of the file.

    Args:
        data: The bytes received, or a file of them that is mapped to be read.
        limits: What is too large.
        digest: Sha256 of the bytes, where it is known already.

    Raises:
        WeightsError: Anything but the canonical bytes of finite arrays within the limits.
    """
    if len(data) > limits.proposal_bytes:
        raise WeightsError(f"Weights may have {limits.proposal_bytes} bytes, got {len(data)}.")
    text = _header_text(data, limits)
    start = _LENGTH_BYTES + len(text)
    forms, metadata = _parsed(text, limits)
    layout = layout_of(forms, limits)
    if start + layout.data_bytes != len(data):
        raise WeightsError(
            f"The header tells of {layout.data_bytes} bytes of arrays, got {len(data) - start}."
        )
    if layout.header(metadata) != data[:start]:
        raise WeightsError(
            "The header is not spelled canonically.",
            hint="Write weights with colearn.weights.encode.",
        )
    # What somebody could still change is copied.
    kept = data if isinstance(data, mmap) and memoryview(data).readonly else bytes(data)
    return opened(kept, layout, start, metadata, digest)


def _header_text(data: bytes | mmap, limits: WeightsLimits) -> bytes:
    if len(data) < _LENGTH_BYTES:
        raise WeightsError(f"Expected at least {_LENGTH_BYTES} bytes, got {len(data)}.")
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if length > limits.header_bytes:
        raise WeightsError(f"A header may have {limits.header_bytes} bytes, got {length}.")
    if length > len(data) - _LENGTH_BYTES:
        raise WeightsError(
            f"The header should have {length} bytes, got {len(data) - _LENGTH_BYTES}."
        )
    return data[_LENGTH_BYTES : _LENGTH_BYTES + length]


def _parsed(text: bytes, limits: WeightsLimits) -> tuple[tuple[ArrayForm, ...], Mapping[str, str]]:
    try:
        entries = read_json(text, object_pairs_hook=_without_repeats)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise WeightsError(f"The header is no JSON object: {str(error)[:80]}.") from error
    if not isinstance(entries, dict):
        raise WeightsError(f"The header must be a JSON object, got {type(entries).__name__}.")
    metadata = entries.pop(METADATA_KEY, {})
    if not isinstance(metadata, dict):
        raise WeightsError(f"{METADATA_KEY} must be a JSON object.")
    check_metadata(metadata, limits)
    if len(entries) > limits.arrays_count:
        raise WeightsError(f"Expected at most {limits.arrays_count} arrays, got {len(entries)}.")
    return tuple(_form(name, entry, limits) for name, entry in entries.items()), metadata


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _form(name: str, entry: object, limits: WeightsLimits) -> ArrayForm:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        _refuse_entry(name, "dtype, shape and data_offsets", entry)
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        _refuse_entry(name, f"a dtype of {', '.join(_DTYPES)}", entry["dtype"])
    shape = entry["shape"]
    if not isinstance(shape, list) or len(shape) > limits.rank_count:
        _refuse_entry(name, f"a shape of at most {limits.rank_count} dimensions", shape)
    if not all(type(size) is int and 0 <= size <= _SIZE_MAX for size in shape):
        _refuse_entry(name, "whole dimensions", shape)
    if math.prod(size or 1 for size in shape) * dtype.itemsize > _SIZE_MAX:
        # numpy computes strides even for an array that a zero makes empty.
        _refuse_entry(name, "dimensions that can exist", shape)
    return name, np.dtype(dtype), tuple(shape)


def _refuse_entry(name: str, expected: str, got: object) -> NoReturn:
    raise WeightsError(f"Array {name[:80]!r}: expected {expected}, got {str(got)[:80]!r}.")
