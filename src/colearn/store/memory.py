"""A store in memory: for notebooks, tests and groups inside one process."""

from __future__ import annotations

from collections.abc import Iterator

from colearn.errors import BlobNotFoundError, BlobTooLargeError
from colearn.store.base import BlobStore

__all__ = ["MemoryStore"]


class MemoryStore(BlobStore):
    """Keeps blobs in a dict until the process ends.

    Threads may share it: every method does one step on the dict, which Python does whole.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._blobs: dict[str, bytes] = {}

    def _put(self, digest: str, data: bytes) -> None:
        self._blobs.setdefault(digest, data)

    def _fetch(self, digest: str, max_bytes: int) -> Iterator[bytes]:
        data = self._blobs.get(digest)
        if data is None:
            raise BlobNotFoundError(f"{self._place(digest)} is not there.")
        if len(data) > max_bytes:
            raise BlobTooLargeError(
                f"{self._place(digest)} may have {max_bytes} bytes, it has {len(data)}."
            )
        yield data

    def _has(self, digest: str) -> bool:
        return digest in self._blobs

    def _digests(self) -> Iterator[str]:
        # A copy, so that a blob stored meanwhile does not break the walk.
        return iter(list(self._blobs))
