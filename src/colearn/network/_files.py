"""Locks, drafts and folders of a node, and what the system says when it refuses."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from colearn.errors import ColearnError, ConfigError

if sys.platform != "win32":
    import fcntl

__all__ = ["inside", "locked", "moments", "remove", "writing"]

_TRIES, _PAUSE_S = 5, 0.05


def moments() -> Iterator[None]:
    """Yield a few times: who looks whether a node runs holds its lock for a moment."""
    for _ in range(_TRIES):
        yield
        time.sleep(_PAUSE_S)


def locked(lock: int) -> bool:
    """Take a lock without waiting, and say whether that worked."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove(draft: Path) -> None:
    """Delete a draft of a folder: files, and one level of folders."""
    for entry in list(draft.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            remove(entry)
        else:
            entry.unlink()
    draft.rmdir()


@contextmanager
def inside(folder: Path | None) -> Iterator[None]:
    """Let relative paths start in a folder while the block runs; None changes nothing.

    Raises:
        ConfigError: The folder is not there any more.
    """
    if folder is None:
        yield
        return
    if not folder.is_dir():
        raise ConfigError(
            f"The folder {folder} in which this node joined is gone.",
            hint="Join again, with the same -d, from where its modules and data are now.",
        )
    with chdir(folder):
        yield


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what cannot be written, and why.

    Raises:
        ColearnError: The system refuses.
    """
    try:
        yield
    except OSError as error:
        raise ColearnError(
            f"Cannot write {path}: {error.strerror or error}.", hint="Choose another folder."
        ) from error
