"""The state of one experiment on a ledger: values alone; every transition makes a new one.

Sets of members are masks over seats, as in the contract. A seat is given once and never again, so
a member that returns has another seat (7.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from colearn.core.bindings import ZERO, Domain
from colearn.core.phase import Phase
from colearn.core.rules import Rules
from colearn.core.schedule import TurnQueue

__all__ = ["NOBODY", "Experiment", "Roster", "Round", "seats_of"]

NOBODY = "0x" + "00" * 20
"""The zero address."""

_EMPTY: Mapping[Any, Any] = MappingProxyType({})
_NO_TURNS: TurnQueue[int] = TurnQueue(())


def seats_of(mask: int) -> list[int]:
    """Return the seats in a mask, lowest first."""
    seats = []
    while mask:
        low = mask & -mask
        seats.append(low.bit_length() - 1)
        mask ^= low
    return seats


@dataclass(frozen=True, slots=True)
class Roster:
    """Who takes part, whose turn it is, and what is about to change (P3.1, 7.7).

    Attributes:
        addresses: The address of each seat ever given.
        seat_of: The latest seat of each address.
        opened: Seats that a round has opened with; those above wait for the next one.
        members: Mask of the members.
        queue: Their turns; the front proposes.
        leaving: Mask of members that are out when the next round opens.
        changed: Whether anything changes then.
        epoch: Counts such changes; motions belong to one.
        invited: What each address may do: join before the start (1) or after it (2).
        digest: Of the roster in join order, which `start` names.
        missed_once: Mask of members that missed a deadline since they last acted.
        missed_twice: Mask of those that missed two or more (7.2).
        motions: Supporters of each motion (kind, target) of this epoch; -1 once it passed.
        opener: The epoch and the motion that each address opened last.
    """

    addresses: tuple[str, ...] = ()
    seat_of: Mapping[str, int] = field(default_factory=lambda: _EMPTY)
    opened: int = 0
    members: int = 0
    queue: TurnQueue[int] = _NO_TURNS
    leaving: int = 0
    changed: bool = False
    epoch: int = 0
    invited: Mapping[str, int] = field(default_factory=lambda: _EMPTY)
    digest: str = ZERO
    missed_once: int = 0
    missed_twice: int = 0
    motions: Mapping[tuple[int, str], int] = field(default_factory=lambda: _EMPTY)
    opener: Mapping[str, tuple[int, int, str]] = field(default_factory=lambda: _EMPTY)

    @property
    def size(self) -> int:
        """n, the number of members."""
        return self.members.bit_count()

    @property
    def dormant(self) -> int:
        """Mask of those nobody waits for: fewer than half of the members, or none (7.2)."""
        asleep = self.missed_twice
        return asleep if asleep and 2 * asleep.bit_count() < self.members.bit_count() else 0

    def seat(self, address: str) -> int | None:
        """Return the seat of a member, or None for anybody else."""
        seat = self.seat_of.get(address)
        return seat if seat is not None and self.members >> seat & 1 else None

    def names(self, mask: int) -> list[str]:
        """Return the addresses of a mask, in seat order."""
        return [self.addresses[seat] for seat in seats_of(mask)]


@dataclass(frozen=True, slots=True)
class Round:
    """The round that is open.

    Attributes:
        number: Counts from 1 (P3.6).
        phase: Where it stands.
        deadline: Seconds since 1970; acts are in time up to and including it.
        todo: Mask of those whose act the phase still lacks; when over, whose confirmation.
        tried: Mergers that let this round's contributions lie (5.2).
        key: What ballots name; zero before a proposal.
        candidates: Digests of the candidates.
        included: Mask of the contributions they merge.
        contributions: Digest of each seat's contribution.
        commitments: Blind ballots' commitments by seat.
        approvals: Approvals of each candidate by others.
        cast: Ballots that count.
        abstainers: Mask of those that abstained.
    """

    number: int = 0
    phase: Phase = Phase.SETUP
    deadline: int = 0
    todo: int = 0
    tried: int = 0
    key: str = ZERO
    candidates: tuple[str, ...] = ()
    included: int = 0
    contributions: Mapping[int, str] = field(default_factory=lambda: _EMPTY)
    commitments: Mapping[int, str] = field(default_factory=lambda: _EMPTY)
    approvals: tuple[int, ...] = ()
    cast: int = 0
    abstainers: int = 0


_NOWHERE, _NO_RULES, _NO_ROSTER, _NO_ROUND = Domain(1, NOBODY), Rules(), Roster(), Round()


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment; the default is one that nobody created.

    Attributes:
        number: Its number on the ledger, from 1.
        domain: Where signatures for it are valid.
        creator: Who created it.
        origin: Digest of specification and model 0, which `join` must name.
        specification: Digest of the specification (6.1).
        model: Digest of the global model.
        rules: What `create` fixed.
        counted: Rounds with a proposal (7.2).
        streak: Proposals in a row that were not accepted (6.1).
        empty: Rounds running without a proposal (7.2).
        finish: Whether a motion ends it after the open round (7.7).
        roster: The members.
        round: The open round.
    """

    number: int = 0
    domain: Domain = _NOWHERE
    creator: str = NOBODY
    origin: str = ZERO
    specification: str = ZERO
    model: str = ZERO
    rules: Rules = _NO_RULES
    counted: int = 0
    streak: int = 0
    empty: int = 0
    finish: bool = False
    roster: Roster = _NO_ROSTER
    round: Round = _NO_ROUND

    @property
    def phase(self) -> Phase:
        """The phase of the open round."""
        return self.round.phase

    @property
    def council(self) -> bool:
        """Whether rounds begin with contributions (section 5)."""
        return self.rules.contribute_s > 0

    @property
    def blind(self) -> bool:
        """Whether ballots are committed to before they are revealed (7.4)."""
        return self.rules.reveal_s > 0

    @property
    def front(self) -> int:
        """The seat of the proposer of the open round."""
        return self.roster.queue.proposer

    @property
    def contributions_needed(self) -> int:
        """N - min(k, floor((n - 1) / 2)), the contributions a council needs (5.1)."""
        size = self.roster.size
        return size - min(self.rules.merge_tolerance, (size - 1) // 2)
