"""Keras on a backend that is chosen here, and the surroundings in which it computes."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError
from colearn.learners._torch_compute import CPU, seeded

__all__ = ["as_array", "keras", "undisturbed"]

_BACKENDS = ("torch", "jax")


def _keras() -> Any:
    """Import Keras, on torch where nobody has chosen a backend.

    Raises:
        ConfigError: The backend is neither torch nor jax.
    """
    chosen = os.environ.get("KERAS_BACKEND")
    if "keras" not in sys.modules and chosen is not None and chosen not in _BACKENDS:
        raise _unsupported(chosen)
    if chosen is None and "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        import keras as found  # noqa: PLC0415  (the backend is chosen by then)
    finally:
        if chosen is None:
            # What processes started from here choose is not ours.
            os.environ.pop("KERAS_BACKEND", None)
    if found.backend.backend() not in _BACKENDS:
        raise _unsupported(found.backend.backend())
    return found


def _unsupported(backend: str) -> ConfigError:
    return ConfigError(
        f"KerasLearner computes with the backend torch or jax, and Keras uses {backend!r}.",
        hint="Set KERAS_BACKEND=torch before Keras is imported, or leave it out.",
    )


keras: Any = _keras()


def as_array(tensor: Any) -> npt.NDArray[Any]:
    """Return a tensor of the backend as an array of its own."""
    # Keras's convert_to_numpy warns of torch's __array__ under NumPy 2.
    return np.array(tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else tensor)


@contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """Compute on the CPU with random numbers from `seed`, and leave no trace in the process.

    Keras numbers the names of layers through the process, and draws their seeds from Python's
    random numbers; its dtype policy is a switch of the process too. All begin anew inside, so
    that every model of one factory has the same names and bytes (6.1), and are put back.
    """
    # Keras has no public way to read what it holds for a thread, and so none to put it back.
    state = vars(keras.src.backend.common.global_state.GLOBAL_STATE_TRACKER)
    held, floatx = dict(state), keras.config.floatx()
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  (Keras may use it)
    with seeded(seed, CPU):
        try:
            state.clear()
            keras.config.set_floatx("float32")
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            with keras.device("cpu"):
                yield
        finally:
            state.clear()
            state.update(held)
            keras.config.set_floatx(floatx)
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
