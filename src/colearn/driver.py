"""The minimal driver: one round among learners in one process, no ledger and no network.

`run_one_round` is the original call (P3.7). `conduct_round` is the same round with a full report,
for drivers that decide for themselves whose turn it is.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from colearn.asking import (
    NoProposalError,
    all_grow,
    are_arrays,
    ballot_of,
    proposal_of,
    said,
    votes_privately,
)
from colearn.core import Ballot, Outcome, Rules, Tally, Threshold, exact_threshold
from colearn.errors import ConfigError, WeightsError
from colearn.interface import (
    MachineLearningInterface,
    ProposedWeights,
    Weights,
    require_within,
)
from colearn.weights import (
    DEFAULT_LIMITS,
    WeightsLimits,
    form_of,
    freeze,
    require_like,
)

__all__ = ["RoundReport", "conduct_round", "run_one_round"]

_log = logging.getLogger("colearn.driver")
_log.addHandler(logging.NullHandler())


@dataclass(slots=True)
class RoundReport:
    """What happened in one round.

    Attributes:
        proposer: The proposer's place among the learners.
        outcome: Accepted, rejected or no proposal.
        reason: Why there is no proposal, or why it was rejected before any vote; else empty.
        checked: Whether the proposal was named arrays and passed the checks of P3.5; what is not
            named arrays passes unchecked in the minimal driver alone (P3.7).
        proposal: What was voted on; None without a proposal.
        entries: One judgement per learner, in order; the proposer's has no vote.
        ballots: What each learner's entry counts as; None for the proposer.
        tally: The count; None where nobody voted.
        failures: What a learner raised, by its place among the learners; the last error wins.
    """

    proposer: int
    outcome: Outcome
    reason: str = ""
    checked: bool = False
    proposal: Weights | None = None
    entries: list[ProposedWeights] = field(default_factory=list)
    ballots: list[Ballot | None] = field(default_factory=list)
    tally: Tally | None = None
    failures: dict[int, BaseException] = field(default_factory=dict)


class _Proposal(NamedTuple):
    weights: Weights
    checked: bool


def run_one_round(
    round_index: int,
    learners: Sequence[MachineLearningInterface],
    vote_threshold: Threshold = Fraction(1, 2),
) -> tuple[list[ProposedWeights], bool]:
    """Let learner ``round_index % n`` propose, the others vote, and all accept if enough approve.

    Args:
        round_index: Counts from 0 (P3.6).
        learners: The group; any objects with the five methods of the interface.
        vote_threshold: t of P3.3; a float means its shortest decimal.

    Returns:
        One entry per learner in order, the proposer's with ``vote=None``, and whether the
        proposal was accepted. A learner that failed has vote_score NaN and vote None; so has
        everybody when there was nothing to vote on.

    Raises:
        ConfigError: (a ValueError) no learners, the same object twice, or a threshold that is no
            number from 0 to 1; before anybody trains. An error inside a learner is not raised.
    """
    rules = Rules(exact_threshold(vote_threshold))
    group = list(learners)
    if not group:
        raise ConfigError("A round needs at least one learner, got none.")
    report = conduct_round(group, round_index % len(group), rules)
    return report.entries, report.outcome is Outcome.ACCEPTED


def conduct_round(
    learners: Sequence[MachineLearningInterface],
    proposer: int,
    rules: Rules,
    *,
    arrays_only: bool = False,
    limits: WeightsLimits = DEFAULT_LIMITS,
) -> RoundReport:
    """Run the round in which the learner at place `proposer` has the turn (P3.2 to P3.7).

    Args:
        learners: The group, at least one, all different objects.
        proposer: Whose turn it is.
        rules: The experiment's rules.
        arrays_only: Whether a proposal must be named arrays (all drivers but the minimal one).
        limits: What a proposal may carry.

    Raises:
        ConfigError: The same object twice. KeyboardInterrupt and SystemExit pass through.
    """
    if len({id(learner) for learner in learners}) != len(learners):
        raise ConfigError("The same learner object is in the group twice.")
    report = RoundReport(proposer, Outcome.NO_PROPOSAL)
    try:
        proposed = proposal_of(learners[proposer])
        model = learners[proposer].mli_get_current_weights().weights
    except (KeyboardInterrupt, SystemExit):
        raise
    # Panics of native extensions derive from BaseException, and must not end the round either.
    except BaseException as error:  # noqa: BLE001
        return _without_proposal(report, learners, error)
    try:
        proposal = _checked(proposed, model, learners, arrays_only=arrays_only, limits=limits)
    except (KeyboardInterrupt, SystemExit):
        raise
    # What a proposal made of foreign objects raises when it is looked at is its own fault.
    except BaseException as error:  # noqa: BLE001
        report.outcome = Outcome.REJECTED
        if not isinstance(error, WeightsError):
            _note_failure(report, proposer, "made a proposal that cannot be checked", error)
        return _unvoted(report, learners, said(error))
    report.proposal, report.checked = proposal
    _collect(learners, report, proposal.weights)
    votes = report.ballots
    report.tally = Tally(
        rules,
        len(learners),
        votes.count(Ballot.APPROVE),
        votes.count(Ballot.REJECT),
        votes.count(Ballot.ABSTAIN),
    )
    report.outcome = report.tally.outcome
    if report.outcome is Outcome.ACCEPTED:
        _accept(learners, report, proposal.weights)
    return report


def _checked(
    proposed: Weights,
    asked_model: Any,
    learners: Sequence[MachineLearningInterface],
    *,
    arrays_only: bool,
    limits: WeightsLimits,
) -> _Proposal:
    """Copy named arrays once into immutable memory and check them against the model (P3.5)."""
    summary = proposed.training_summary
    if summary is not None and summary.dp_budget is not None:
        require_within(summary.dp_budget)
    arrays, model = proposed.weights, asked_model
    if not are_arrays(arrays):
        if arrays_only or are_arrays(model):
            raise WeightsError(f"Expected a dict of numpy arrays, got {type(arrays).__name__}.")
        return _Proposal(proposed, checked=False)
    if not are_arrays(model):
        raise WeightsError(f"The proposer's model is no named arrays: {type(model).__name__}.")
    form = form_of(model, limits)
    frozen = freeze(arrays, limits=limits, like=form)
    if frozen.layout is not form:
        require_like(frozen.layout, form, grows=all_grow(learners))
    return _Proposal(Weights(weights=frozen, training_summary=summary), checked=True)


def _collect(
    learners: Sequence[MachineLearningInterface], report: RoundReport, weights: Weights
) -> None:
    """Ask every learner to judge the proposal; an error costs only its own vote (P3.4, P3.7)."""
    entries: list[ProposedWeights] = []
    ballots: list[Ballot | None] = []
    for place, learner in enumerate(learners):
        try:
            entry = learner.mli_test_weights(weights)
            ballot = ballot_of(entry, scored=not votes_privately(learner))
            # Its proposal is the proposer's approval (P3.2): a vote of its own would count twice.
            if place == report.proposer and ballot not in (None, Ballot.ABSTAIN):
                entry = _without_vote(entry)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (as in conduct_round)
            _note_failure(report, place, "did not vote", error)
            ballot = None
        if ballot is None:
            entry, ballot = _silence(weights), Ballot.SILENT
        entries.append(entry)
        ballots.append(ballot)
    ballots[report.proposer] = None
    report.entries, report.ballots = entries, ballots


def _accept(
    learners: Sequence[MachineLearningInterface], report: RoundReport, weights: Weights
) -> None:
    for place, learner in enumerate(learners):
        try:
            learner.mli_accept_weights(weights)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (as in conduct_round)
            _note_failure(report, place, "did not accept", error)


def _without_proposal(
    report: RoundReport, learners: Sequence[MachineLearningInterface], error: BaseException
) -> RoundReport:
    if isinstance(error, NoProposalError):
        return _unvoted(report, learners, said(error))
    _note_failure(report, report.proposer, "made no proposal", error)
    return _unvoted(report, learners, f"{type(error).__name__}: {said(error)}")


def _unvoted(
    report: RoundReport, learners: Sequence[MachineLearningInterface], reason: str
) -> RoundReport:
    """Complete the report of a round in which nobody was asked to vote."""
    report.reason = reason
    nothing = Weights(weights=None)
    report.entries = [_silence(nothing) for _ in learners]
    report.ballots = [None] * len(learners)
    return report


def _silence(weights: Weights) -> ProposedWeights:
    return ProposedWeights(weights=weights, vote_score=math.nan)


def _without_vote(entry: ProposedWeights) -> ProposedWeights:
    return ProposedWeights(
        weights=entry.weights, vote_score=entry.vote_score, test_score=entry.test_score
    )


def _note_failure(report: RoundReport, place: int, what: str, error: BaseException) -> None:
    report.failures[place] = error
    _log.warning("learner %d %s: %s: %s", place, what, type(error).__name__, said(error))
