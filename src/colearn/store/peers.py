"""Blobs among peers: whoever holds one serves it, and it is fetched from any of them (6.3)."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from colearn.errors import (
    BlobNotFoundError,
    BlobTooLargeError,
    ConfigError,
    DigestMismatchError,
    PeerTimeoutError,
    PeerUnreachableError,
)
from colearn.identity import Statement
from colearn.store._blob_client import BlobClient
from colearn.store._wire import read_place
from colearn.store.directory import DirectoryStore
from colearn.store.draft import Draft
from colearn.store.holding import Remote
from colearn.store.sender import Credentials, Sender

__all__ = ["PEERS_MAX", "PeersRemote"]

PEERS_MAX = 256
"""Peers that are known at once: as many as seats (6.4)."""

_BACKOFF_S = (1.0, 60.0)
"""How long a peer that failed is asked last: doubled each time, up to the second number."""

_LIAR_S = 600.0
"""How long a peer is asked last that gave other bytes than those of the digest."""

_NAMED = 5
"""Failures that an error tells of."""


class PeersRemote(Remote):
    """Any of the peers that have a blob will do: each byte of it is verified here.

    Peers are asked in an order that is drawn anew for each blob, those that failed lately last.
    A transfer that breaks off goes on at the next peer. When the bytes of several have another
    digest in the end, nobody knows whose were wrong: the blob is fetched whole, from one peer at
    a time, and who gives wrong bytes then is named.
    """

    def __init__(
        self,
        urls: Iterable[str],
        sender: Sender,
        credentials: Credentials | None = None,
        *,
        on_statement: Callable[[str, Statement], None] | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            urls: Where the peers are; `set` changes them.
            sender: Signs the requests.
            credentials: For HTTPS.
            on_statement: Hears the URL and how far its server says it has read the ledger (7.9).
                Threads call it; it must not raise.

        Raises:
            ConfigError: No such certificates or proxy.
        """
        self._sender, self._credentials, self._on_statement = sender, credentials, on_statement
        self._peers: dict[str, _Peer] = {}
        self._lock = threading.Lock()
        self.set(urls)

    def set(self, urls: Iterable[str]) -> None:
        """Change who the peers are; a transfer under way ends as it began.

        One that is no address is left out: it is what somebody else says of itself.
        """
        wanted = dict.fromkeys(_addresses(urls))
        with self._lock:
            known = self._peers
            self._peers = {url: known.get(url) or self._peer(url) for url in wanted}
        for url in known.keys() - wanted.keys():
            known[url].client.close()

    def urls(self) -> tuple[str, ...]:
        """Return where the peers are."""
        with self._lock:
            return tuple(self._peers)

    def fetch(self, digest: str, draft: Draft, max_bytes: int, until: float) -> None:
        """Fill a draft from the peers, and finish it.

        Raises:
            StoreError: As `Remote.fetch`.
        """
        errand = _Errand(digest, draft, max_bytes, until)
        waiting = self._order()
        while waiting:
            peer = waiting.pop(0)
            if errand.ask(peer):
                return
            waiting += errand.take_suspects()
            if time.monotonic() >= until:
                break
        raise errand.failure()

    def share(self, digest: str, held: DirectoryStore) -> None:
        """Do nothing: what is held here is served from here, by `blob_routes`."""

    def close(self) -> None:
        """Close the connections; more than once does no harm."""
        with self._lock:
            peers = list(self._peers.values())
        for peer in peers:
            peer.client.close()

    def _peer(self, url: str) -> _Peer:
        return _Peer(BlobClient(url, self._sender, self._credentials, self._on_statement))

    def _order(self) -> list[_Peer]:
        """Return the peers, drawn anew, those that failed lately at the end."""
        with self._lock:
            peers = list(self._peers.values())
        secrets.SystemRandom().shuffle(peers)
        now = time.monotonic()
        return sorted(peers, key=lambda peer: max(0.0, peer.resting_until - now))


