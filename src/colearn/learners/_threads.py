"""One thread a learner: many learners share a machine, and results must not depend on cores."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

__all__ = ["one_thread"]


def one_thread() -> AbstractContextManager[Any]:
    """Keep the numeric libraries of this process to one thread inside a ``with`` block.

    Sums split over another number of threads round differently, so a run that is to give the same
    bytes again on another number of cores computes on one. What has a switch of its own, as
    PyTorch has, is switched by its adapter as well.
    """
    controller = _controller()
    # It comes with scikit-learn; an adapter that does without has its own switch.
    return nullcontext() if controller is None else controller.limit(limits=1)


@cache
def _controller() -> Any:
    # Finding the loaded libraries takes milliseconds, so it is done once, after they are loaded.
    try:
        from threadpoolctl import ThreadpoolController  # noqa: PLC0415
    except ModuleNotFoundError:
        return None
    return ThreadpoolController()
