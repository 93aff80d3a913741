"""The transition table: in which phases a call is possible, and what may follow a phase (7.1).

A missing entry is the refusal. Everything else of a call's conditions stands with the call.
"""

from __future__ import annotations

from collections.abc import Mapping

from colearn.core import calls
from colearn.core.experiment import Experiment
from colearn.core.phase import Phase
from colearn.core.refusal import Reason, require

__all__ = ["FOLLOWS", "POSSIBLE", "in_time"]

_RUNNING = frozenset({Phase.CONTRIBUTE, Phase.PROPOSE, Phase.VOTE, Phase.REVEAL})

POSSIBLE: Mapping[type[calls.Call], frozenset[Phase]] = {
    calls.Create: frozenset(),
    calls.Invite: frozenset({Phase.SETUP}),
    calls.Join: frozenset({Phase.SETUP}) | _RUNNING,
    calls.Start: frozenset({Phase.SETUP}),
    calls.Contribute: frozenset({Phase.CONTRIBUTE}),
    calls.Propose: frozenset({Phase.PROPOSE}),
    calls.Skip: frozenset({Phase.PROPOSE}),
    calls.Vote: frozenset({Phase.VOTE}),
    calls.Abstain: frozenset({Phase.VOTE}),
    calls.Commit: frozenset({Phase.VOTE}),
    calls.VoteMany: frozenset({Phase.VOTE}),
    calls.Reveal: frozenset({Phase.REVEAL}),
    calls.Advance: _RUNNING,
    calls.Wake: _RUNNING | {Phase.OVER},
    calls.Leave: _RUNNING,
    calls.Motion: _RUNNING,
    calls.Confirm: frozenset({Phase.OVER}),
}
"""Create makes an experiment, so no phase of one has it; wake asks for a member, not a phase, and
before the start there is none."""

_OPENINGS = frozenset({Phase.CONTRIBUTE, Phase.PROPOSE, Phase.OVER})
"""What the opening of a round leads to; OVER where there is none."""

FOLLOWS: Mapping[Phase, frozenset[Phase]] = {
    Phase.SETUP: frozenset({Phase.CONTRIBUTE, Phase.PROPOSE}),
    Phase.CONTRIBUTE: _OPENINGS,
    Phase.PROPOSE: _OPENINGS | {Phase.VOTE},
    Phase.VOTE: _OPENINGS | {Phase.REVEAL},
    Phase.REVEAL: _OPENINGS,
    Phase.OVER: frozenset(),
}
"""What may follow each phase, through the close of a round or without."""

_Timed = (
    calls.Contribute
    | calls.Propose
    | calls.Skip
    | calls.Vote
    | calls.Abstain
    | calls.Commit
    | calls.Reveal
    | calls.VoteMany
)


def in_time(experiment: Experiment, call: _Timed, now: int) -> None:
    """Refuse an act of another phase or round, or one after the deadline (7.2).

    Raises:
        RefusedError: PHASE or LATE.
    """
    current = experiment.round
    fits = current.phase in POSSIBLE[type(call)] and current.number == call.round_number
    require(fits, Reason.PHASE)
    require(now <= current.deadline, Reason.LATE)
