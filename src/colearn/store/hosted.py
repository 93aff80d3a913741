"""Blobs on the server that keeps the ledger: one outbound connection is enough (7.8)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from colearn.errors import DigestMismatchError, PeerUnreachableError
from colearn.identity import Statement
from colearn.store._blob_client import BlobClient
from colearn.store.directory import DirectoryStore
from colearn.store.draft import Draft
from colearn.store.holding import Remote
from colearn.store.sender import Credentials, Sender

__all__ = ["HostedRemote"]

_SHARE_TRIES = 3
_PAUSE_S = 0.5
"""Before a blob is given again after the line broke; twice that before the last time."""


class HostedRemote(Remote):
    """One server has all blobs of a group: members give it theirs and fetch the others'.

    It is not trusted: what it gives is verified, and what it says of the ledger is compared.

    Attributes:
        url: Where it is.
        share_s: Seconds that giving it one blob may take.
    """

    def __init__(
        self,
        url: str,
        sender: Sender,
        credentials: Credentials | None = None,
        *,
        on_statement: Callable[[str, Statement], None] | None = None,
        share_s: float = 600.0,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            url: Of the server: http or https.
            sender: Signs the requests.
            credentials: For HTTPS.
            on_statement: Hears the URL and how far its server says it has read the ledger (7.9).
                Threads call it; it must not raise.
            share_s: Seconds that giving it one blob may take.

        Raises:
            ConfigError: No such URL, certificates or proxy.
        """
        self._client = BlobClient(url, sender, credentials, on_statement)
        self.url, self.share_s = self._client.url, share_s

    def fetch(self, digest: str, draft: Draft, max_bytes: int, until: float) -> None:
        """Fill a draft from the server, and finish it.

        Raises:
            StoreError: As `Remote.fetch`.
        """
        resumed = draft.offset > 0
        self._client.fetch(digest, draft, max_bytes, until)
        try:
            draft.finish()
        except DigestMismatchError:
            # What was there before may have been wrong, and not what the server has.
            if not resumed:
                raise
            self._client.fetch(digest, draft, max_bytes, until)
            draft.finish()

    def share(self, digest: str, held: DirectoryStore) -> None:
        """Give the server a blob, unless it has it.

        Raises:
            PeerUnreachableError: It refuses, or cannot be reached.
            PeerTimeoutError: It did not take it in time.
            StoreError: It cannot be read here.
        """
        until = time.monotonic() + self.share_s
        with held.opened(digest) as file:
            size = os.fstat(file.fileno()).st_size
            for count in range(1, _SHARE_TRIES):
                try:
                    self._client.upload(digest, file, size, until)
                except PeerUnreachableError as error:
                    # What it has refused it will refuse again.
                    if not isinstance(error.__cause__, OSError):
                        raise
                    time.sleep(max(0.0, min(count * _PAUSE_S, until - time.monotonic())))
                    file.seek(0)
                else:
                    return
            self._client.upload(digest, file, size, until)

    def close(self) -> None:
        """Close the connections; more than once does no harm."""
        self._client.close()
