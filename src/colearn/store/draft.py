"""A blob that is on its way: written as it comes, hashed beside it, kept when it breaks off (6.3).

The bytes go through buffers that are used again and again, so a blob is never whole in memory; a
thread of its own hashes one buffer while the next is being received.
"""

from __future__ import annotations

import hashlib
import os
import queue
import secrets
import stat
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from colearn.errors import (
    BlobTooLargeError,
    DigestMismatchError,
    LocalProtocolError,
)

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment,unused-ignore]

__all__ = ["CAREFULLY", "PARTIAL", "PIECE_BYTES", "Draft"]

# What a system does not have (Windows has neither) it needs no flag for. Not to wait, because a
# pipe in the place of a blob must not stop the program.
CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

PIECE_BYTES = 2**20
"""Bytes of one buffer: large enough for few calls, small enough to be hashed from the cache."""

_PIECES = 4
"""Buffers of one draft."""

PARTIAL = ".partial"
"""How the name of a file ends in which a blob is on its way."""

_TRIES = 3

Reported = Callable[[str], AbstractContextManager[None]]
"""Turns errors of the operating system into StoreErrors that name this file of the folder."""


class Draft:
    """The bytes of one blob as far as they came; `finish` makes a blob of them, or nothing.

    One thread fills a draft. What came stays when the draft is closed, for whoever receives the
    same digest next, be it after a restart; `discard` and a failed `finish` throw it away.

    Attributes:
        digest: Of the blob that is expected.
        max_bytes: The most it may have.
        finished: Whether it has become a blob.
    """

    def __init__(
        self, digest: str, max_bytes: int, folder: Path, *, reported: Reported, fsync: bool
    ) -> None:
        """Begin, or go on where the last one stopped; `DirectoryStore.receive` makes drafts.

        Args:
            digest: Of the blob, 64 lower-case hexadecimal digits.
            max_bytes: The most it may have.
            folder: Where the blob will be; it is there.
            reported: Turns errors of the operating system into those of the store.
            fsync: Wait until the blob is on the disk before it gets its name.

        Raises:
            StoreError: The file cannot be opened or read.
        """
        self.digest, self.max_bytes, self.finished = digest, max_bytes, False
        self._target = folder / digest
        self._reported, self._fsync = reported, fsync
        with reported(digest):
            self._path, self._file = _opened(folder, digest)
        # A file with a name of its own is nothing that anybody could go on with.
        self._kept = self._path.name.endswith(PARTIAL)
        self._hashing = _Hashing()
        self._piece = memoryview(bytearray())
        self._used = 0
        self._flushed = 0
        try:
            self._read_what_is_there()
        except BaseException:
            self._hashing.close()
            self._file.close()
            raise

    @property
    def offset(self) -> int:
        """How many bytes are there: where a transfer goes on."""
        return self._flushed + self._used

    def room(self) -> memoryview:
        """Return where the next bytes go: 1 byte at least, `PIECE_BYTES` at most.

        Fill it from its beginning and say with `fill` how much it was.
        """
        if self._used == len(self._piece):
            self._flush()
            self._piece = self._hashing.buffer()
        return self._piece[self._used :]

    def fill(self, count: int) -> None:
        """Say that the first `count` bytes of the room are the next bytes of the blob.

        Raises:
            BlobTooLargeError: They are more than the blob may have; none of them counts.
            StoreError: They cannot be written.
        """
        if not 0 <= count <= len(self._piece) - self._used:
            raise LocalProtocolError(f"{count} bytes were filled into less room.")
        if self.offset + count > self.max_bytes:
            raise BlobTooLargeError(
                f"The blob {self.digest} may have {self.max_bytes} bytes and has more."
            )
        self._used += count

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes that are in memory already.

        Raises:
            BlobTooLargeError: They are more than the blob may have.
            StoreError: They cannot be written.
        """
        left = memoryview(data)
        while left:
            room = self.room()
            count = min(len(room), len(left))
            room[:count] = left[:count]
            self.fill(count)
            left = left[count:]

    def restart(self) -> None:
        """Throw away what came, and begin anew.

        Raises:
            StoreError: The file cannot be emptied.
        """
        with self._reported(self._path.name):
            self._empty()

    def finish(self) -> None:
        """Verify the bytes and give them their name, in one step.

        Raises:
            DigestMismatchError: They are others than those of the digest. They were thrown away,
                and the draft is empty: it may be filled again.
            StoreError: They cannot be written.
        """
        self._flush()
        if self._hashing.hexdigest() != self.digest:
            size = self._flushed
            self.restart()
            raise DigestMismatchError(
                f"{size} bytes came for the blob {self.digest}, and have another digest.",
                hint="They were thrown away: fetch the blob from somewhere else.",
            )
        with self._reported(self.digest):
            if self._fsync:
                os.fsync(self._file.fileno())
            if os.name != "posix":  # Windows renames no open file
                self._release()
            # The lock is held until the name is another, so that nobody goes on with this file.
            self._path.replace(self._target)
            if self._fsync and os.name == "posix":
                _fsync_folder(self._target.parent)
        self._release()
        self.finished = True

    def close(self) -> None:
        """Stop, and keep what came; more than once does no harm.

        Raises:
            StoreError: The last bytes cannot be written; those before them stay.
        """
        if self._file.closed:
            return
        try:
            self._flush()
        finally:
            if self._flushed == 0 or not self._kept:
                with suppress(OSError):
                    self._path.unlink()
            self._release()

    def discard(self) -> None:
        """Stop, and throw away what came."""
        if not self._file.closed:
            with suppress(OSError):
                self._path.unlink()
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_what_is_there(self) -> None:
        with self._reported(self._path.name):
            size = os.fstat(self._file.fileno()).st_size
            if size > self.max_bytes:
                self._file.truncate(0)
                size = 0
            while self._flushed < size:
                piece = self._hashing.buffer()
                count = self._file.readinto(piece[: size - self._flushed])
                if not count:
                    break
                self._hashing.update(piece[:count])
                self._flushed += count
            self._file.seek(self._flushed)

    def _flush(self) -> None:
        if not self._used:
            return
        filled, self._used, self._piece = self._piece[: self._used], 0, memoryview(bytearray())
        self._hashing.update(filled)
        left = filled
        with self._reported(self._path.name):
            try:
                while left:
                    left = left[self._file.write(left) :]
            except OSError:
                # The disk is full, as a rule: what came so far gives its space back.
                self.discard()
                raise
        self._flushed += len(filled)

    def _empty(self) -> None:
        self._hashing.close()
        self._hashing, self._piece = _Hashing(), memoryview(bytearray())
        self._used = self._flushed = 0
        self._file.seek(0)
        self._file.truncate(0)

    def _release(self) -> None:
        self._hashing.close()
        self._piece, self._used = memoryview(bytearray()), 0
        self._file.close()


def _opened(folder: Path, digest: str) -> tuple[Path, FileIO]:
    """Return the file to fill: the one that was begun, or a new one while somebody fills that."""
    path = folder / f".{digest}{PARTIAL}"
    for _ in range(_TRIES if fcntl is not None else 0):
        try:
            file = FileIO(path, "rb+", opener=_creating)
        except OSError:
            break
        if _is_ours(path, file):
            return path, file
        file.close()
    path = folder / f".{secrets.token_hex(8)}.draft"
    return path, FileIO(path, "x+")


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _creating(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | CAREFULLY, 0o666)


def _is_ours(path: Path, file: FileIO) -> bool:
    """Lock the file, and return whether it is still what has this name."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        opened, named = os.fstat(file.fileno()), path.lstat()
    except OSError:
        return False
    # Who filled it before may just have made a blob of it, which nobody may write into.
    return stat.S_ISREG(opened.st_mode) and os.path.samestat(opened, named)


