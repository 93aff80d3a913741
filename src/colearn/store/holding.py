"""A store that holds blobs here and knows where to get and to leave others (6.3, 7.8)."""

from __future__ import annotations

import hashlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from colearn.errors import BlobNotFoundError, ConfigError, PeerTimeoutError, StoreError
from colearn.store.base import BlobStore, check_digest, check_limit
from colearn.store.directory import DirectoryStore
from colearn.store.draft import PIECE_BYTES, Draft

__all__ = ["HoldingStore", "Remote"]

_SOUND_MAX = 1000
"""Digests that are remembered as those of blobs that are whole."""


class Remote(ABC):
    """The port to where the others' blobs are. All methods may be called from several threads."""

    @abstractmethod
    def fetch(self, digest: str, draft: Draft, max_bytes: int, until: float) -> None:
        """Fill a draft from its offset on, and finish it.

        Args:
            digest: Of the blob.
            draft: Where its bytes go. What came stays in it when this raises.
            max_bytes: The largest blob to take (6.4); a larger one is refused before it is read.
            until: When to give up, by the monotonic clock.

        Raises:
            BlobNotFoundError: Everybody was asked, and nobody has it.
            BlobTooLargeError: It has more than `max_bytes`.
            DigestMismatchError: Nobody gave other bytes than wrong ones.
            PeerUnreachableError: Somebody may have it and cannot be reached.
            PeerTimeoutError: It did not come in time.
            StoreError: It cannot be written.
        """

    @abstractmethod
    def share(self, digest: str, held: DirectoryStore) -> None:
        """Make a blob that is held here available to the others.

        Raises:
            StoreError: They could not be given it.
        """

    def close(self) -> None:  # noqa: B027  (many have nothing to let go of)
        """Let go of connections; more than once does no harm."""


class HoldingStore(BlobStore):
    """Blobs in a folder here, and others that are brought from a remote place when they are asked.

    What is put is shared with the others before `put` returns. `has` and `digests` speak of what
    is here.

    Attributes:
        held: The folder.
        remote: Where the others are.
        timeout_s: How long one blob may take to come.
    """

    def __init__(self, held: DirectoryStore, remote: Remote, *, timeout_s: float = 600.0) -> None:
        """Put the two together.

        Raises:
            ConfigError: The timeout is no number of seconds above 0.
        """
        self.held, self.remote, self.timeout_s = held, remote, _checked(timeout_s)
        self._coming: set[str] = set()
        self._sound: set[str] = set()
        self._arrived = threading.Condition()

    def bring(self, digest: str, max_bytes: int, *, timeout_s: float | None = None) -> None:
        """Get a blob here, verified; nothing is done when it is here already.

        What a power failure or a bad disk has damaged is brought anew. What came of a blob stays
        when it breaks off, and the next call goes on from there, be it after a restart.

        Args:
            digest: Of the blob.
            max_bytes: The largest to take (6.4).
            timeout_s: How long it may take; None for the store's own.

        Raises:
            BlobNotFoundError: Nobody has it.
            BlobTooLargeError: It has more than `max_bytes`.
            DigestMismatchError: Nobody gave other bytes than wrong ones.
            PeerUnreachableError: Who may have it cannot be reached.
            PeerTimeoutError: It did not come in time.
            StoreError: The text is no digest, or it cannot be written here.
            ConfigError: The limit or the timeout is none.
        """
        check_digest(digest)
        check_limit(max_bytes)
        until = time.monotonic() + _checked(self.timeout_s if timeout_s is None else timeout_s)
        with self._guarded("bring", digest), self._alone(digest, until):
            if self._is_whole(digest):
                return
            with self.held.receive(digest, max_bytes) as draft:
                self.remote.fetch(digest, draft, max_bytes, until)
            if not draft.finished:
                raise StoreError(f"{type(self.remote).__name__} left the blob {digest} half done.")
            self._remember(digest)

    def share(self, digest: str) -> None:
        """Make a blob that is here available to the others.

        Raises:
            BlobNotFoundError: It is not here.
            StoreError: The text is no digest, or the others could not be given it.
        """
        if not self.held.has(digest):
            raise BlobNotFoundError(f"There is no blob {digest} in {self.held.path} to share.")
        with self._guarded("share", digest):
            self.remote.share(digest, self.held)

    def close(self) -> None:
        """Let go of connections; more than once does no harm."""
        self.remote.close()

    def _is_whole(self, digest: str) -> bool:
        """Say whether a blob is here; each is read once in a process before it is believed."""
        if not self.held.has(digest):
            return False
        if digest not in self._sound:
            found = hashlib.sha256()
            with self.held.opened(digest) as file:
                while piece := file.read(PIECE_BYTES):
                    found.update(piece)
            if found.hexdigest() != digest:
                return False
            self._remember(digest)
        return True

    def _remember(self, digest: str) -> None:
        if len(self._sound) >= _SOUND_MAX:
            self._sound.clear()
        self._sound.add(digest)

    def _put(self, digest: str, data: bytes) -> None:
        self.held._put(digest, data)  # noqa: SLF001  (data and digest were checked once)
        self.remote.share(digest, self.held)

    def _fetch(self, digest: str, max_bytes: int) -> Iterator[bytes]:
        self.bring(digest, max_bytes)
        return self.held._fetch(digest, max_bytes)  # noqa: SLF001  (the bytes are hashed once)

    def _has(self, digest: str) -> bool:
        return self.held.has(digest)

    def _digests(self) -> Iterator[str]:
        return self.held.digests()

    def _place(self, digest: str) -> str:
        return str(self.held.path / digest)

    @contextmanager
    def _alone(self, digest: str, until: float) -> Iterator[None]:
        """Let one thread at a time bring a blob: the next one finds it here."""
        with self._arrived:
            while digest in self._coming:
                if not self._arrived.wait(max(0.0, until - time.monotonic())):
                    raise PeerTimeoutError(
                        f"The blob {digest} is being fetched, and did not come in time."
                    )
            self._coming.add(digest)
        try:
            yield
        finally:
            with self._arrived:
                self._coming.discard(digest)
                self._arrived.notify_all()


def _checked(timeout_s: float) -> float:
    if not isinstance(timeout_s, int | float) or not 0 < timeout_s < threading.TIMEOUT_MAX:
        raise ConfigError(f"A timeout is a number of seconds above 0, got {timeout_s!r}.")
    return timeout_s
