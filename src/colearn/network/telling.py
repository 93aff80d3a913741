"""What happens on a ledger, told line by line: for who watches an experiment or runs a node.

It is made of the ledger's events alone, so whoever reads the ledger can tell it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from colearn.core import Ballot, MemberStatus, MotionKind, Outcome, Phase, Rules, approvals_needed
from colearn.core.events import (
    Awoke,
    Closed,
    Confirmed,
    Created,
    Event,
    Joined,
    Member,
    Missed,
    MotionSupported,
    Opened,
    Proposed,
    Revealed,
    Started,
    Voted,
)
from colearn.core.experiment import NOBODY, seats_of
from colearn.crypto import checksum_address
from colearn.ledger import Happening
from colearn.node import FAILED

__all__ = ["Line", "Narrator"]

_STATUS = {
    MemberStatus.INVITED: "is invited",
    MemberStatus.ADMITTED: "may join: the members admit it",
    MemberStatus.LEAVING: "leaves when the next round opens",
    MemberStatus.EXPELLED: "is expelled",
}
_MOTIONS = {
    MotionKind.ADMIT: "to admit",
    MotionKind.EXPEL: "to expel",
    MotionKind.FINISH: "to end the experiment",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened.

    Attributes:
        text: For people.
        document: For programs; ``event`` says what it is.
    """

    text: str
    document: dict[str, Any]


@dataclass(slots=True)
class _Round:
    ballots: dict[str, Ballot] = field(default_factory=dict)
    proposal: str = ""
    members: int = 0


class Narrator:
    """Turns the events of one experiment into lines."""

    def __init__(
        self, experiment: int, me: str = "", names: Mapping[str, str] | None = None
    ) -> None:
        """Tell of an experiment.

        Args:
            experiment: Its number.
            me: The address to mark as one's own.
            names: What to call addresses; the others are shortened.
        """
        self._number, self._me, self._names = experiment, me, dict(names or {})
        self._begin(Rules())

    def _begin(self, rules: Rules) -> None:
        """Know nothing but the rules: who reads a ledger again tells it from the beginning."""
        self._rules = rules
        self._seats: list[str] = []
        self._members: set[int] = set()
        self._leaving: set[int] = set()
        self._out: set[int] = set()
        self._open = 0
        self._round = _Round()

    def hear(self, happening: Happening) -> list[Line]:
        """Return the lines of what one call made known; it must hear all calls, from the first."""
        lines = []
        for event in happening.events:
            if event.experiment == self._number:
                for text, document in self._told(event):
                    place = {"height": happening.height, "time": happening.time}
                    lines.append(Line(text, {**document, **place}))
        return lines

    def _told(self, event: Event) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(event, Proposed):
            self._round = _Round(proposal=event.candidates[0], members=len(self._members))
        elif isinstance(event, Voted | Revealed):
            self._round.ballots[event.voter] = _ballot(event)
        elif isinstance(event, Closed):
            yield self._closed(event)
            self._round = _Round()
        elif isinstance(event, Opened):
            self._take_in(event)
            if event.phase == Phase.OVER:
                yield "The experiment is over.", {"event": "over"}
        elif isinstance(event, Started):
            count = len(self._seats)
            yield f"Started with {count} members.", {"event": "started", "members": count}
        elif isinstance(event, Missed):
            yield from self._missed(event)
        else:
            yield from self._of_members(event)

    def _of_members(self, event: Event) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(event, Created):
            self._begin(Rules.from_word(event.rules))
            yield self._one("created", event.creator, "created the experiment")
        elif isinstance(event, Joined):
            # A chain may take a block back, and give the same seats again.
            self._seats[event.seat :] = [event.member]
            yield self._one("joined", event.member, f"joined, seat {event.seat}")
        elif isinstance(event, Member):
            status = MemberStatus(event.status)
            if status in (MemberStatus.LEAVING, MemberStatus.EXPELLED):
                own = {seat for seat in self._members if self._seats[seat] == event.member}
                self._leaving |= own
            yield self._one(status.name.lower(), event.member, _STATUS.get(status, ""))
        elif isinstance(event, MotionSupported):
            yield self._motion(event)
        elif isinstance(event, Awoke):
            yield self._one("awoke", event.member, "is back")
        elif isinstance(event, Confirmed):
            yield self._one("confirmed", event.member, "holds the final model")

    def _missed(self, event: Missed) -> Iterator[tuple[str, dict[str, Any]]]:
        did = f"missed the {Phase(event.phase).name.lower()} deadline"
        for seat in seats_of(event.seats):
            text, document = self._one("missed", self._address(seat), did)
            numbered = {**document, "round": event.round_number}
            yield f"round {event.round_number}: {text}", numbered

    def _one(self, event: str, address: str, did: str) -> tuple[str, dict[str, Any]]:
        document = {"event": event, "member": checksum_address(address)}
        return f"{self._name(address)} {did}", document

    def _motion(self, event: MotionSupported) -> tuple[str, dict[str, Any]]:
        kind = MotionKind(event.kind)
        target = "" if kind is MotionKind.FINISH else f" {self._name(event.target)}"
        passed = ", which passes" if event.passed else ""
        text, document = self._one(
            "motion", event.member, f"supports the motion {_MOTIONS[kind]}{target}{passed}"
        )
        return text, {**document, "kind": kind.name.lower(), "passed": event.passed}

    def _closed(self, event: Closed) -> tuple[str, dict[str, Any]]:
        proposer, current = self._address(event.proposer), self._round
        count = {kind: list(current.ballots.values()).count(kind) for kind in Ballot}
        approvals, abstentions = count[Ballot.APPROVE], count[Ballot.ABSTAIN]
        document: dict[str, Any] = {
            "event": "round",
            "round": event.round_number,
            "proposer": checksum_address(proposer),
            "outcome": str(event.result),
            "model": event.model,
        }
        text = f"round {event.round_number}: {self._name(proposer)} {event.result}"
        if event.result is Outcome.NO_PROPOSAL or not current.proposal:
            return text, document
        needed = approvals_needed(self._rules, current.members, abstentions)
        others = current.members - 1
        text += f", {approvals} of {others} others approved, {needed} needed"
        silent = others - approvals - abstentions - count[Ballot.REJECT]
        votes = {
            "approvals": approvals,
            "rejections": count[Ballot.REJECT],
            "abstentions": abstentions,
            "silent": silent,
            "needed": needed,
            "members": current.members,
            "proposal": current.proposal,
        }
        return text, {**document, **votes}

    def _take_in(self, event: Opened) -> None:
        """Let members in and out where a round opens (S6)."""
        if event.round_number == self._open:
            return
        self._open = event.round_number
        self._out |= self._leaving
        self._leaving = set()
        self._members = set(range(len(self._seats))) - self._out

    def _address(self, seat: int) -> str:
        return self._seats[seat] if seat < len(self._seats) else NOBODY

    def _name(self, address: str) -> str:
        if address in self._names:
            return self._names[address]
        shown = checksum_address(address)
        short = f"{shown[:6]}...{shown[-4:]}"
        return f"{short} (you)" if address == self._me else short


def _ballot(event: Voted | Revealed) -> Ballot:
    """Read a ballot on the first candidate; one whose voter could not judge says nothing (P3.4)."""
    if isinstance(event, Voted) and event.abstain:
        return Ballot.ABSTAIN
    if event.not_worse & 1:
        return Ballot.APPROVE
    return Ballot.SILENT if event.note == FAILED else Ballot.REJECT
