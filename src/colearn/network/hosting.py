"""A hosted ledger that keeps the blobs too: learners need one outbound connection (7.8)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from starlette.routing import Route

from colearn.core import Experiment
from colearn.errors import ConfigError, LedgerError
from colearn.identity import Claim
from colearn.ledger import EmbeddedLedger
from colearn.ledger._desk import Desk
from colearn.ledger.serving import Further, Serving
from colearn.store import DirectoryStore
from colearn.store._wire import read_place
from colearn.store.gate import MemberGate, TurnedAwayError
from colearn.store.quota import Quota
from colearn.store.routes import BlobLimits, blob_routes

__all__ = ["BlobHosting", "names_of"]

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  (recognised, not listened on)


@dataclass(frozen=True, slots=True)
class BlobHosting:
    """How a ledger's server keeps blobs.

    Attributes:
        folder: Where they are.
        quota_bytes: All of them together.
        address_bytes: Those that one address gave.
        public_urls: Under which members ask this server.
        on_fork: Hears of signed requests that name another head than this ledger has (7.9).
        limits: Of sizes, times and how many at once.
    """

    folder: Path
    quota_bytes: int
    address_bytes: int
    public_urls: Sequence[str] = ()
    on_fork: Callable[[Claim], None] = lambda _claim: None
    limits: BlobLimits = field(default_factory=BlobLimits)

    def further(self) -> Further:
        """Return what `colearn.ledger.serving.serve` serves beside the ledger.

        Raises:
            ConfigError: A public URL or a quota is none.
            StoreError: The folder cannot be used.
        """
        store = DirectoryStore(self.folder, fsync=True)
        quota = Quota(store, self.quota_bytes, self.address_bytes)
        for url in self.public_urls:
            read_place(url)

        def routes(desk: Desk, serving: Serving) -> list[Route]:
            view = _View(desk)
            names = names_of(serving.url, self.public_urls)
            gate = MemberGate(
                domain=serving.genesis.domain,
                experiments=view.experiments,
                head=view.head,
                line=view.line,
                on_fork=self.on_fork,
                hosts=None if names is None else lambda: names,
                refresh=view.refresh,
            )
            return blob_routes(store, gate, self.limits, quota=quota)

        limits = self.limits
        return Further(routes, limits.downloads_count + 2 * limits.uploads_count)


def names_of(url: str, public_urls: Sequence[str] = ()) -> Collection[str] | None:
    """Return the Host headers with which a server is asked; None if nobody can know them.

    Args:
        url: Where it listens.
        public_urls: Under which others ask it.

    Raises:
        ConfigError: A URL is none.
    """
    names = {read_place(each).netloc for each in public_urls}
    parts = urlsplit(url)
    if parts.hostname is None:
        raise ConfigError(f"{url!r} is no URL.")
    if parts.hostname in _EVERYWHERE and not names:
        return None
    place = read_place(url)
    names.add(place.netloc)
    if place.is_loopback or parts.hostname in _EVERYWHERE:
        names |= {f"localhost:{place.port}", f"127.0.0.1:{place.port}", f"[::1]:{place.port}"}
    return frozenset(names)


class _View:
    """What the gate reads: the ledger as it was at the last request, without waiting for it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._height = -1
        self._heads: list[str] = []
        self._experiments: Mapping[int, Experiment] = {}

    async def refresh(self) -> None:
        """Read the ledger.

        Raises:
            TurnedAwayError: It cannot be read.
        """
        try:
            await self._desk.ask(self._look)
        except LedgerError as error:
            raise TurnedAwayError(503, "The ledger cannot be read now; try again.") from error

    def experiments(self) -> Mapping[int, Experiment]:
        return self._experiments

    def head(self) -> tuple[int, str]:
        return self._height, self._heads[self._height]

    def line(self, height: int) -> str | None:
        return self._heads[height] if height <= self._height else None

    def _look(self, ledger: EmbeddedLedger) -> None:
        ledger.sync()
        replica = ledger.replica
        if replica.height != self._height:
            # Rows are only ever added, so what was read stays true while it is looked at.
            self._experiments = replica.book.experiments
            self._heads, self._height = replica.heads, replica.height