class _Hashing:
    """Hashes pieces in their order, on a thread of its own once there is more than one."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._free: list[memoryview] = []
        self._made = 0
        self._first: memoryview | None = None
        self._thread: threading.Thread | None = None
        self._full: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._back: queue.SimpleQueue[memoryview] = queue.SimpleQueue()

    def buffer(self) -> memoryview:
        """Return a buffer that nobody uses; wait for one if all are about to be hashed."""
        if self._made < _PIECES and self._back.empty():
            self._made += 1
            return memoryview(bytearray(PIECE_BYTES))
        self._start()
        return self._back.get()

    def update(self, piece: memoryview) -> None:
        """Hash a piece; its buffer must not be changed until `buffer` gives it out again."""
        if self._thread is None and self._first is None:
            # Most blobs are smaller than one buffer: they are not worth a thread.
            self._first = piece
            return
        self._start()
        self._full.put(piece)

    def hexdigest(self) -> str:
        """Return the digest of all pieces."""
        self.close()
        if self._first is not None:
            self._sha256.update(self._first)
            self._first = None
        return self._sha256.hexdigest()

    def close(self) -> None:
        """End the thread when it has hashed what it was given."""
        if self._thread is not None:
            self._full.put(None)
            self._thread.join()
            self._thread = None

    def _start(self) -> None:
        if self._thread is None:
            if self._first is not None:
                self._full.put(self._first)
                self._first = None
            self._thread = threading.Thread(target=self._run, name="colearn-hashing", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        for piece in iter(self._full.get, None):
            self._sha256.update(piece)
            whole = piece.obj
            assert isinstance(whole, bytearray)
            self._back.put(memoryview(whole))