def _addresses(urls: Iterable[str]) -> Iterator[str]:
    for url in islice(urls, PEERS_MAX):
        with suppress(ConfigError):
            yield read_place(url).url


@dataclass(slots=True, eq=False)
class _Peer:
    """A peer, and how it behaved."""

    client: BlobClient
    failures: int = 0
    resting_until: float = 0.0

    def failed(self) -> None:
        pause = min(_BACKOFF_S[0] * 2 ** min(self.failures, 10), _BACKOFF_S[1])
        self.failures += 1
        self.resting_until = time.monotonic() + pause

    def lied(self) -> None:
        self.failures += 1
        self.resting_until = time.monotonic() + _LIAR_S

    def behaved(self) -> None:
        self.failures, self.resting_until = 0, 0.0


@dataclass(slots=True)
class _Errand:
    """One blob that is wanted, and what came of asking for it."""

    digest: str
    draft: Draft
    max_bytes: int
    until: float
    sources: list[_Peer] = field(default_factory=list)
    suspects: list[_Peer] = field(default_factory=list)
    liars: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    late: bool = False
    absent: int = 0
    too_large: str = ""
    resumed: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        self.resumed = self.draft.offset > 0

    def ask(self, peer: _Peer) -> bool:
        """Ask one peer, and return whether the blob is there now."""
        if self.whole and self.draft.offset:
            self._begin_anew()
        before = self.draft.offset
        try:
            peer.client.fetch(self.digest, self.draft, self.max_bytes, self.until)
        except BlobNotFoundError:
            self.absent += 1
        except BlobTooLargeError as error:
            peer.failed()
            self.too_large = str(error)
        except (PeerTimeoutError, PeerUnreachableError) as error:
            peer.failed()
            self.late |= isinstance(error, PeerTimeoutError)
            self.failures.append(str(error))
        else:
            self._came_from(peer, before)
            return self._is_finished(peer)
        self._came_from(peer, before)
        return False

    def take_suspects(self) -> list[_Peer]:
        """Return whom to ask for the whole blob, as part of what they gave may have been wrong."""
        suspects, self.suspects = self.suspects, []
        return suspects

    def failure(self) -> Exception:
        """Return the error that says why the blob did not come."""
        liars = f" Wrong bytes came from {', '.join(self.liars[:_NAMED])}." if self.liars else ""
        told = " ".join(self.failures[-_NAMED:])
        if self.late and time.monotonic() >= self.until:
            return PeerTimeoutError(f"The blob {self.digest} did not come in time. {told}{liars}")
        if self.failures:
            return PeerUnreachableError(f"The blob {self.digest} did not come. {told}{liars}")
        if self.liars:
            return DigestMismatchError(
                f"Nobody gave the bytes of the blob {self.digest}.{liars}",
                hint="Show the others who gave them.",
            )
        if self.too_large:
            return BlobTooLargeError(self.too_large)
        if self.absent:
            return BlobNotFoundError(f"None of {self.absent} peers has the blob {self.digest}.")
        return PeerUnreachableError(
            f"There is no peer to ask for the blob {self.digest}.",
            hint="Name the peers, or wait until they name themselves.",
        )

    def _came_from(self, peer: _Peer, before: int) -> None:
        if self.draft.offset < before:
            self.resumed, self.sources = False, []
        if self.draft.offset != before and peer not in self.sources:
            self.sources.append(peer)

    def _is_finished(self, peer: _Peer) -> bool:
        try:
            self.draft.finish()
        except DigestMismatchError:
            if self.resumed or len(self.sources) > 1:
                self.suspects = [*(each for each in self.sources if each is not peer), peer]
            else:
                peer.lied()
                self.liars.append(peer.client.url)
            self._begin_anew()
            self.whole = True
            return False
        peer.behaved()
        return True

    def _begin_anew(self) -> None:
        self.draft.restart()
        self.sources, self.resumed = [], False
