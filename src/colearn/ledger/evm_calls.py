"""From a contract's events back to the calls that made them, and through the pure rules (7.8).

The events tell the whole story (7.3), so the calls of a chain are read from them alone: also those
that other contracts made, such as wallets and relays. Each call is put through the pure rules, and
the rules have to give the events that the chain logged; the rules are the second implementation
beside the chain's own execution.

What the events do not tell is who called where anybody may: `NOBODY` stands for that, with
`advance` and with ballots that a relay brought. Ballots in a row are read as one relayed call:
whether they came together or one by one, their effect is the same as long as no phase ends between
them, and where one ends, its events stand between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from types import MappingProxyType
from typing import Any, NamedTuple

from colearn.core import Experiment, RefusedError, calls
from colearn.core import events as happened
from colearn.core.encoding import BALLOTS_MAX, INVITATIONS_MAX
from colearn.core.events import Event
from colearn.core.experiment import NOBODY
from colearn.core.machine import Book
from colearn.core.phase import MemberStatus
from colearn.errors import LedgerTamperedError

__all__ = ["Retold", "RulesDisagreeError", "Told", "retell"]

_SHOWN_MAX = 1000
"""Characters of the events that an error shows; 256 ballots would be pages."""

_NO_MODELS: Mapping[int, str] = MappingProxyType({})


class RulesDisagreeError(LedgerTamperedError):
    """The chain logged what the pure rules do not give for the call behind it (7.8).

    Attributes:
        expected: By the rules.
        found: On the chain.
        transaction: Its hash, in hex.
    """

    def __init__(self, expected: object, found: object, *, block: int, transaction: str) -> None:
        """Say what the rules give and what the transaction logged."""
        self.transaction = transaction
        self.expected, self.found = _shown(expected), _shown(found)
        super().__init__(
            f"Block {block}, transaction 0x{transaction}: the rules expect {self.expected}, and "
            f"the chain has {self.found}.",
            entry=block,
            rule="7.8",
            hint="Ask another node of the chain; if it says the same, keep this as evidence.",
        )


@dataclass(frozen=True, slots=True)
class Retold:
    """What the events so far lead to.

    Attributes:
        book: The experiments.
        first_models: Digest of model 0 of each, which `join` has to name.
    """

    book: Book
    first_models: Mapping[int, str] = field(default_factory=lambda: _NO_MODELS)


class Told(NamedTuple):
    """A call that was read from its events, and what it leads to."""

    state: Retold
    call: calls.Call
    sender: str
    events: tuple[Event, ...]


def retell(
    state: Retold, events: Sequence[Event], time: int, *, block: int, transaction: str
) -> Iterator[Told]:
    """Yield the calls of a transaction, one after the other.

    Args:
        state: Before it.
        events: All that it made the contract log, in their order.
        time: Of its block, seconds since 1970.
        block: Its number, for errors.
        transaction: Its hash, for errors.

    Raises:
        RulesDisagreeError: The events are not those of calls that the rules accept.
    """
    at = 0
    while at < len(events):
        try:
            call, sender = _first_call(state, events[at:])
            book, expected = state.book.apply(call, sender, time)
        except _NoCallError as error:
            raise RulesDisagreeError(
                error.expected, events[at], block=block, transaction=transaction
            ) from None
        except RefusedError as error:
            raise RulesDisagreeError(
                f"a refusal ({error.reason})", events[at], block=block, transaction=transaction
            ) from error
        found = tuple(events[at : at + len(expected)])
        if found != expected:
            raise RulesDisagreeError(expected, found, block=block, transaction=transaction)
        state = replace(_with_model(state, call, len(book.experiments)), book=book)
        at += len(expected)
        yield Told(state, call, sender, expected)


class _NoCallError(Exception):
    """No call begins with these events."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def _first_call(state: Retold, events: Sequence[Event]) -> tuple[calls.Call, str]:
    """Return the call that logged the first of `events`, and who made it."""
    first = events[0]
    if isinstance(first, happened.Created):
        return (
            calls.Create(first.specification, first.model, first.rules, first.uri),
            first.creator,
        )
    experiment = state.book.experiments.get(first.experiment)
    read = _READERS.get(type(first))
    if experiment is None or read is None:
        raise _NoCallError(
            "the event of a call"
            if read is None
            else "an experiment that was created (does the view begin at the deployment?)"
        )
    return read(state, experiment, events)


def _with_model(state: Retold, call: calls.Call, number: int) -> Retold:
    if not isinstance(call, calls.Create):
        return state
    return replace(state, first_models={**state.first_models, number: call.model})


def _run(events: Sequence[Any], most: int, *fields: str) -> list[Any]:
    """Return the events from the first on that are of its kind and equal in these fields."""
    first = events[0]

    def alike(event: Any) -> bool:
        return type(event) is type(first) and all(
            getattr(event, name) == getattr(first, name) for name in fields
        )

    return list(takewhile(alike, events[:most]))


