"""A blob that is written and has no name yet: its maker looks at it before it is one (6.3)."""

from __future__ import annotations

import hashlib
import mmap
import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

__all__ = ["Parcel"]


class Parcel:
    """The bytes of a blob in a file of their own, mapped, under no name that anybody reads.

    Attributes:
        digest: Sha256 of the bytes, in hex.
        view: The bytes; they cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        pieces: Iterable[Any],
        reported: Callable[[str], AbstractContextManager[None]],
        *,
        fsync: bool,
    ) -> None:
        """Write a parcel; `DirectoryStore.pack` makes them.

        Args:
            folder: Where the blob will be; it is there.
            pieces: Buffers that are the blob when they are put together; not all may be empty.
            reported: Turns errors of the operating system into those of the store.
            fsync: Wait until the bytes are on the disk.

        Raises:
            StoreError: They cannot be written; then nothing of them is left behind.
        """
        self._path = folder / f".{secrets.token_hex(8)}.draft"
        self._folder, self._reported = folder, reported
        digest = hashlib.sha256()
        with reported(self._path.name):
            try:
                with self._path.open("x+b", buffering=0) as file:
                    for piece in pieces:
                        _write(file.fileno(), piece)
                        digest.update(piece)
                    if fsync:
                        os.fsync(file.fileno())
                    self.view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except BaseException:
                self.discard()
                raise
        self.digest = digest.hexdigest()

    def publish(self) -> None:
        """Give the bytes their name, in one step.

        Raises:
            StoreError: That cannot be done.
        """
        with self._reported(self.digest):
            # A rename replaces what was planted under the name, be it a link.
            self._path.replace(self._folder / self.digest)

    def discard(self) -> None:
        """Throw the file away, unless it is a blob by now; the view stays as long as it is used."""
        with suppress(OSError):
            self._path.unlink()


def _write(descriptor: int, piece: Any) -> None:
    left = memoryview(piece)
    # An empty array has no bytes to speak of, and no one-dimensional view either.
    left = left.cast("B") if left.nbytes else memoryview(b"")
    while left:
        left = left[os.write(descriptor, left) :]
