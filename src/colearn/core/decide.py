"""What is due: from the state, who one is, and the time to the next thing to do (7.2).

The shell of a node does what this says, and nothing of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from colearn.core.experiment import Experiment
from colearn.core.phase import MemberStatus, Phase

__all__ = ["Due", "Duty", "decide"]


class Duty(StrEnum):
    """What a node may have to do."""

    WAIT = "wait"
    JOIN = "join"
    WAKE = "wake"
    CONTRIBUTE = "contribute"
    PROPOSE = "propose"
    VOTE = "vote"
    REVEAL = "reveal"
    ADVANCE = "advance"
    CONFIRM = "confirm"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Due:
    """What to do now.

    Attributes:
        duty: What.
        until: Until when it can be done, or for `WAIT` when to ask again even if nothing has
            happened; seconds since 1970, None for no limit.
    """

    duty: Duty
    until: int | None = None


_OF_PHASE = {
    Phase.CONTRIBUTE: Duty.CONTRIBUTE,
    Phase.PROPOSE: Duty.PROPOSE,
    Phase.VOTE: Duty.VOTE,
    Phase.REVEAL: Duty.REVEAL,
}


def decide(experiment: Experiment, me: str, now: int) -> Due:
    """Return what is due for the address `me` at `now`.

    A member that has missed a deadline wakes only where it would not act anyway, as every act
    ends dormancy. Anybody may advance, members do.
    """
    seat, phase = experiment.roster.seat(me), experiment.phase
    if phase is Phase.SETUP:
        return Due(Duty.JOIN if _may_join(experiment, me) else Duty.WAIT)
    if phase is Phase.OVER:
        awaited = seat is not None and experiment.round.todo >> seat & 1
        return Due(Duty.CONFIRM if awaited else Duty.DONE)
    return _outside(experiment, me) if seat is None else _inside(experiment, seat, now)


def _may_join(experiment: Experiment, me: str) -> bool:
    roster = experiment.roster
    return me in roster.invited and me not in roster.seat_of


def _inside(experiment: Experiment, seat: int, now: int) -> Due:
    """Say what is due for a member of a running experiment."""
    current = experiment.round
    if now > current.deadline:
        return Due(Duty.ADVANCE)
    if current.todo >> seat & 1:
        return Due(_OF_PHASE[current.phase], current.deadline)
    if experiment.roster.missed_once >> seat & 1:
        return Due(Duty.WAKE)
    return Due(Duty.WAIT, current.deadline + 1)


def _outside(experiment: Experiment, me: str) -> Due:
    """Say what is due for who is no member of a running experiment."""
    if experiment.roster.invited.get(me) == MemberStatus.ADMITTED:
        return Due(Duty.JOIN)
    seat = experiment.roster.seat_of.get(me)
    gone = seat is not None and seat < experiment.roster.opened
    return Due(Duty.DONE if gone else Duty.WAIT)
