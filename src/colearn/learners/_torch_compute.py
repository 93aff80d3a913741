"""The surroundings in which PyTorch computes: threads, random numbers, gradients.

All three are switches of the whole process in PyTorch. A learner that trains must get the same
bytes whatever they stand at, and leave them as it found them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import RLock

import torch

from colearn.errors import ConfigError
from colearn.learners._threads import one_thread

__all__ = ["CPU", "at_threads", "checked_device", "seeded"]

CPU = torch.device("cpu")

_LOCK = RLock()
"""Two learners in two threads of a process would draw from each other's random numbers."""


@contextmanager
def at_threads(count: int) -> Iterator[None]:
    """Let PyTorch split its sums over `count` threads, and no other library over several.

    One learner of a process computes at a time; groups that are to compute at the same time
    belong into processes of their own.
    """
    with _LOCK:
        before = torch.get_num_threads()
        with one_thread():
            try:
                torch.set_num_threads(count)
                yield
            finally:
                torch.set_num_threads(before)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw random numbers from `seed` inside, and put the process's own back afterwards.

    Gradients are recorded and new tensors lie on the CPU inside, whatever the caller has set.
    """
    on_gpu = device.type == "cuda"
    with _LOCK, torch.random.fork_rng(devices=[device] if on_gpu else []):
        # torch.manual_seed would seed every device, also those that nobody puts back.
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        # The context of a device slows every call down, so it is entered where it is needed.
        new_tensors = nullcontext() if torch.get_default_device() == CPU else CPU
        with new_tensors, torch.inference_mode(mode=False), torch.enable_grad():
            yield


def checked_device(device: object) -> torch.device:
    """Return the device that a setting names: the CPU, or a GPU that PyTorch reaches by CUDA.

    Raises:
        ConfigError: It names another device, or one that is not here.
    """
    try:
        found = torch.device(device)  # type: ignore[call-overload]
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"The device {device!r} is unknown: {error}") from error
    if found.type == "cpu":
        return CPU
    if found.type != "cuda":
        raise ConfigError(f'The device must be "cpu" or "cuda", got {device!r}.')
    if not torch.cuda.is_available():
        raise ConfigError(
            f"The device {device!r} is not here: PyTorch finds no CUDA.",
            hint='Use device="cpu", or install PyTorch for your GPU.',
        )
    count = torch.cuda.device_count()
    index = torch.cuda.current_device() if found.index is None else found.index
    if index >= count:
        raise ConfigError(f"The device {device!r} is not here: PyTorch finds {count}.")
    return torch.device("cuda", index)
