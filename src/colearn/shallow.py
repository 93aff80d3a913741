"""Reading JSON that somebody else has written, however it is nested.

The parser of the standard library follows each bracket with a call of its own, in C. Python bounds
that by its recursion limit, which any library in the process may have raised: then a few hundred
kilobytes of ``[`` end the process. So the depth is found first, without recursion.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

__all__ = ["DEPTH_MAX", "read_json"]

DEPTH_MAX = 64
"""Brackets within brackets; documents of this package have a handful."""

_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def read_json(
    data: bytes, *, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Return the document in UTF-8 text.

    Args:
        data: The text.
        object_pairs_hook: As `json.loads` takes it.

    Raises:
        ValueError: It is no JSON, no UTF-8, or nests deeper than `DEPTH_MAX`.
    """
    if data.count(b"[") + data.count(b"{") > DEPTH_MAX and not _is_shallow(data):
        raise ValueError(f"its brackets do not match, or nest deeper than {DEPTH_MAX}")
    return json.loads(data.decode(), object_pairs_hook=object_pairs_hook)


def _is_shallow(data: bytes) -> bool:
    """Say whether brackets match and nest no deeper than `DEPTH_MAX`, in linear time."""
    unescaped = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Every other part stands between quotation marks.
    brackets = b"".join(unescaped.split(b'"')[::2]).translate(None, _OTHERS)
    for _ in range(DEPTH_MAX):
        inner = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not inner:
            return True
        if len(inner) == len(brackets):
            return False
        brackets = inner
    return False
