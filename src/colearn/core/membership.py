"""Who takes part: invitations, seats, the start, leaving, motions, the last word (7.3, 7.7)."""

from __future__ import annotations

from dataclasses import replace

from colearn.core import calls
from colearn.core.acts import awaited_seat, member_seat
from colearn.core.bindings import grown_roster, origin
from colearn.core.events import Confirmed, Event, Joined, Member, MotionSupported, Started
from colearn.core.experiment import NOBODY, Experiment, Roster
from colearn.core.phase import SEATS_MAX, MemberStatus, MotionKind, Phase
from colearn.core.progress import open_round
from colearn.core.refusal import Reason, require
from colearn.core.schedule import TurnQueue
from colearn.core.transitions import POSSIBLE

__all__ = ["confirm", "invite", "join", "leave", "motion", "start"]

_PASSED = -1
"""In place of a motion's supporters once it has passed: it cannot be supported again."""


def invite(
    experiment: Experiment, call: calls.Invite, sender: str, _now: int, events: list[Event]
) -> Experiment:
    """Let addresses join before the start."""
    _check_setup(experiment, sender)
    invited = dict(experiment.roster.invited)
    for who in call.who:
        invited[who] = MemberStatus.INVITED
        events.append(Member(call.experiment, who, MemberStatus.INVITED))
    return replace(experiment, roster=replace(experiment.roster, invited=invited))


def join(
    experiment: Experiment, call: calls.Join, sender: str, _now: int, events: list[Event]
) -> Experiment:
    """Give a seat; after the start it counts from the next round on (S6)."""
    roster, phase = experiment.roster, experiment.phase
    require(phase in POSSIBLE[calls.Join], Reason.OVER)
    setup = phase is Phase.SETUP
    right = MemberStatus.INVITED if setup else MemberStatus.ADMITTED
    require(roster.invited.get(sender) == right, Reason.NOT_INVITED)
    require(_may_sit(roster, sender, setup=setup), Reason.MEMBER_ALREADY)
    seat = len(roster.addresses)
    require(seat < SEATS_MAX, Reason.FULL)
    require(origin(call.specification, call.model) == experiment.origin, Reason.ORIGIN)
    events.append(Joined(call.experiment, sender, seat, call.moments))
    opener = {key: value for key, value in roster.opener.items() if key != sender}
    seated = replace(
        roster,
        addresses=(*roster.addresses, sender),
        seat_of={**roster.seat_of, sender: seat},
        invited={who: right for who, right in roster.invited.items() if who != sender},
        digest=grown_roster(roster.digest, sender) if setup else roster.digest,
        changed=roster.changed or not setup,
        opener=opener,
    )
    return replace(experiment, roster=seated)


def start(
    experiment: Experiment, call: calls.Start, sender: str, now: int, events: list[Event]
) -> Experiment:
    """Open round 1 with the roster that is named."""
    _check_setup(experiment, sender)
    roster = experiment.roster
    count = len(roster.addresses)
    require(count > 1, Reason.TOO_FEW)
    require(call.roster == roster.digest, Reason.ROSTER)
    events.append(Started(call.experiment, call.roster))
    seats = tuple(range(count))
    started = replace(roster, members=(1 << count) - 1, opened=count, queue=TurnQueue(seats))
    return open_round(replace(experiment, roster=started), now, events)


def leave(
    experiment: Experiment, call: calls.Leave, sender: str, _now: int, events: list[Event]
) -> Experiment:
    """Let a member go when the next round opens."""
    require(experiment.phase in POSSIBLE[calls.Leave], Reason.NOT_RUNNING)
    mask = 1 << member_seat(experiment, sender)
    require(not experiment.roster.leaving & mask, Reason.LEAVING)
    events.append(Member(call.experiment, sender, MemberStatus.LEAVING))
    return replace(experiment, roster=_without(experiment.roster, mask))


