"""Alone, pooled and together: what joining is worth, on one common test set."""

from __future__ import annotations

import math
import statistics
import tempfile
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from colearn.core import Outcome
from colearn.errors import ColearnWarning, ConfigError, LearnerError
from colearn.experiment.collective import Collective
from colearn.experiment.plan import Plan
from colearn.interface import MachineLearningInterface, Weights
from colearn.weights import NamedArrays

__all__ = ["Alone", "Comparison", "compare", "compare_model"]

EARLY_PATIENCE = 5
"""Proposals in a row without a lower vote loss, after which a learner alone stops."""

EARLY_PROPOSALS_MAX = 200
"""A bound on the same, for a loss that falls for ever."""


@dataclass(frozen=True, slots=True)
class Alone:
    """One learner by itself.

    Attributes:
        name: The learner.
        rows: How many rows it has.
        lies: Whether it lies in the collective; alone, everybody is honest to itself.
        alone: Test score after as many proposals as it has turns in the collective, trained on
            its training and vote rows, undamped, without a vote.
        early: Test score of the best model by vote loss, trained on its training rows until that
            loss has not fallen for five proposals.
        gain: What joining adds to `alone`.
    """

    name: str
    rows: int
    lies: bool
    alone: float
    early: float
    gain: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Alone, pooled and together.

    Attributes:
        together: The collective's model.
        pooled: One learner with everybody's rows and as many proposals as there were rounds.
        learners: Each learner alone.
        test_rows: Rows of the common test set all scores are of.
    """

    together: float
    pooled: float
    learners: tuple[Alone, ...]
    test_rows: int

    @property
    def best_alone(self) -> float:
        """The best score of a learner alone."""
        return max(each.alone for each in self.learners)

    @property
    def mean_alone(self) -> float:
        """The mean score of the learners alone."""
        return statistics.fmean(each.alone for each in self.learners)

    @property
    def worst(self) -> Alone:
        """The learner that gains least by joining."""
        return min(self.learners, key=lambda each: each.gain)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(document: Any) -> Comparison:
        """Read what `to_dict` returned.

        Raises:
            ConfigError: It is something else.
        """
        try:
            learners = tuple(Alone(**each) for each in document["learners"])
            return Comparison(**{**document, "learners": learners})
        except (TypeError, KeyError) as error:
            raise ConfigError(f"Expected a comparison, got {str(document)[:80]!r}.") from error


def compare(plan: Plan, run: Collective) -> Comparison:
    """Train every learner alone and one with all rows, and put their scores beside the group's.

    Args:
        plan: The experiment.
        run: Its collective, after its last round.
    """
    accepted = any(record.outcome is Outcome.ACCEPTED for record in run.records_)
    return compare_model(plan, len(run.records_), run.weights_ if accepted else None)


def compare_model(plan: Plan, rounds: int, weights: NamedArrays | None) -> Comparison:
    """Do the same for a group whose model is given, wherever it was trained.

    Args:
        plan: The experiment.
        rounds: How many rounds the group had.
        weights: Its model; None where none was accepted.
    """
    turns = max(1, rounds // len(plan.names))
    with warnings.catch_warnings():
        # A learner alone has the rows it has; the group has warned of few vote rows already.
        warnings.simplefilter("ignore", ColearnWarning)
        together = _together(plan, weights)
        with tempfile.TemporaryDirectory(prefix="colearn-") as place:
            # Under privacy each of them spends a budget of its own, as if it were alone.
            plan = replace(plan, spends=Path(place))
            count = range(len(plan.names))
            learners = tuple(_alone(plan, each, turns, together) for each in count)
            pooled = _pooled(plan, rounds)
    return Comparison(together, pooled, learners, len(plan.division.test))


def _together(plan: Plan, weights: NamedArrays | None) -> float:
    site = plan.division.sites[0]
    judge = plan.honest(site.train, site.vote, plan.names[0])
    if weights is not None:
        judge.mli_accept_weights(Weights(weights=weights))
    return _test_score(judge)


def _alone(plan: Plan, place: int, turns: int, together: float) -> Alone:
    site, name = plan.division.sites[place], plan.names[place]
    everything = np.concatenate([site.train, site.vote])
    private = plan.comparable(f"{name}-alone", everything, turns)
    learner = plan.honest(everything, site.vote, name, **_undamped(plan), **private)
    _train(learner, turns)
    alone = _test_score(learner)
    private = plan.comparable(f"{name}-early", site.train, turns)
    learner = plan.honest(site.train, site.vote, name, **_undamped(plan), **private)
    early = _early_stopped(learner)
    return Alone(name, len(everything), name in plan.liars, alone, early, together - alone)


def _early_stopped(learner: MachineLearningInterface) -> float:
    loss, score, waited = _vote_loss(learner), _test_score(learner), 0
    for _ in range(EARLY_PROPOSALS_MAX):
        if not _train(learner, 1):
            break
        new_loss = _vote_loss(learner)
        if new_loss < loss:
            loss, score, waited = new_loss, _test_score(learner), 0
        else:
            waited += 1
        if waited >= EARLY_PATIENCE:
            break
    return score


def _pooled(plan: Plan, proposals: int) -> float:
    rows = plan.division.pooled
    private = plan.comparable("pooled", rows, proposals)
    vote = plan.division.sites[0].vote
    learner = plan.honest(rows, vote, "pooled", **_undamped(plan), **private)
    _train(learner, proposals)
    return _test_score(learner)


def _train(learner: MachineLearningInterface, proposals: int) -> int:
    """Propose and accept in turn; return how often, since a learner may run out of rows."""
    for done in range(proposals):
        try:
            proposal = learner.mli_propose_weights()
        except LearnerError:
            return done
        summary = proposal.training_summary
        if summary is not None and summary.error_code is not None:
            return done
        learner.mli_accept_weights(proposal)
    return proposals


def _undamped(plan: Plan) -> dict[str, float]:
    return {"damping": 1.0} if plan.config.learner.use.startswith("colearn.") else {}


def _vote_loss(learner: MachineLearningInterface) -> float:
    judge = getattr(learner, "judge_current", None)
    if judge is not None:
        return float(judge().losses.mean())
    return -learner.mli_test_weights(learner.mli_get_current_weights()).vote_score


def _test_score(learner: MachineLearningInterface) -> float:
    score = learner.mli_test_weights(learner.mli_get_current_weights()).test_score
    return math.nan if score is None else score
