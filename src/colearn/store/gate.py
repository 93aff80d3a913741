"""Who gets which blob from a server: members of the ledger, and nothing too early (7.6, 7.9)."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from colearn.core import Experiment, Phase
from colearn.core.bindings import Domain
from colearn.errors import RemoteProtocolError, SignatureError
from colearn.identity import Claim, Freshness, Key, read_request, sign_head

__all__ = ["Asked", "Gate", "MemberGate", "TurnedAwayError"]

_UNAUTHORIZED, _FORBIDDEN, _CONFLICT, _MISDIRECTED = 401, 403, 409, 421


class TurnedAwayError(RemoteProtocolError):
    """A request that a server of blobs refuses.

    Attributes:
        status: Of the HTTP answer.
    """

    def __init__(
        self, status: int, reason: str, *, peer: str = "unknown", rule: str = "7.6"
    ) -> None:
        """Say with which `status` the request is answered, and why."""
        super().__init__(reason, peer=peer, rule=rule)
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came, before anybody has looked at it.

    Attributes:
        method: As ``GET``.
        host: The Host header.
        target: Path and query, as they came.
        authorization: The Authorization header; empty when there is none.
        body: Sha256 of the body that it announces, in hex.
    """

    method: str
    host: str
    target: str
    authorization: str
    body: str


class Gate(ABC):
    """The port of who may do what; it is asked on the event loop, before anything is read."""

    @abstractmethod
    async def admit(self, asked: Asked) -> Claim:
        """Return who asks.

        Raises:
            TurnedAwayError: The request is not to be answered otherwise.
        """

    @abstractmethod
    def require_readable(self, claim: Claim, digest: str) -> None:
        """Refuse what its sender may not read, or not yet.

        Raises:
            TurnedAwayError: So it is.
        """

    @abstractmethod
    def statement(self, nonce: str) -> str | None:
        """Return how far the server has read the ledger, as a header, or None (7.9)."""


@dataclass(frozen=True, slots=True)
class MemberGate(Gate):
    """Lets in who has or had a part in an experiment, with requests that are signed and fresh.

    Everything is read anew at each request, so the gate follows its ledger.

    Attributes:
        domain: Of the ledger.
        experiments: Returns the experiments by number, in their newest state that is known here.
        head: Returns how far the ledger has been read here: height and head.
        line: Returns the head at a height, or None where it is not known here for good.
        on_fork: Hears of a claim whose head is not on this line: signed evidence of two lines of
            one ledger, or of a sender that invents heads.
        key: Signs what this server says of its head; None for a host, which has no key.
        hosts: Returns the names under which this server is asked, as in a Host header; None when
            it does not know them. Knowing them keeps others from passing requests on to it.
        withheld: Returns whether a digest is not to be given out yet although the ledger, as far
            as it has been read here, does not say so: a contribution of one's own on its way.
        refresh: Called first, to read the ledger.
        clock: Seconds since 1970.
        freshness: Knows the requests of the last minutes.
    """

    domain: Domain
    experiments: Callable[[], Mapping[int, Experiment]]
    head: Callable[[], tuple[int, str]]
    line: Callable[[int], str | None]
    on_fork: Callable[[Claim], None]
    key: Key | None = None
    hosts: Callable[[], Collection[str]] | None = None
    withheld: Callable[[str], bool] = lambda _digest: False
    refresh: Callable[[], Awaitable[None]] | None = None
    clock: Callable[[], float] = time.time
    freshness: Freshness = field(default_factory=Freshness)

    async def admit(self, asked: Asked) -> Claim:
        """Return who asks: somebody whose request is signed, for this server, new, and a member's.

        Raises:
            TurnedAwayError: 401, 403, 409 or 421, with the reason.
        """
        hosts = None if self.hosts is None else self.hosts()
        if hosts is not None and asked.host not in hosts:
            raise TurnedAwayError(_MISDIRECTED, "This server has another name.")
        now = self.clock()
        claim = self._claim(asked, now)
        if self.refresh is not None:
            await self.refresh()
        if not self._is_member(claim.address):
            raise TurnedAwayError(
                _FORBIDDEN, f"{claim.address} has no part in this ledger.", peer=claim.address
            )
        try:
            self.freshness.admit(claim, now)
        except RemoteProtocolError as error:
            raise TurnedAwayError(_UNAUTHORIZED, str(error), peer=claim.address) from error
        mine = self.line(claim.height)
        if mine is not None and mine != claim.head:
            self.on_fork(claim)
            raise TurnedAwayError(
                _CONFLICT,
                f"At height {claim.height} the ledger here has head {mine}, and the request "
                f"names {claim.head}: compare heads with the other members.",
                peer=claim.address,
                rule="7.9",
            )
        return claim

    def require_readable(self, claim: Claim, digest: str) -> None:
        """Refuse contributions whose phase is open: nobody tunes its own to the others' (5.1).

        Raises:
            TurnedAwayError: 403.
        """
        experiments = self.experiments().values()
        hidden = self.withheld(digest) or any(
            experiment.phase is Phase.CONTRIBUTE
            and digest in experiment.round.contributions.values()
            for experiment in experiments
        )
        # What is public already stays so, or a member could lock it up by contributing it.
        if hidden and not any(digest in (each.model, each.specification) for each in experiments):
            raise TurnedAwayError(
                _FORBIDDEN,
                "This is a contribution, and its phase is still open.",
                peer=claim.address,
                rule="5.1",
            )

    def statement(self, nonce: str) -> str:
        """Return how far the ledger has been read here, signed if there is a key (7.9)."""
        return sign_head(self.key, self.domain, self.head(), nonce)

    def _claim(self, asked: Asked, now: float) -> Claim:
        try:
            return read_request(
                asked.authorization, self.domain, asked.method, host=asked.host,
                target=asked.target, body_digest=asked.body, now=now,
            )  # fmt: skip
        except (RemoteProtocolError, SignatureError) as error:
            raise TurnedAwayError(_UNAUTHORIZED, str(error)) from error

    def _is_member(self, address: str) -> bool:
        return any(
            address == each.creator
            or address in each.roster.seat_of
            or address in each.roster.invited
            for each in self.experiments().values()
        )