def motion(
    experiment: Experiment, call: calls.Motion, sender: str, _now: int, events: list[Event]
) -> Experiment:
    """Open a motion or stand behind it; more than two thirds pass it (7.7)."""
    require(experiment.phase in POSSIBLE[calls.Motion], Reason.NOT_RUNNING)
    seat = member_seat(experiment, sender)
    roster = experiment.roster
    require(call.target != sender, Reason.ONESELF)
    require(call.epoch == roster.epoch, Reason.EPOCH)
    require(_has_target(roster, call), Reason.TARGET)
    supporters = _supporters(roster, call, sender, seat)
    expulsion = call.kind == MotionKind.EXPEL
    passed = 3 * supporters.bit_count() > 2 * (roster.size - expulsion)
    if passed and expulsion:
        waiting = len(roster.addresses) - roster.opened
        staying = roster.size + waiting - roster.leaving.bit_count() - 1
        require(staying > 1, Reason.TWO_STAY)
    opener = roster.opener
    if supporters.bit_count() == 1:
        opener = {**opener, sender: (call.epoch, call.kind, call.target)}
    events.append(
        MotionSupported(call.experiment, sender, call.target, call.kind, call.epoch, passed)
    )
    motions = {**roster.motions, (call.kind, call.target): _PASSED if passed else supporters}
    backed = replace(experiment, roster=replace(roster, motions=motions, opener=opener))
    return _carried(backed, call, events) if passed else backed


def confirm(
    experiment: Experiment, call: calls.Confirm, sender: str, _now: int, events: list[Event]
) -> Experiment:
    """Take a member's word that it holds the final model (7.7)."""
    require(experiment.phase in POSSIBLE[calls.Confirm], Reason.NOT_OVER)
    seat = awaited_seat(experiment, sender)
    require(call.model == experiment.model, Reason.FINAL_MODEL)
    events.append(Confirmed(call.experiment, sender, call.model))
    current = experiment.round
    return replace(experiment, round=replace(current, todo=current.todo & ~(1 << seat)))


def _check_setup(experiment: Experiment, sender: str) -> None:
    require(experiment.creator == sender, Reason.CREATOR)
    require(experiment.phase in POSSIBLE[calls.Start], Reason.STARTED)


def _may_sit(roster: Roster, sender: str, *, setup: bool) -> bool:
    """Say whether the sender has no seat that counts or will count; a returning one has not."""
    old = roster.seat_of.get(sender)
    if old is None:
        return True
    return not setup and old < roster.opened and not roster.members >> old & 1


def _without(roster: Roster, mask: int) -> Roster:
    return replace(roster, leaving=roster.leaving | mask, changed=True)


def _has_target(roster: Roster, call: calls.Motion) -> bool:
    seat = roster.seat_of.get(call.target)
    member = seat is not None and bool(roster.members >> seat & 1)
    if call.kind == MotionKind.ADMIT:
        return not member and (seat is None or seat < roster.opened)
    if call.kind == MotionKind.EXPEL:
        return seat is not None and member and not roster.leaving >> seat & 1
    return call.kind == MotionKind.FINISH and call.target == NOBODY


def _supporters(roster: Roster, call: calls.Motion, sender: str, seat: int) -> int:
    """Return the supporters with the sender among them.

    Raises:
        RefusedError: SUPPORTED, or ONE_MOTION when the one it opened is still open.
    """
    before = roster.motions.get((call.kind, call.target), 0)
    require(not before >> seat & 1, Reason.SUPPORTED)
    if before == 0 and sender in roster.opener:
        epoch, kind, target = roster.opener[sender]
        settled = epoch != roster.epoch or roster.motions.get((kind, target)) == _PASSED
        require(settled, Reason.ONE_MOTION)
    return before | 1 << seat


def _carried(experiment: Experiment, call: calls.Motion, events: list[Event]) -> Experiment:
    """Do what a passed motion says; an expelled proposer finishes its round (7.7)."""
    roster = experiment.roster
    if call.kind == MotionKind.FINISH:
        return replace(experiment, finish=True)
    if call.kind == MotionKind.ADMIT:
        events.append(Member(call.experiment, call.target, MemberStatus.ADMITTED))
        invited = {**roster.invited, call.target: int(MemberStatus.ADMITTED)}
        return replace(experiment, roster=replace(roster, invited=invited))
    events.append(Member(call.experiment, call.target, MemberStatus.EXPELLED))
    mask = 1 << roster.seat_of[call.target]
    return replace(experiment, roster=_without(roster, mask))
