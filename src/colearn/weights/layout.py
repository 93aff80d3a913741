"""Where each named array lies in the canonical bytes (protocol 6.3).

A layout depends on names, dtypes and shapes alone, so it is computed once for a model and reused
for every proposal that has the model's form.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from mmap import mmap
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from colearn.errors import WeightsError
from colearn.weights.limits import WeightsLimits

__all__ = ["DTYPE_CODES", "ArrayForm", "Layout", "layout_of"]

ArrayForm = tuple[str, np.dtype[Any], tuple[int, ...]]
"""One array's name, little-endian dtype and shape."""

DTYPE_CODES = {
    np.dtype("?"): "BOOL",
    np.dtype("u1"): "U8",
    np.dtype("i1"): "I8",
    np.dtype("<u2"): "U16",
    np.dtype("<i2"): "I16",
    np.dtype("<f2"): "F16",
    np.dtype("<u4"): "U32",
    np.dtype("<i4"): "I32",
    np.dtype("<f4"): "F32",
    np.dtype("<u8"): "U64",
    np.dtype("<i8"): "I64",
    np.dtype("<f8"): "F64",
}
"""The dtypes that weights may have, and their names in a safetensors header."""

METADATA_KEY = "__metadata__"
_ALIGNMENT_BYTES = 8
_LENGTH_BYTES = 8
_HEADERS_COUNT = 8
"""Headers a layout remembers; senders choose their metadata, so there could be any number."""


class _Run(NamedTuple):
    """Arrays of one dtype that lie side by side."""

    dtype: np.dtype[Any]
    offset: int
    length: int
    names: tuple[tuple[str, int, int, tuple[int, ...]], ...]


class Layout:
    """The canonical place of every array, and the header that says so.

    Attributes:
        forms: Name, dtype and shape of each array, in file order: descending item size, then name.
        offsets: First byte of each array, counted from the end of the header.
        data_bytes: Bytes of all arrays together.
        checked_runs: Neighbouring arrays of one dtype that can hold a value which is no number
            (floats) or no truth value (bool): dtype, first byte, item count.
    """

    __slots__ = ("_headers", "_runs", "checked_runs", "data_bytes", "forms", "names", "offsets")

    def __init__(self, ordered: tuple[ArrayForm, ...]) -> None:
        """Lay out arrays of the given forms, which are in file order."""
        self.forms = ordered
        self.names = tuple(name for name, _, _ in ordered)
        offsets, end = [], 0
        for _, dtype, shape in ordered:
            offsets.append(end)
            end += dtype.itemsize * math.prod(shape)
        self.offsets = tuple(offsets)
        self.data_bytes = end
        self._runs = _runs_of(self.forms, offsets)
        self.checked_runs = tuple(
            (run.dtype, run.offset, run.length) for run in self._runs if run.dtype.kind in "fb"
        )
        self._headers: dict[tuple[tuple[str, str], ...], bytes] = {}

    def header(self, metadata: Mapping[str, str]) -> bytes:
        """Return the length word and the padded JSON header for `metadata`."""
        key = tuple(sorted(metadata.items()))
        header = self._headers.get(key)
        if header is None:
            if len(self._headers) == _HEADERS_COUNT:
                self._headers.clear()
            header = self._headers[key] = self._encoded_header(key)
        return header

    def _encoded_header(self, metadata: Sequence[tuple[str, str]]) -> bytes:
        entries: dict[str, object] = {METADATA_KEY: dict(metadata)} if metadata else {}
        for (name, dtype, shape), offset in zip(self.forms, self.offsets, strict=True):
            end = offset + dtype.itemsize * math.prod(shape)
            entries[name] = {
                "dtype": DTYPE_CODES[dtype],
                "shape": list(shape),
                "data_offsets": [offset, end],
            }
        text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGNMENT_BYTES)
        return len(text).to_bytes(_LENGTH_BYTES, "little") + text

    def holds(self, arrays: Mapping[str, npt.NDArray[Any]]) -> bool:
        """Whether `arrays` have exactly this form; far cheaper than laying them out again."""
        if len(arrays) != len(self.forms):
            return False
        for name, dtype, shape in self.forms:
            array = arrays.get(name)
            if array is None or array.dtype != dtype or array.shape != shape:
                return False
        return True

    def views(self, data: bytes | mmap, start: int) -> dict[str, npt.NDArray[Any]]:
        """Return read-only arrays over `data`, whose first array begins at byte `start`."""
        views = {}
        for dtype, offset, count, names in self._runs:
            run = np.ndarray((count,), dtype, data, start + offset)
            for name, begin, end, shape in names:
                view = run[begin:end]
                views[name] = view if len(shape) == 1 else view.reshape(shape)
        return views


def _runs_of(forms: Sequence[ArrayForm], offsets: Sequence[int]) -> tuple[_Run, ...]:
    """Group neighbouring arrays of one dtype: one look at a run is cheaper than one at each."""
    runs = []
    for dtype, members in groupby(zip(forms, offsets, strict=True), lambda pair: pair[0][1]):
        names, first, end = [], None, 0
        for (name, _, shape), offset in members:
            first = offset if first is None else first
            begin, end = end, end + math.prod(shape)
            names.append((name, begin, end, shape))
        runs.append(_Run(dtype, first or 0, end, tuple(names)))
    return tuple(runs)


@lru_cache(maxsize=64)
def layout_of(forms: tuple[ArrayForm, ...], limits: WeightsLimits) -> Layout:
    """Return the layout of arrays of these forms, within `limits`.

    Raises:
        WeightsError: A name that is empty, reserved, too long or not text; a dtype that weights
            cannot have; too many arrays or dimensions; too many bytes.
    """
    if len(forms) > limits.arrays_count:
        raise WeightsError(f"Expected at most {limits.arrays_count} arrays, got {len(forms)}.")
    for name, dtype, shape in forms:
        check_text(name, "The name of an array", limits)
        if name == METADATA_KEY:
            raise WeightsError(f"An array cannot be called {METADATA_KEY!r}: the name is reserved.")
        if dtype not in DTYPE_CODES:
            raise WeightsError(
                f"Array {name!r} has dtype {dtype}, which weights cannot have.",
                hint=f"Convert it to one of {', '.join(str(known) for known in DTYPE_CODES)}.",
            )
        if len(shape) > limits.rank_count:
            raise WeightsError(
                f"Array {name!r} has {len(shape)} dimensions, expected at most {limits.rank_count}."
            )
    layout = _layout(tuple(sorted(forms, key=_file_order)))
    if layout.data_bytes > limits.proposal_bytes:
        raise WeightsError(
            f"Weights may have {limits.proposal_bytes} bytes, got {layout.data_bytes}."
        )
    return layout


def _file_order(form: ArrayForm) -> tuple[int, str]:
    name, dtype, _ = form
    return -dtype.itemsize, name


@lru_cache(maxsize=64)
def _layout(ordered: tuple[ArrayForm, ...]) -> Layout:
    return Layout(ordered)


def check_text(text: object, what: str, limits: WeightsLimits) -> None:
    """Refuse a name or a metadata entry that is no text, empty, too long or not UTF-8.

    Raises:
        WeightsError: It is; the message begins with `what`.
    """
    if not isinstance(text, str) or not text:
        raise WeightsError(f"{what} must be text that is not empty, got {str(text)[:80]!r}.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise WeightsError(f"{what} cannot be written as UTF-8: {text[:80]!r}.") from error
    if size > limits.name_bytes:
        raise WeightsError(f"{what} may have {limits.name_bytes} bytes, got {size}.")
