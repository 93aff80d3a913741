"""How ballots are cast: openly, blindly, by a relay, or not at all (5.3, 7.3, 7.4)."""

from __future__ import annotations

from dataclasses import replace

from colearn.core import calls
from colearn.core.acts import awaited_seat
from colearn.core.bindings import ballot_digest, commitment
from colearn.core.events import Committed, Event, Revealed, Voted
from colearn.core.experiment import Experiment, Round
from colearn.core.phase import SEATS_MAX
from colearn.core.progress import acted, settle
from colearn.core.refusal import Reason, RefusedError, require
from colearn.core.transitions import in_time
from colearn.crypto import recover
from colearn.errors import SignatureError

__all__ = ["abstain", "commit", "reveal", "vote", "vote_many"]

_NO_NOTE = "00" * 32


def vote(
    experiment: Experiment, call: calls.Vote, sender: str, now: int, events: list[Event]
) -> Experiment:
    """Count an open ballot."""
    in_time(experiment, call, now)
    require(not experiment.blind, Reason.BLIND)
    seat = awaited_seat(experiment, sender)
    require(call.key == experiment.round.key, Reason.CANDIDATES)
    counted = _counted(experiment.round, call.not_worse, call.better)
    events.append(
        Voted(
            call.experiment, call.round_number, sender, call.not_worse, call.better, False,
            call.note,
        )
    )  # fmt: skip
    return _cast(experiment, counted, 1 << seat, now, events)


def abstain(
    experiment: Experiment, call: calls.Abstain, sender: str, now: int, events: list[Event]
) -> Experiment:
    """Take a voter out of the count, while voting is open and instead of a ballot (P3.4)."""
    in_time(experiment, call, now)
    mask = 1 << awaited_seat(experiment, sender)
    require(call.key == experiment.round.key, Reason.CANDIDATES)
    events.append(Voted(call.experiment, call.round_number, sender, 0, 0, True, _NO_NOTE))
    abstained = replace(experiment.round, abstainers=experiment.round.abstainers | mask)
    return _cast(experiment, abstained, mask, now, events)


def commit(
    experiment: Experiment, call: calls.Commit, sender: str, now: int, events: list[Event]
) -> Experiment:
    """Take the commitment to a blind ballot; no act until it is revealed (7.2, 7.4)."""
    in_time(experiment, call, now)
    require(experiment.blind, Reason.OPEN)
    seat = awaited_seat(experiment, sender)
    current = experiment.round
    events.append(Committed(call.experiment, call.round_number, sender, call.commitment))
    committed = replace(
        current,
        commitments={**current.commitments, seat: call.commitment},
        todo=current.todo & ~(1 << seat),
    )
    return settle(replace(experiment, round=committed), now, events)


def reveal(
    experiment: Experiment, call: calls.Reveal, sender: str, now: int, events: list[Event]
) -> Experiment:
    """Count a blind ballot that its commitment covers (7.4)."""
    in_time(experiment, call, now)
    seat = awaited_seat(experiment, sender)
    current = experiment.round
    opened = commitment(experiment.domain, sender, current.key, call)
    require(current.commitments.get(seat) == opened, Reason.COMMITMENT)
    counted = _counted(current, call.not_worse, call.better)
    events.append(
        Revealed(
            call.experiment, call.round_number, sender, call.not_worse, call.better, call.note,
            call.salt,
        )
    )  # fmt: skip
    return _cast(experiment, counted, 1 << seat, now, events)


def vote_many(
    experiment: Experiment, call: calls.VoteMany, _sender: str, now: int, events: list[Event]
) -> Experiment:
    """Count the ballots that a relay brings; who has acted is passed over (7.3)."""
    in_time(experiment, call, now)
    require(not experiment.blind, Reason.BLIND)
    current, done = experiment.round, 0
    for ballot in call.ballots:
        voter = _checked_voter(experiment, call, ballot)
        mask = 1 << ballot.seat
        if not current.todo & ~done & mask:
            continue
        done |= mask
        if ballot.abstain:
            current = replace(current, abstainers=current.abstainers | mask)
        else:
            current = _counted(current, ballot.not_worse, ballot.better)
        events.append(
            Voted(
                call.experiment, call.round_number, voter, ballot.not_worse, ballot.better,
                ballot.abstain, ballot.note,
            )
        )  # fmt: skip
    require(done != 0, Reason.NOTHING_NEW)
    return _cast(experiment, current, done, now, events)


def _checked_voter(experiment: Experiment, call: calls.VoteMany, ballot: calls.SignedBallot) -> str:
    """Return the address of the ballot's seat, which must have signed it.

    Raises:
        RefusedError: NO_VOTER or SIGNATURE.
    """
    voters = experiment.roster.members & ~(1 << experiment.front)
    require(ballot.seat < SEATS_MAX and bool(voters >> ballot.seat & 1), Reason.NO_VOTER)
    voter = experiment.roster.addresses[ballot.seat]
    if ballot.signature is None:
        return voter
    digest = ballot_digest(
        experiment.domain, call.experiment, call.round_number, experiment.round.key, ballot
    )
    try:
        signer = recover(digest, bytes.fromhex(ballot.signature))
    except SignatureError as error:
        raise RefusedError(Reason.SIGNATURE) from error
    require(signer == voter, Reason.SIGNATURE)
    return voter


def _counted(current: Round, not_worse: int, better: int) -> Round:
    """Add a ballot's approvals; the second mask is reserved (5.3)."""
    require(not not_worse >> len(current.candidates) and not better, Reason.MASKS)
    approvals = tuple(
        count + (not_worse >> index & 1) for index, count in enumerate(current.approvals)
    )
    return replace(current, approvals=approvals, cast=current.cast + 1)


def _cast(
    experiment: Experiment, current: Round, mask: int, now: int, events: list[Event]
) -> Experiment:
    current = replace(current, todo=current.todo & ~mask)
    roster = acted(experiment.roster, mask)
    return settle(replace(experiment, roster=roster, round=current), now, events)
