"""What members do in a round beside voting: contribute, propose, skip, advance, wake (7.3)."""

from __future__ import annotations

from dataclasses import replace

from colearn.core import calls
from colearn.core.bindings import proposal_key
from colearn.core.events import Awoke, Contributed, Event, Missed, Proposed, Skipped
from colearn.core.experiment import Experiment
from colearn.core.phase import Phase
from colearn.core.progress import acted, end_phase, end_turn, settle
from colearn.core.refusal import Reason, RefusedError, require
from colearn.core.transitions import POSSIBLE, in_time

__all__ = ["advance", "awaited_seat", "contribute", "member_seat", "propose", "skip", "wake"]


def awaited_seat(experiment: Experiment, sender: str) -> int:
    """Return the sender's seat, if its act is awaited: one act a member a round (S5).

    Raises:
        RefusedError: NO_MEMBER for who never had a seat; NOT_AWAITED.
    """
    seat = experiment.roster.seat_of.get(sender)
    if seat is None:
        raise RefusedError(Reason.NO_MEMBER)
    require(bool(experiment.round.todo >> seat & 1), Reason.NOT_AWAITED)
    return seat


def member_seat(experiment: Experiment, sender: str) -> int:
    """Return the sender's seat, if it is a member now.

    Raises:
        RefusedError: NO_MEMBER.
    """
    seat = experiment.roster.seat(sender)
    if seat is None:
        raise RefusedError(Reason.NO_MEMBER)
    return seat


def contribute(
    experiment: Experiment, call: calls.Contribute, sender: str, now: int, events: list[Event]
) -> Experiment:
    """Take the digest of a contribution (5.1, S9)."""
    in_time(experiment, call, now)
    require(call.parent == experiment.model, Reason.PARENT)
    seat = awaited_seat(experiment, sender)
    current = experiment.round
    events.append(Contributed(call.experiment, call.round_number, sender, call.digest))
    contributed = replace(
        experiment,
        roster=acted(experiment.roster, 1 << seat),
        round=replace(
            current,
            contributions={**current.contributions, seat: call.digest},
            todo=current.todo & ~(1 << seat),
        ),
    )
    return settle(contributed, now, events)


def propose(
    experiment: Experiment, call: calls.Propose, sender: str, now: int, events: list[Event]
) -> Experiment:
    """Take the candidates of the front, and open the vote (5.2, 7.4)."""
    in_time(experiment, call, now)
    _check_turn(experiment, sender)
    _check_candidates(experiment, call)
    key = proposal_key(call.parent, call.included, call.candidates)
    deadline = now + experiment.rules.vote_s
    front = 1 << experiment.front
    events.append(
        Proposed(
            call.experiment, call.round_number, sender, key, call.parent, call.included,
            call.candidates, call.uri, deadline,
        )
    )  # fmt: skip
    voting = replace(
        experiment.round,
        phase=Phase.VOTE,
        deadline=deadline,
        todo=experiment.roster.members & ~front,
        key=key,
        candidates=call.candidates,
        included=call.included,
        approvals=(0,) * len(call.candidates),
    )
    return replace(experiment, roster=acted(experiment.roster, front), round=voting)


def skip(
    experiment: Experiment, call: calls.Skip, sender: str, now: int, events: list[Event]
) -> Experiment:
    """End the front's turn at its own wish; an act, but no proposal (P3.6)."""
    in_time(experiment, call, now)
    _check_turn(experiment, sender)
    events.append(Skipped(call.experiment, call.round_number, sender))
    roster = acted(experiment.roster, 1 << experiment.front)
    return end_turn(replace(experiment, roster=roster), now, events)


def advance(
    experiment: Experiment, call: calls.Advance, _sender: str, now: int, events: list[Event]
) -> Experiment:
    """End a phase after its deadline; who was awaited has missed it (7.2)."""
    current, roster = experiment.round, experiment.roster
    fits = (current.number, current.phase) == (call.round_number, call.phase)
    require(fits and current.phase in POSSIBLE[calls.Advance], Reason.PHASE)
    require(now > current.deadline, Reason.EARLY)
    late = current.todo & ~roster.dormant
    events.append(Missed(call.experiment, call.round_number, call.phase, late))
    missed = replace(
        roster,
        missed_once=roster.missed_once | late,
        missed_twice=roster.missed_twice | roster.missed_once & late,
    )
    return end_phase(replace(experiment, roster=missed), now, events)


def wake(
    experiment: Experiment, call: calls.Wake, sender: str, _now: int, events: list[Event]
) -> Experiment:
    """Let a member be waited for again; that never ends a phase (7.2)."""
    mask = 1 << member_seat(experiment, sender)
    require(bool(experiment.roster.missed_once & mask), Reason.NOTHING_MISSED)
    events.append(Awoke(call.experiment, sender))
    return replace(experiment, roster=acted(experiment.roster, mask))


def _check_turn(experiment: Experiment, sender: str) -> None:
    require(experiment.roster.seat_of.get(sender) == experiment.front, Reason.TURN)


def _check_candidates(experiment: Experiment, call: calls.Propose) -> None:
    require(call.parent == experiment.model, Reason.PARENT)
    require(len(call.candidates) > 0, Reason.NO_CANDIDATE)
    contributed = 0
    if experiment.council:
        enough = call.included.bit_count() >= experiment.contributions_needed
        require(enough, Reason.TOO_FEW_INCLUDED)
        contributed = sum(1 << seat for seat in experiment.round.contributions)
    require(not call.included & ~contributed, Reason.NOT_CONTRIBUTED)
    different = len(set(call.candidates)) == len(call.candidates)
    require(different and call.parent not in call.candidates, Reason.CANDIDATES_EQUAL)
