"""A store in a bucket of S3, Google or Azure: the group shares it, and nobody trusts it (6.3)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from colearn.errors import (
    BlobNotFoundError,
    BlobTooLargeError,
    DigestMismatchError,
    PeerTimeoutError,
)
from colearn.store._bucket import PART_BYTES, Bucket, Reading
from colearn.store._bucket_address import Address, Settings
from colearn.store.base import BlobStore
from colearn.store.directory import DirectoryStore
from colearn.store.draft import Draft
from colearn.store.holding import Remote

__all__ = ["ObjectStore"]

_SLOWEST_BYTES_PER_S = 32 * 2**10
"""A server that gives a blob more slowly than this over its whole length counts as silent."""

_HASTY_S = (0.25, 1.0, 4.0, 16.0)
"""Timeouts of connections for blobs that have less time to come than a silence may last."""

_PIECE_BYTES = 2**20


class ObjectStore(BlobStore, Remote):
    """Keeps blobs as objects named by their digests, in one folder of a bucket.

    It is a store by itself and the `Remote` of a `HoldingStore`. Whoever may write to the bucket
    can put other bytes under a digest; readers notice, because they hash what they get, and the
    next who stores the blob puts the right bytes there. So a blob that is there already is read
    once before it counts as stored.

    Credentials are those of the environment or of the machine, as obstore finds them:
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, GOOGLE_APPLICATION_CREDENTIALS,
    AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or the role of an instance. Profiles
    in ``~/.aws`` are not read. They are in no address, error, log or repr of this class.

    The server itself, as far as TLS shows that it is the right one, is trusted not to attack the
    program: obstore reads error answers and pages of listings whole, however long they are.

    Servers without conditional writes, and blobs above 8 MiB everywhere, are asked first and
    written then. Two who store the same blob at that moment both write it; the bytes are the same.

    Attributes:
        url: Where it is, as it was given.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        allow_http: bool | None = None,
        timeout_s: float = 60.0,
        retries: int = 3,
    ) -> None:
        """Name the place; nothing is sent yet.

        Args:
            url: ``s3://bucket/folder``, ``gs://bucket/folder`` or ``az://container/folder``; the
                folder may be left out.
            endpoint: Address of a server of one's own; None for the provider's, or for what the
                environment says (AWS_ENDPOINT_URL_S3).
            region: Of an S3 bucket; None for what the environment says, or us-east-1.
            allow_http: Let requests and blobs go unencrypted, in a network of one's own; None for
                what the environment says of the endpoint it names (AWS_ALLOW_HTTP), or no.
            timeout_s: The longest silence of the server: for a connection at most 10 s of it, for
                an answer, between two pieces of one, and to take a part of 8 MiB. As long after
                the first attempt nothing is tried again.
            retries: How often a request is sent again after a failure.

        Raises:
            ConfigError: An argument is wrong; the text repeats neither address.
            MissingExtraError: obstore is not installed (raised by the import of this module).
        """
        address = Address.read(url)
        self.url = str(address)
        self._timeout_s = timeout_s
        settings = Settings(endpoint, region, allow_http, timeout_s, retries)
        self._bucket = Bucket(address, settings)
        # Made at once, because the environment may be another one when time gets short.
        self._hasty = {
            seconds: Bucket(address, replace(settings, timeout_s=seconds))
            for seconds in _HASTY_S
            if seconds < timeout_s
        }

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"

    def fetch(self, digest: str, draft: Draft, max_bytes: int, until: float) -> None:
        """Fill a draft from its offset on, and finish it; see `Remote`.

        Raises:
            BlobNotFoundError: It is not in the bucket.
            BlobTooLargeError: It has more than `max_bytes`.
            DigestMismatchError: Other bytes are there under its name.
            PeerUnreachableError: The server cannot be reached, or fails.
            PeerTimeoutError: It did not come in time; what came is in the draft.
            StoreError: The bucket is not there, or does not admit us.
        """
        bucket = self._within(until - time.monotonic())
        reading = self._found(bucket.read(digest, draft.offset), digest, max_bytes)
        for piece in reading.pieces:
            draft.write(piece)
            if time.monotonic() > until:
                raise PeerTimeoutError(
                    f"{self._place(digest)} did not come in time: "
                    f"{draft.offset} of {reading.size} bytes did."
                )
        draft.finish()

    def share(self, digest: str, held: DirectoryStore) -> None:
        """Store a blob that is held here, piece by piece; one that is there already stays.

        Raises:
            BlobNotFoundError: It is not held.
            DigestMismatchError: The file held has other bytes; nothing was stored.
            StoreError: It cannot be stored.
        """
        with held.opened(digest) as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size <= PART_BYTES:
                self._put(digest, b"".join(_verified(file, digest)))
            elif not self._is_stored(digest, size):
                self._bucket.upload(digest, _verified(file, digest))

    def close(self) -> None:
        """Do nothing: connections are closed when nobody uses them any more."""

    def _put(self, digest: str, data: bytes) -> None:
        if len(data) <= PART_BYTES and self._bucket.create(digest, data):
            return
        if not self._is_stored(digest, len(data)):
            self._bucket.overwrite(digest, data)

    def _fetch(self, digest: str, max_bytes: int) -> Iterator[bytes]:
        reading = self._found(self._bucket.read(digest), digest, max_bytes)
        until = time.monotonic() + self._timeout_s + reading.size / _SLOWEST_BYTES_PER_S
        for piece in reading.pieces:
            if time.monotonic() > until:
                raise PeerTimeoutError(f"{self._place(digest)} comes too slowly to wait for it.")
            yield piece

    def _has(self, digest: str) -> bool:
        return self._bucket.size(digest) is not None

    def _digests(self) -> Iterator[str]:
        # What else is in the folder, or in folders below it, is no blob of ours.
        return (name for name in self._bucket.names() if _is_digest(name))

    def _place(self, digest: str) -> str:
        return f"The blob {digest} of {self.url}"

    def _within(self, seconds: float) -> Bucket:
        """Return a connection whose silences end before so many seconds have passed."""
        # There may be two requests before the first byte, and the last attempt of each may begin
        # when as much time as it may take itself is over.
        longest = max(seconds / 4, _HASTY_S[0])
        if longest >= self._timeout_s:
            return self._bucket
        return self._hasty[max(limit for limit in self._hasty if limit <= longest)]

    def _found(self, reading: Reading | None, digest: str, max_bytes: int) -> Reading:
        if reading is None:
            raise BlobNotFoundError(f"There is no blob {digest} in {self.url}.")
        if reading.size > max_bytes:
            raise BlobTooLargeError(
                f"{self._place(digest)} may have {max_bytes} bytes, it has {reading.size}."
            )
        return reading

    def _is_stored(self, digest: str, size: int) -> bool:
        """Return whether the bucket has this very blob: what is under a name, anybody may write."""
        reading = self._bucket.read(digest)
        if reading is None or reading.size != size:
            return False
        sha256 = hashlib.sha256()
        until = time.monotonic() + self._timeout_s + size / _SLOWEST_BYTES_PER_S
        for piece in reading.pieces:
            sha256.update(piece)
            if time.monotonic() > until:
                return False
        return sha256.hexdigest() == digest


def _is_digest(name: str) -> bool:
    return len(name) == 64 and set(name) <= set("0123456789abcdef")


def _verified(file: BinaryIO, digest: str) -> Iterator[bytes]:
    """Yield a file in pieces; the last step raises if they were not those of the digest."""
    sha256 = hashlib.sha256()
    while piece := file.read(_PIECE_BYTES):
        sha256.update(piece)
        yield piece
    if sha256.hexdigest() != digest:
        raise DigestMismatchError(
            f"The file held for the blob {digest} has other bytes.",
            hint="It is damaged: delete it, and fetch the blob from somewhere else.",
        )
