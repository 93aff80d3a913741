"""The numbers that calls and events carry: phases, outcomes, what became of a member, motions."""

from __future__ import annotations

from enum import IntEnum

from colearn.core.tally import Outcome

__all__ = [
    "OUTCOMES",
    "OUTCOME_CODES",
    "SEATS_MAX",
    "MemberStatus",
    "MotionKind",
    "Phase",
]

SEATS_MAX = 256
"""Seats an experiment ever gives; none is given twice (6.4)."""


class Phase(IntEnum):
    """Where a round stands (7.1). Six is left for a phase that attests contributions (5.4)."""

    SETUP = 0
    CONTRIBUTE = 1
    PROPOSE = 2
    VOTE = 3
    REVEAL = 4
    OVER = 5


class MemberStatus(IntEnum):
    """What an event says of a member."""

    INVITED = 1
    """By the creator, before the start."""

    ADMITTED = 2
    """By a motion, afterwards."""

    JOINED = 3
    LEAVING = 4
    EXPELLED = 5


class MotionKind(IntEnum):
    """What a motion is for (7.7)."""

    ADMIT = 1
    EXPEL = 2
    FINISH = 3


OUTCOME_CODES = {Outcome.ACCEPTED: 1, Outcome.REJECTED: 2, Outcome.NO_PROPOSAL: 3}
OUTCOMES = {code: outcome for outcome, code in OUTCOME_CODES.items()}