_Read = tuple[calls.Call, str]


def _member(_state: Retold, experiment: Experiment, events: Sequence[Any]) -> _Read:
    first: happened.Member = events[0]
    if first.status == MemberStatus.LEAVING:
        return calls.Leave(first.experiment), first.member
    if first.status != MemberStatus.INVITED:
        raise _NoCallError("an invitation or a member that leaves")
    invited = _run(events, INVITATIONS_MAX, "experiment", "status")
    who = tuple(event.member for event in invited)
    return calls.Invite(first.experiment, who), experiment.creator


def _joined(state: Retold, experiment: Experiment, events: Sequence[Any]) -> _Read:
    event: happened.Joined = events[0]
    model = state.first_models[event.experiment]
    call = calls.Join(event.experiment, experiment.specification, model, event.moments)
    return call, event.member


def _started(_state: Retold, experiment: Experiment, events: Sequence[Any]) -> _Read:
    event: happened.Started = events[0]
    return calls.Start(event.experiment, event.roster), experiment.creator


def _contributed(_state: Retold, experiment: Experiment, events: Sequence[Any]) -> _Read:
    event: happened.Contributed = events[0]
    call = calls.Contribute(event.experiment, event.round_number, experiment.model, event.digest)
    return call, event.member


def _proposed(_state: Retold, _experiment: Experiment, events: Sequence[Any]) -> _Read:
    event: happened.Proposed = events[0]
    call = calls.Propose(
        event.experiment, event.round_number, event.parent, event.included, event.candidates,
        event.uri,
    )  # fmt: skip
    return call, event.proposer


def _skipped(_state: Retold, _experiment: Experiment, events: Sequence[Any]) -> _Read:
    event: happened.Skipped = events[0]
    return calls.Skip(event.experiment, event.round_number), event.member


def _voted(_state: Retold, experiment: Experiment, events: Sequence[Any]) -> _Read:
    """Read ballots in a row as relayed ones; a blind round has none, and only abstentions."""
    first: happened.Voted = events[0]
    if experiment.blind and first.abstain:
        return calls.Abstain(
            first.experiment, first.round_number, experiment.round.key
        ), first.voter
    votes = _run(events, BALLOTS_MAX, "experiment", "round_number")
    ballots = []
    for event in votes:
        seat = experiment.roster.seat(event.voter)
        if seat is None:
            raise _NoCallError("the ballot of a member")
        ballots.append(
            calls.SignedBallot(seat, event.not_worse, event.better, event.note, event.abstain, None)
        )
    # A ballot alone is as if its voter had sent it.
    sender = first.voter if len(ballots) == 1 else NOBODY
    return calls.VoteMany(first.experiment, first.round_number, tuple(ballots)), sender


def _committed(_state: Retold, _experiment: Experiment, events: Sequence[Any]) -> _Read:
    event: happened.Committed = events[0]
    call = calls.Commit(event.experiment, event.round_number, event.commitment)
    return call, event.voter


def _revealed(_state: Retold, _experiment: Experiment, events: Sequence[Any]) -> _Read:
    event: happened.Revealed = events[0]
    call = calls.Reveal(
        event.experiment, event.round_number, event.not_worse, event.better, event.note,
        event.salt,
    )  # fmt: skip
    return call, event.voter


def _missed(_state: Retold, _experiment: Experiment, events: Sequence[Any]) -> _Read:
    event: happened.Missed = events[0]
    return calls.Advance(event.experiment, event.round_number, event.phase), NOBODY


def _awoke(_state: Retold, _experiment: Experiment, events: Sequence[Any]) -> _Read:
    event: happened.Awoke = events[0]
    return calls.Wake(event.experiment), event.member


def _supported(_state: Retold, _experiment: Experiment, events: Sequence[Any]) -> _Read:
    event: happened.MotionSupported = events[0]
    call = calls.Motion(event.experiment, event.epoch, event.kind, event.target)
    return call, event.member


def _confirmed(_state: Retold, _experiment: Experiment, events: Sequence[Any]) -> _Read:
    event: happened.Confirmed = events[0]
    return calls.Confirm(event.experiment, event.model), event.member


_READERS: Mapping[type[Any], Callable[[Retold, Experiment, Sequence[Any]], _Read]] = {
    happened.Member: _member,
    happened.Joined: _joined,
    happened.Started: _started,
    happened.Contributed: _contributed,
    happened.Proposed: _proposed,
    happened.Skipped: _skipped,
    happened.Voted: _voted,
    happened.Committed: _committed,
    happened.Revealed: _revealed,
    happened.Missed: _missed,
    happened.Awoke: _awoke,
    happened.MotionSupported: _supported,
    happened.Confirmed: _confirmed,
}
"""By the event that a call logs first; Opened and Closed always follow another one."""


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
