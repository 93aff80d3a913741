"""A lock on an open file that other processes wait for, but not forever."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from colearn.errors import SpendsUnavailableError

if sys.platform != "win32":
    import fcntl

__all__ = ["WAIT_S", "lock"]

WAIT_S = 10.0
"""How long an operation waits for the others, in seconds."""


def lock(descriptor: int, path: Path) -> None:
    """Lock a file until its descriptor is closed; without fcntl, as on Windows, do nothing.

    Raises:
        OSError: The file system has no locks.
        SpendsUnavailableError: Another process holds it for longer than `WAIT_S`.
    """
    if sys.platform == "win32":
        return
    end = time.monotonic() + WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise SpendsUnavailableError(
                    f"Another process holds {path} for more than {WAIT_S:g} seconds.",
                    hint="Wait for its end, or stop it.",
                ) from error
            time.sleep(0.005)
        else:
            return
