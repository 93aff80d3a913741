"""How phases end and rounds open (7.2), and what a round's ballots decide (P3.3, 5.4).

Each function takes an experiment and returns the next one; events are added in their order.
"""

from __future__ import annotations

from dataclasses import replace

from colearn.core.events import Closed, Event, Opened
from colearn.core.experiment import Experiment, Roster, Round, seats_of
from colearn.core.phase import OUTCOME_CODES, Phase
from colearn.core.tally import Outcome, approvals_needed

__all__ = ["acted", "end_phase", "end_turn", "open_round", "settle"]

_MEMBERS_MIN = 2


def acted(roster: Roster, mask: int) -> Roster:
    """Return the roster after an act of the members in `mask`: nothing is missed any more (7.2)."""
    if not roster.missed_once & mask:
        return roster
    return replace(
        roster,
        missed_once=roster.missed_once & ~mask,
        missed_twice=roster.missed_twice & ~mask,
    )


def settle(experiment: Experiment, now: int, events: list[Event]) -> Experiment:
    """End the phase if nobody awake is awaited any more, or if the vote is decided (7.2)."""
    waiting = experiment.round.todo & ~experiment.roster.dormant
    if waiting and not _decided(experiment):
        return experiment
    return end_phase(experiment, now, events)


def end_phase(experiment: Experiment, now: int, events: list[Event]) -> Experiment:
    """End the open phase, whoever is still missing."""
    current = experiment.round
    if current.phase is Phase.CONTRIBUTE:
        if len(current.contributions) < experiment.contributions_needed:
            return _close(experiment, Outcome.NO_PROPOSAL, experiment.model, now, events)
        merging = replace(experiment, round=replace(current, phase=Phase.PROPOSE))
        return _let_propose(merging, now, events)
    if current.phase is Phase.PROPOSE:
        return end_turn(experiment, now, events)
    if current.phase is Phase.VOTE and current.commitments:
        return _open_reveal(experiment, now, events)
    return _tally(experiment, now, events)


def end_turn(experiment: Experiment, now: int, events: list[Event]) -> Experiment:
    """Take the turn from the front: the next merger has it, or the round has no proposal."""
    experiment = _without_turn(experiment, now, events)
    if experiment.phase is not Phase.PROPOSE:
        return experiment
    return _let_propose(experiment, now, events)


def open_round(experiment: Experiment, now: int, events: list[Event]) -> Experiment:
    """Open the next round, and those after it while the front of each is dormant."""
    experiment = _next_round(experiment, now, events)
    if experiment.phase is not Phase.PROPOSE:
        return experiment
    return _let_propose(experiment, now, events)


def _decided(experiment: Experiment) -> bool:
    """Say whether no further ballot can change an open vote on one candidate (S4).

    Acceptance is monotone (S3): the best that can still come is an approval of each, the worst
    a rejection of each.
    """
    current = experiment.round
    if not experiment.rules.early_close or current.phase is not Phase.VOTE or experiment.blind:
        return False
    if len(current.candidates) != 1:
        return False
    size, abstained = experiment.roster.size, current.abstainers.bit_count()
    needed = approvals_needed(experiment.rules, size, abstained)
    approvals = current.approvals[0]
    outstanding = size - 1 - current.cast - abstained
    return approvals >= needed or approvals + outstanding < needed


def _tally(experiment: Experiment, now: int, events: list[Event]) -> Experiment:
    """Accept the lowest candidate that enough others approved, or none (P3.3, 5.4)."""
    current = experiment.round
    needed = approvals_needed(
        experiment.rules, experiment.roster.size, current.abstainers.bit_count()
    )
    for candidate, approvals in zip(current.candidates, current.approvals, strict=True):
        if approvals >= needed:
            return _close(experiment, Outcome.ACCEPTED, candidate, now, events)
    return _close(experiment, Outcome.REJECTED, experiment.model, now, events)


def _open_reveal(experiment: Experiment, now: int, events: list[Event]) -> Experiment:
    committed = sum(1 << seat for seat in experiment.round.commitments)
    return _announced(experiment, Phase.REVEAL, committed, now, events)


def _close(
    experiment: Experiment, outcome: Outcome, model: str, now: int, events: list[Event]
) -> Experiment:
    return open_round(_closed(experiment, outcome, model, events), now, events)


