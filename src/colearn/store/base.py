"""The port of a blob store: bytes in, bytes out, named by their sha256 (6.3, 6.4)."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import mmap

from colearn.errors import (
    BlobTooLargeError,
    ConfigError,
    DigestMismatchError,
    StoreError,
)

__all__ = ["BlobStore", "check_digest", "check_limit", "mismatch"]

_DIGEST = re.compile("[0-9a-f]{64}")


class BlobStore(ABC):
    """Keeps blobs under the sha256 of their bytes (6.3).

    An adapter implements the four methods with an underscore, and may be wrong, slow or hostile in
    them: the public methods refuse what is no digest before the adapter sees it, count and hash
    what it gives, and turn every exception of its own into a StoreError. So a caller gets the
    bytes it asked for, or a StoreError, and nothing else.

    All methods may be called from several threads at once.
    """

    def put(self, data: bytes) -> str:
        """Store a blob; one that is there already is left as it is.

        Args:
            data: Any bytes; the empty blob is one too.

        Returns:
            The digest: sha256 of the bytes, 64 lower-case hexadecimal digits.

        Raises:
            StoreError: It cannot be stored; then nothing of it is left behind.
        """
        if not isinstance(data, bytes):
            raise StoreError(f"A blob must be bytes, got {type(data).__name__}.")
        digest = hashlib.sha256(data).hexdigest()
        with self._guarded("store", digest):
            self._put(digest, data)
        return digest

    def get(self, digest: str, max_bytes: int) -> bytes:
        """Return a blob whose bytes have this digest.

        Args:
            digest: 64 lower-case hexadecimal digits.
            max_bytes: The largest blob to read (6.4); a larger one is refused before it is read.

        Raises:
            BlobNotFoundError: The store does not have it.
            BlobTooLargeError: It has more than `max_bytes`.
            DigestMismatchError: What the store has under this name are other bytes.
            StoreError: The text is no digest, or the store failed.
            ConfigError: `max_bytes` is no whole number from 0.
        """
        check_digest(digest)
        check_limit(max_bytes)
        with self._guarded("read", digest):
            data = self._bounded(digest, max_bytes)
        if hashlib.sha256(data).hexdigest() != digest:
            raise mismatch(self._place(digest), len(data), digest)
        return data

    def view(self, digest: str, max_bytes: int) -> bytes | mmap:
        """Return a blob as `get` does, perhaps as a file that is mapped and cannot be written.

        Raises:
            StoreError: As `get`.
            ConfigError: As `get`.
        """
        return self.get(digest, max_bytes)

    def has(self, digest: str) -> bool:
        """Return whether the store has a blob under this digest; its bytes are not checked.

        Raises:
            StoreError: The text is no digest, or the store failed.
        """
        check_digest(digest)
        with self._guarded("look for", digest):
            return bool(self._has(digest))

    def digests(self) -> Iterator[str]:
        """Yield the digests of all blobs, each once, in no particular order: for tools.

        Raises:
            StoreError: The store failed, or gave something that is no digest.
        """
        with self._guarded("list", "its blobs"):
            names = iter(self._digests())
        while True:
            with self._guarded("list", "its blobs"):
                name = next(names, None)
                if name is None:
                    return
                check_digest(name)
            yield name

    @abstractmethod
    def _put(self, digest: str, data: bytes) -> None:
        """Store `data` under `digest`, which is its own, whole or not at all."""

    @abstractmethod
    def _fetch(self, digest: str, max_bytes: int) -> Iterator[bytes]:
        """Yield the bytes stored under `digest`, in pieces of any size.

        Raises:
            BlobNotFoundError: There are none.
            BlobTooLargeError: There are more than `max_bytes`, as far as that can be known before
                they are read. The caller counts in any case.
        """

    @abstractmethod
    def _has(self, digest: str) -> bool:
        """Return whether something is stored under `digest`."""

    @abstractmethod
    def _digests(self) -> Iterator[str]:
        """Yield every digest under which something is stored."""

    def _place(self, digest: str) -> str:
        """Return where the blob is, for error messages."""
        return f"The blob {digest} of {type(self).__name__}"

    def _bounded(self, digest: str, max_bytes: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        for piece in self._fetch(digest, max_bytes):
            # Exactly bytes: a subclass could be other bytes at the second look.
            if type(piece) is not bytes:
                raise StoreError(
                    f"{self._place(digest)} must come in pieces of bytes, "
                    f"got {type(piece).__name__}."
                )
            size += len(piece)
            if size > max_bytes:
                raise BlobTooLargeError(
                    f"{self._place(digest)} may have {max_bytes} bytes and has more."
                )
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @contextmanager
    def _guarded(self, verb: str, what: str) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            # Whatever a plug-in raises, its callers know one tree of errors. Its text stays in the
            # cause, because it may hold an address with a password in it.
            raise StoreError(
                f"{type(self).__name__} could not {verb} {what}: it raised {type(error).__name__}."
            ) from error


def mismatch(place: str, size: int, digest: str) -> DigestMismatchError:
    """Return the error for bytes that are not those of a digest."""
    return DigestMismatchError(
        f"{place} has {size} bytes with another digest than {digest}.",
        hint="It is damaged or forged: fetch the blob from somewhere else.",
    )


def check_digest(digest: str) -> None:
    """Refuse what is no digest, before anybody makes a path, an address or a key of it.

    Raises:
        StoreError: It is not 64 lower-case hexadecimal digits.
    """
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        got = repr(digest[:80]) if isinstance(digest, str) else type(digest).__name__
        raise StoreError(f"A digest must be 64 lower-case hexadecimal digits, got {got}.")


def check_limit(max_bytes: int) -> None:
    """Refuse a limit that is none.

    Raises:
        ConfigError: It is no whole number from 0.
    """
    if type(max_bytes) is not int or max_bytes < 0:
        raise ConfigError(f"max_bytes must be a whole number from 0, got {max_bytes!r}.")
