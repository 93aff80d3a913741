"""What a node is to its peers: where they serve blobs, and the door at which it serves its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from colearn.core import Experiment
from colearn.core.events import Proposed
from colearn.errors import MissingExtraError
from colearn.identity import Claim, Key, Statement
from colearn.ledger import Happening, Head, Ledger
from colearn.ledger.log import LogLedger
from colearn.network.follower import Snapshot
from colearn.network.forks import ForkWatch
from colearn.network.hosting import names_of
from colearn.network.invitation import is_web_url
from colearn.store import DirectoryStore, Remote
from colearn.store.gate import MemberGate
from colearn.store.peers import PeersRemote
from colearn.store.routes import blob_routes

try:
    from starlette.applications import Starlette
except ImportError as error:
    raise MissingExtraError("starlette", extra="network") from error

__all__ = ["Lines", "Neighbours", "make_blob_app"]


class Neighbours:
    """Where members serve blobs: the invitation's addresses, and the newest of each proposer.

    A proposal names the address at which its proposer serves it, so the ledger is the address
    book; nobody else can change what stands there for a member.
    """

    def __init__(self, experiment: int, first: tuple[str, ...], own: str | None) -> None:
        """Begin with the invitation's addresses, and leave out the own one."""
        self._number = experiment
        self._first = first
        self._own = own
        self._uris: dict[str, str] = {}
        self._remote: PeersRemote | None = None

    def hear(self, happening: Happening) -> None:
        """Take the address of a proposal."""
        for event in happening.events:
            if not isinstance(event, Proposed) or event.experiment != self._number:
                continue
            if is_web_url(event.uri) and self._uris.get(event.proposer) != event.uri:
                self._uris[event.proposer] = event.uri
                self._tell()

    def attach(self, remote: Remote) -> None:
        """Tell a remote that asks peers of all addresses, now and from now on."""
        if isinstance(remote, PeersRemote):
            self._remote = remote
            self._tell()

    def urls(self) -> tuple[str, ...]:
        """Return all addresses, the newest first."""
        found = dict.fromkeys([*reversed(self._uris.values()), *self._first])
        return tuple(url for url in found if url != self._own)

    def _tell(self) -> None:
        if self._remote is not None:
            self._remote.set(self.urls())


class Lines:
    """Compares the heads that others name with the own line; threads may share it (7.9)."""

    def __init__(self, ledger: Ledger, watch: ForkWatch) -> None:
        """Compare with a ledger's heads; a chain decides for itself which of its blocks stand."""
        self._replica = ledger.replica if isinstance(ledger, LogLedger) else None
        self._watch = watch

    def at(self, height: int) -> str | None:
        """Return the own head at a height; None where it is not known."""
        if self._replica is None or not 0 <= height <= self._replica.height:
            return None
        # Rows are only ever added, so what was read stays true while it is looked at.
        return self._replica.heads[height]

    def claimed(self, claim: Claim) -> None:
        """Take a request whose head is another one here."""
        self._watch.report(claim.address, claim.height, claim.head, claim.evidence())

    def stated(self, _url: str, statement: Statement) -> None:
        """Take what a server says of its head; what nobody has signed proves nothing."""
        mine = self.at(statement.height)
        if statement.address is not None and mine not in (None, statement.head):
            self._watch.report(
                statement.address, statement.height, statement.head, statement.evidence()
            )


def make_blob_app(
    held: DirectoryStore,
    key: Key,
    lines: Lines,
    snapshot: Callable[[], Snapshot],
    urls: tuple[str, ...],
) -> Starlette:
    """Return the application that serves the blobs of a node to the other members.

    Args:
        held: The blobs.
        key: Signs what is said of the own head.
        lines: The own line.
        snapshot: Returns what the node knows.
        urls: Under which it is asked: where it listens, and its public URL.
    """

    def experiments() -> Mapping[int, Experiment]:
        experiment = snapshot().experiment
        return {experiment.number: experiment}

    def head() -> Head:
        return snapshot().head

    names = names_of(urls[0], urls[1:])
    gate = MemberGate(
        domain=snapshot().experiment.domain,
        experiments=experiments,
        head=head,
        line=lines.at,
        on_fork=lines.claimed,
        key=key,
        hosts=None if names is None else lambda: names,
    )
    return Starlette(routes=blob_routes(held, gate))
