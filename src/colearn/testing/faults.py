"""Exceptions inside a learner, at a chosen moment.

A failure half-way cannot be asked for through the interface. So Python is told to report every
call and return while a method runs; raising at one of them is the same as that function failing.
Where code only puts things back (``__exit__``, ``__del__``) or is being imported nothing is
raised: no program survives that.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["InterruptionError", "interrupted", "moments"]

_ALL_POINTS = 6
_NEAR_POINTS = 12
_GENERATOR = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_RESTORING = frozenset({"__exit__", "__aexit__", "__del__", "close", "release"})
_MACHINERY = ("importlib", "contextlib.py", "threading.py", "weakref.py", "warnings.py")


class InterruptionError(Exception):
    """Raised inside a learner by a check."""


def moments(learner: object, action: Callable[[], object]) -> list[int]:
    """Run `action` undisturbed, and return the moments worth interrupting, counted from 1.

    Half of them are spread over everything that ran, the others over the learner's own code.
    """
    watch = _Watch(_sources(learner), 0)
    with watch.watching():
        action()
    every = list(range(1, len(watch.seen) + 1))
    near = [number for number, is_near in zip(every, watch.seen, strict=True) if is_near]
    return sorted({*_spread(every, _ALL_POINTS), *_spread(near, _NEAR_POINTS)})


@contextmanager
def interrupted(learner: object, moment: int) -> Iterator[None]:
    """Raise inside, once, at the given moment of what the learner does."""
    with _Watch(_sources(learner), moment).watching():
        yield


class _Watch:
    def __init__(self, sources: frozenset[str], moment: int) -> None:
        self.seen: list[bool] = []
        """For each moment so far at which something may be raised: is it the learner's code?"""
        self._sources = sources
        self._moment = moment
        self._is_over = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        before, hook = sys.getprofile(), sys.unraisablehook
        # Native code that calls back may drop the exception; that is no news to anybody.
        sys.unraisablehook = lambda dropped: (
            None if isinstance(dropped.exc_value, InterruptionError) else hook(dropped)
        )
        sys.setprofile(self._event)
        try:
            yield
        finally:
            sys.setprofile(before)
            sys.unraisablehook = hook

    def _event(self, frame: FrameType, event: str, _: Any) -> None:
        is_near = frame.f_code.co_filename in self._sources
        if self._is_over or (event.startswith("c_") and not is_near) or not _may_raise(frame):
            return
        self.seen.append(is_near)
        if self._moment and len(self.seen) >= self._moment:
            self._is_over = True
            raise InterruptionError("a check interrupted this learner here")


def _may_raise(frame: FrameType) -> bool:
    if frame.f_code.co_flags & _GENERATOR or frame.f_code.co_filename == __file__:
        return False
    place: FrameType | None = frame
    while place is not None and place.f_code.co_filename != __file__:
        code = place.f_code
        if code.co_name in _RESTORING or code.co_filename.endswith(_MACHINERY):
            return False
        if code.co_filename.startswith("<frozen"):
            return False
        if code.co_name.startswith("mli_"):
            return True
        place = place.f_back
    return False


def _sources(learner: object) -> frozenset[str]:
    """Return the files in which the learner's classes are written."""
    files = set()
    for cls in type(learner).__mro__:
        for attribute in vars(cls).values():
            code = getattr(
                inspect.unwrap(attribute) if callable(attribute) else None, "__code__", None
            )
            if code is not None:
                files.add(code.co_filename)
    return frozenset(files)


def _spread(numbers: list[int], count: int) -> list[int]:
    if len(numbers) <= count:
        return numbers
    return [numbers[(len(numbers) - 1) * step // (count - 1)] for step in range(count)]
