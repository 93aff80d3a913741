"""A store in a folder: one file a blob, named by its digest (6.3)."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from colearn.errors import BlobNotFoundError, BlobTooLargeError, StoreError
from colearn.store.base import BlobStore, check_digest, check_limit, mismatch
from colearn.store.draft import CAREFULLY, PARTIAL, Draft
from colearn.store.parcel import Parcel
from colearn.weights.named import let_go

__all__ = ["MAPPED_BYTES_MIN", "RESUMED_WITHIN_S", "STALE_AFTER_S", "DirectoryStore"]

MAPPED_BYTES_MIN = 2**20
"""From this size on a file is mapped rather than read."""

STALE_AFTER_S = 3600
"""Seconds after its last write until a draft is taken for one whose writer was killed."""

RESUMED_WITHIN_S = 24 * 3600
"""Seconds after its last byte until a blob on its way is one that nobody waits for any more."""

_HASHED_BYTES = 2**23
"""Bytes of a mapped file that are hashed before they are let go of."""

_NAME = re.compile("[0-9a-f]{64}")
_DRAFT = re.compile(r"\.[0-9a-f]{16}\.draft")
_PARTIAL = re.compile(r"\.[0-9a-f]{64}" + re.escape(PARTIAL))


class DirectoryStore(BlobStore):
    """Keeps blobs as files in one folder, which is made when the first one is stored.

    A blob is written under another name in the same folder and renamed in one step, so a reader
    sees the whole file or none, any number of processes may write the same blob, and a killed
    writer leaves nothing but a draft, which is deleted once it is an hour old. A file that is
    damaged is replaced when its blob is stored again. Names that are links are not followed.
    A blob that is received piece by piece keeps what came for a day.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path | str, *, fsync: bool = False) -> None:
        """Name the folder, and delete old drafts in it.

        Args:
            path: The folder; it need not be there.
            fsync: Wait until a stored blob is on the disk, so that a power cut cannot take it.

        Raises:
            StoreError: There is something else than a folder, or it cannot be looked at.
        """
        self.path = Path(path)
        self._fsync = fsync
        with self._reported(""):
            if self.path.exists() and not self.path.is_dir():
                raise StoreError(f"{self.path} is no folder.", hint="Name another one.")
        self._delete_stale_drafts()

    def receive(self, digest: str, max_bytes: int) -> Draft:
        """Return where the bytes of a blob go while they come; it knows how many are there.

        Two that receive one blob at once do not disturb each other: the later one begins anew.

        Args:
            digest: Of the blob.
            max_bytes: The most it may have.

        Raises:
            StoreError: The text is no digest, or the folder cannot be written.
            ConfigError: `max_bytes` is no whole number from 0.
        """
        check_digest(digest)
        check_limit(max_bytes)
        with self._reported(""):
            self.path.mkdir(parents=True, exist_ok=True)
        return Draft(digest, max_bytes, self.path, reported=self._reported, fsync=self._fsync)

    def path_of(self, digest: str) -> Path:
        """Return the file of a blob that is here, for those who map it; do not write to it.

        Raises:
            BlobNotFoundError: It is not here.
            StoreError: The text is no digest, or the folder cannot be looked at.
        """
        if not self.has(digest):
            raise BlobNotFoundError(f"There is no blob {digest} in {self.path}.")
        return self.path / digest

    @contextmanager
    def opened(self, digest: str) -> Iterator[BinaryIO]:
        """Open the file of a blob to read it: a regular file, and nothing that a link points to.

        Raises:
            BlobNotFoundError: It is not here.
            StoreError: The text is no digest, or what has its name cannot be read.
        """
        check_digest(digest)
        with self._reported(digest), self._opened(digest) as file:
            yield file

    def view(self, digest: str, max_bytes: int) -> bytes | mmap.mmap:
        """Return a blob; a large one is mapped, so that it takes no memory of its own.

        The file is verified when it is mapped. It changes only if somebody writes into it past
        this store, which never does: it replaces files whole.

        Raises:
            StoreError: As `get`.
            ConfigError: As `get`.
        """
        check_limit(max_bytes)
        with self.opened(digest) as file:
            size = os.fstat(file.fileno()).st_size
            if not MAPPED_BYTES_MIN <= size <= max_bytes:
                return self.get(digest, max_bytes)
            data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        if _digest_of(data) != digest:
            raise mismatch(self._place(digest), size, digest)
        return data

    def pack(self, pieces: Iterable[Any]) -> Parcel:
        """Write buffers that are a blob when they are put together, and do not name it yet.

        Raises:
            StoreError: They cannot be written.
        """
        with self._reported(""):
            self.path.mkdir(parents=True, exist_ok=True)
        return Parcel(self.path, pieces, self._reported, fsync=self._fsync)

    def _put(self, digest: str, data: bytes) -> None:
        if self._is_stored(digest, data):
            return
        with self._reported(digest):
            self.path.mkdir(parents=True, exist_ok=True)
            draft = self.path / f".{secrets.token_hex(8)}.draft"
            try:
                with draft.open("xb") as file:
                    file.write(data)
                    if self._fsync:
                        file.flush()
                        os.fsync(file.fileno())
                # A rename replaces what was planted under the name, be it a link.
                draft.replace(self.path / digest)
            except BaseException:
                with suppress(OSError):
                    draft.unlink()
                raise
            if self._fsync:
                self._fsync_folder()

    def _fetch(self, digest: str, max_bytes: int) -> Iterator[bytes]:
        with self._reported(digest), self._opened(digest) as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise BlobTooLargeError(
                    f"{self._place(digest)} may have {max_bytes} bytes, it has {size}."
                )
            # One more than it had, so that a file that grows meanwhile is not read to its end.
            return iter((file.read(size + 1),))

    def _has(self, digest: str) -> bool:
        with self._reported(digest):
            try:
                return stat.S_ISREG((self.path / digest).lstat().st_mode)
            except FileNotFoundError:
                return False

    def _digests(self) -> Iterator[str]:
        for entry in self._entries():
            if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                yield entry.name

    def _place(self, digest: str) -> str:
        return str(self.path / digest)

    def _is_stored(self, digest: str, data: bytes) -> bool:
        """Return whether the file is there with these very bytes."""
        try:
            with self._reported(digest), self._opened(digest) as file:
                return (
                    os.fstat(file.fileno()).st_size == len(data)
                    and file.read(len(data) + 1) == data
                )
        except StoreError:
            # Not there, or not readable: then writing it says what is wrong, if anything is.
            return False

    @contextmanager
    def _opened(self, digest: str) -> Iterator[BinaryIO]:
        """Open the file of a blob: a regular one under this very name, and nothing it points to."""
        path = self.path / digest
        try:
            file = open(path, "rb", opener=_without_following)  # noqa: SIM115
        except FileNotFoundError as error:
            raise BlobNotFoundError(f"There is no blob {digest} in {self.path}.") from error
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR):
                raise _no_regular_file(path) from error
            raise
        with file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _no_regular_file(path)
            yield file

    def _entries(self) -> list[os.DirEntry[str]]:
        with self._reported(""):
            try:
                with os.scandir(self.path) as entries:
                    return list(entries)
            except FileNotFoundError:
                return []

    def _delete_stale_drafts(self) -> None:
        """Delete the drafts of killed writers; one that is written at this moment is young."""
        now = time.time()
        for entry in self._entries():
            draft, partial = _DRAFT.fullmatch(entry.name), _PARTIAL.fullmatch(entry.name)
            if draft or partial:
                border = now - (STALE_AFTER_S if draft else RESUMED_WITHIN_S)
                # Gone already, or not ours to delete: neither keeps the store from working.
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < border:
                        Path(entry.path).unlink()

    def _fsync_folder(self) -> None:
        if os.name != "posix":
            return
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _reported(self, name: str) -> Iterator[None]:
        """Turn the errors of the operating system into one that names the file."""
        try:
            yield
        except (OSError, ValueError) as error:
            # A ValueError is what a path with a zero byte in it raises.
            reason = error.strerror if isinstance(error, OSError) else None
            raise StoreError(
                f"{str(self.path / name)!r}: {reason or type(error).__name__}.",
                hint="Look at the folder, its permissions and the free space.",
            ) from error


def _no_regular_file(path: Path) -> StoreError:
    return StoreError(
        f"{path} is a link, a folder or a pipe, and no file of a blob.", hint="Delete it."
    )


def _without_following(path: str, flags: int) -> int:
    return os.open(path, flags | CAREFULLY)


def _digest_of(data: mmap.mmap) -> str:
    """Return the digest of a mapped file, of which little is in memory at a time."""
    digest = hashlib.sha256()
    with memoryview(data) as view:
        for begin in range(0, len(view), _HASHED_BYTES):
            digest.update(view[begin : begin + _HASHED_BYTES])
            let_go(data)
    return digest.hexdigest()
