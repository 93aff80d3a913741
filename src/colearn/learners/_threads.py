"""One thread a learner: many learners share a machine, and results must not depend on cores."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

__all__ = ["one_thread"]


def one_thread() -> AbstractContextManager[Any]:
    """Keep the numeric libraries of this process to one thread inside a ``with`` block.

    Sums split over another number of threads round differently, so a run that is to give the same
    bytes again on another number of cores computes on one.
    """
    return _controller().limit(limits=1)  # type: ignore[no-any-return]


@cache
def _controller() -> Any:
    # Finding the loaded libraries takes milliseconds, so it is done once, after they are loaded.
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415

    return ThreadpoolController()