def _closed(
    experiment: Experiment, outcome: Outcome, model: str, events: list[Event]
) -> Experiment:
    """Count the round; only one with a proposal uses up `rounds` (7.2, L4)."""
    number, front = experiment.round.number, experiment.front
    events.append(Closed(experiment.number, number, front, OUTCOME_CODES[outcome], model))
    if outcome is Outcome.NO_PROPOSAL:
        return replace(experiment, empty=experiment.empty + 1)
    streak = 0 if outcome is Outcome.ACCEPTED else experiment.streak + 1
    return replace(experiment, model=model, counted=experiment.counted + 1, streak=streak, empty=0)


def _let_propose(experiment: Experiment, now: int, events: list[Event]) -> Experiment:
    """Open PROPOSE for the front; the turn of a dormant one is over at once (7.2)."""
    while experiment.roster.dormant >> experiment.front & 1:
        experiment = _without_turn(experiment, now, events)
        if experiment.phase is not Phase.PROPOSE:
            return experiment
    return _announced(experiment, Phase.PROPOSE, 1 << experiment.front, now, events)


def _without_turn(experiment: Experiment, now: int, events: list[Event]) -> Experiment:
    """Pass the contributions to the next merger (5.2), or close the round and open the next."""
    current = experiment.round
    size = experiment.roster.size
    contributed = len(current.contributions) >= experiment.contributions_needed
    if experiment.council and contributed and current.tried < max((size - 1) // 3, 1):
        roster = replace(experiment.roster, queue=experiment.roster.queue.next())
        return replace(experiment, roster=roster, round=replace(current, tried=current.tried + 1))
    closed = _closed(experiment, Outcome.NO_PROPOSAL, experiment.model, events)
    return _next_round(closed, now, events)


def _next_round(experiment: Experiment, now: int, events: list[Event]) -> Experiment:
    """Change the roster, which happens here and only here (S6), and open a round or end it all.

    A round that begins with a proposal is not announced yet: its front may be dormant.
    """
    number = experiment.round.number
    roster = _changed_roster(experiment.roster, turn=number > 0)
    experiment = replace(experiment, roster=roster)
    if _is_over(experiment):
        over = Round(number=number, phase=Phase.OVER, todo=roster.members)
        events.append(Opened(experiment.number, number, Phase.OVER, 0, 0))
        return replace(experiment, round=over)
    opened = replace(experiment, round=Round(number=number + 1, phase=Phase.PROPOSE))
    if not opened.council:
        return opened
    return _announced(opened, Phase.CONTRIBUTE, roster.members, now, events)


def _changed_roster(roster: Roster, *, turn: bool) -> Roster:
    """Let the last proposer go to the back, newcomers behind it, leavers out (P3.1)."""
    if not turn:
        return roster
    if not roster.changed:
        return replace(roster, queue=roster.queue.next())
    given = len(roster.addresses)
    newcomers = range(roster.opened, given)
    members = roster.members & ~roster.leaving | sum(1 << seat for seat in newcomers)
    return replace(
        roster,
        queue=roster.queue.next(newcomers, seats_of(roster.leaving)),
        members=members,
        opened=given,
        leaving=0,
        changed=False,
        epoch=roster.epoch + 1,
        missed_once=roster.missed_once & members,
        missed_twice=roster.missed_twice & members,
        motions={},
    )


def _is_over(experiment: Experiment) -> bool:
    rules, size = experiment.rules, experiment.roster.size
    return (
        size < _MEMBERS_MIN
        or experiment.finish
        or 0 < rules.rounds <= experiment.counted
        or 0 < rules.patience <= experiment.streak
        or experiment.empty >= 2 * size
    )


def _announced(
    experiment: Experiment, phase: Phase, todo: int, now: int, events: list[Event]
) -> Experiment:
    """Begin a phase; its opening never ends one (7.2)."""
    lasts = {
        Phase.CONTRIBUTE: experiment.rules.contribute_s,
        Phase.PROPOSE: experiment.rules.propose_s,
        Phase.REVEAL: experiment.rules.reveal_s,
    }[phase]
    number, deadline = experiment.round.number, now + lasts
    events.append(Opened(experiment.number, number, phase, experiment.front, deadline))
    current = replace(experiment.round, phase=phase, todo=todo, deadline=deadline)
    return replace(experiment, round=current)
