"""The random numbers of the process, on which no proposal may depend."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["stirred"]


@contextmanager
def stirred(seed: int) -> Iterator[None]:
    """Set the process's own random numbers to `seed` inside, and put them back.

    Those of Python, of numpy, and of PyTorch where it is loaded already.
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  (it is what must not matter)
    torch = sys.modules.get("torch")
    drawn = torch.get_rng_state() if torch is not None else None
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if torch is not None:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        if torch is not None:
            torch.set_rng_state(drawn)
