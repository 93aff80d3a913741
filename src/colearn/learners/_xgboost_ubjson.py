"""Universal Binary JSON, the part of it in which XGBoost writes its models.

Text would do as well and rounds twice on the way: a float32 printed in decimals and read as a
float64 may come back as its neighbour. Here every float32 keeps its four bytes.
"""

from __future__ import annotations

import struct
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from colearn.errors import ColearnError

__all__ = ["decoded", "encoded"]

_NUMBERS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q", b"d": ">f", b"D": ">d"}
"""The markers of numbers, and how numpy and `struct` call what follows them: big-endian."""

_MARKERS = {np.dtype(form).newbyteorder("="): marker for marker, form in _NUMBERS.items()}


def encoded(document: Any) -> bytes:
    """Return a document of dicts, lists, text, int32 and one-dimensional arrays as bytes."""
    parts: list[bytes] = []
    _write(document, parts)
    return b"".join(parts)


def _write(value: Any, parts: list[bytes]) -> None:
    if isinstance(value, np.ndarray):
        parts += [b"[$", _MARKERS[value.dtype], b"#", _length(value.size), _big_endian(value)]
    elif isinstance(value, dict):
        parts.append(b"{")
        for key, item in value.items():
            parts.append(_text(key))
            _write(item, parts)
        parts.append(b"}")
    elif isinstance(value, list):
        parts += [b"[#", _length(len(value))]
        for item in value:
            _write(item, parts)
    elif isinstance(value, str):
        parts += [b"S", _text(value)]
    else:
        parts += [b"l", struct.pack(">i", value)]


def _big_endian(array: npt.NDArray[Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder(">")).tobytes()


def _length(count: int) -> bytes:
    return b"L" + struct.pack(">q", count)


def _text(text: str) -> bytes:
    data = text.encode()
    return _length(len(data)) + data


def decoded(data: bytes) -> Any:
    """Read a document that the XGBoost of this process has just written, never a peer's.

    Raises:
        ColearnError: It is written otherwise than the known versions of XGBoost write.
    """
    return _Reader(data).value()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def value(self) -> Any:
        marker = self._take(1)
        if marker == b"{":
            return self._mapping()
        if marker == b"[":
            return self._sequence()
        if marker == b"S":
            return self._text()
        return self._number(marker)

    def _mapping(self) -> dict[str, Any]:
        found = {}
        while self._peek() != b"}":
            key = self._text()
            found[key] = self.value()
        self._take(1)
        return found

    def _sequence(self) -> Any:
        if self._peek() == b"$":
            self._take(1)
            form = self._form(self._take(1))
            count = self._count()
            run = np.frombuffer(self._take(count * np.dtype(form).itemsize), form)
            return run.astype(run.dtype.newbyteorder("="))
        return [self.value() for _ in range(self._count())]

    def _count(self) -> int:
        marker = self._take(1)
        return self._size() if marker == b"#" else self._unknown(marker)

    def _text(self) -> str:
        return self._take(self._size()).decode()

    def _size(self) -> int:
        return int(self._number(self._take(1)))

    def _number(self, marker: bytes) -> Any:
        form = self._form(marker)
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _form(self, marker: bytes) -> str:
        return _NUMBERS[marker] if marker in _NUMBERS else self._unknown(marker)

    def _peek(self) -> bytes:
        return self._data[self._place : self._place + 1]

    def _take(self, count: int) -> bytes:
        taken = self._data[self._place : self._place + count]
        if len(taken) != count:
            self._unknown(b"the end")
        self._place += count
        return taken

    def _unknown(self, marker: bytes) -> NoReturn:
        raise ColearnError(
            f"This version of XGBoost writes its models in another way: {marker!r} at byte "
            f"{self._place}.",
            hint="Install a version that the extra `xgboost` names.",
        )
