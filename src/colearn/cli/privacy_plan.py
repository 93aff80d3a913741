"""What privacy will cost, computed before anything is spent."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.core import Rules, approvals_needed, exact_threshold
from colearn.errors import MissingExtraError
from colearn.interface import DiffPrivConfig, VotePrivacyConfig
from colearn.privacy import (
    Privacy,
    SampledGaussian,
    epsilon_of,
    noise_multiplier_for,
    vote_terms,
)
from colearn.privacy.power import (
    approve_probability,
    improvement_for,
    noise_to_signal,
    passes,
)
from colearn.schema import Schema

__all__ = ["Asked", "Cost", "Plan", "TrainingPlan", "VotePlan", "made_plan"]

ROWS_WARNED = 500
"""Below so many rows noise drowns what they say."""

HARM = 0.01
"""A slightly harmful proposal: the mean loss rises by this share of the clip."""

_FEATURES, _CLASSES, _SEEDS, _TEST_ROWS, _ROWS_MAX = 20, 5, 3, 2000, 20_000
"""The stand-in: Gaussian clusters, one a class, with rows up to a number that takes seconds."""

_STEPS_MAX = 3000
_TURNS_MAX = 10
_PLAIN_RATE, _PRIVATE_RATE = 0.005, 0.5
"""Each way learns at a rate that suits it: a private step is the mean of a whole batch."""
_VOTE_ROWS = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """What a plan is made for.

    Attributes:
        rows: Training rows of one learner.
        vote_rows: Vote rows of one learner.
        epsilon: Of all proposals of one learner.
        delta: Of all proposals; None for 1e-5, and 1 / (10 rows) at most.
        rounds: Rounds of the experiment.
        learners: Members of the group.
        batch_size: Rows a step takes on average; None for a tenth of them.
        steps: Steps of a proposal.
        vote_epsilon: Of all votes of one learner.
        votes: Votes that it is meant for; None for one a round.
        threshold: More than this share of the group must stand behind a proposal (P3.3).
    """

    rows: int
    vote_rows: int
    epsilon: float = 8.0
    delta: float | None = None
    rounds: int = 20
    learners: int = 5
    batch_size: int | None = None
    steps: int = 20
    vote_epsilon: float = 2.0
    votes: int | None = None
    threshold: str = "1/2"


@dataclass(frozen=True, slots=True)
class Cost:
    """What privacy costs on the stand-in.

    Attributes:
        plain: Mean test accuracy without privacy.
        private: Mean test accuracy with it.
        error: Standard error of their difference.
        rows: Training rows of the stand-in.
    """

    plain: float
    private: float
    error: float
    rows: int


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What training takes.

    Attributes:
        proposals: Turns of one learner.
        delta: The delta of all of them.
        sampling_rate: The chance of a row to be in a step.
        steps: Steps of a proposal.
        noise_multiplier: The noise, in units of the clipping bound.
        epsilons: Number of proposals, and epsilon after them; of many some are left out.
        noise_to_signal: The length of a proposal's noise over that of its gradients, at the least;
            with as many parameters as the stand-in's model.
        cost: On the stand-in; None where it would take too long.
    """

    proposals: int
    delta: float
    sampling_rate: float
    steps: int
    noise_multiplier: float
    epsilons: tuple[tuple[int, float], ...]
    noise_to_signal: float
    cost: Cost | None


@dataclass(frozen=True, slots=True)
class VotePlan:
    """What votes are worth.

    Attributes:
        votes: How many are planned.
        delta: The delta of all of them.
        e0: The epsilon of one.
        clip: Where a row's say ends, in units of loss.
        margin: In units of the clipped sum.
        approve_null: The chance that a voter approves a proposal that changes nothing.
        approve_harm: The same of one that raises the mean loss by `HARM` clips.
        needed: The mean improvement that is approved with a chance of .86 and .95, in clips.
        approvals: Approvals that the group needs.
        pass_null: The chance that a proposal that changes nothing passes the group.
        pass_harm: The same of the slightly harmful one.
    """

    votes: int
    delta: float
    e0: float
    clip: float
    margin: float
    approve_null: float
    approve_harm: float
    needed: dict[str, float]
    approvals: int
    pass_null: float
    pass_harm: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole plan.

    Attributes:
        asked: What it is for.
        training: Of proposals.
        voting: Of votes.
        warnings: What will not work well.
    """

    asked: Asked
    training: TrainingPlan
    voting: VotePlan
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as a document."""
        return asdict(self)


def made_plan(asked: Asked) -> Plan:
    """Compute what privacy will cost.

    Raises:
        ConfigError: Numbers that fit nothing.
        MissingExtraError: The extra `privacy` or `sklearn` is not installed.
    """
    warnings = [
        f"{count} {what} rows are few: under {ROWS_WARNED} the noise drowns what they say."
        for what, count in (("training", asked.rows), ("vote", asked.vote_rows))
        if count < ROWS_WARNED
    ]
    training, voting = _training(asked), _voting(asked)
    if voting.needed["0.86"] > 1:
        warnings.append("No improvement is large enough to be approved with a chance of 0.86.")
    return Plan(asked, training, voting, tuple(warnings))


def _training(asked: Asked) -> TrainingPlan:
    proposals = -(-asked.rounds // asked.learners)
    batch = asked.batch_size or max(1, asked.rows // 10)
    rate = min(1.0, batch / asked.rows)
    delta = asked.delta if asked.delta is not None else min(1e-5, 1 / (10 * asked.rows))
    noise = noise_multiplier_for(
        asked.epsilon, delta, sampling_rate=rate, count=proposals * asked.steps
    )
    return TrainingPlan(
        proposals=proposals,
        delta=delta,
        sampling_rate=rate,
        steps=asked.steps,
        noise_multiplier=noise,
        epsilons=tuple(
            (turn, epsilon_of([SampledGaussian(noise, rate, turn * asked.steps)], delta))
            for turn in sorted({round(turn) for turn in np.linspace(1, proposals, _TURNS_MAX)})
        ),
        noise_to_signal=noise_to_signal(
            noise,
            expected_batch_size=rate * asked.rows,
            parameters=_CLASSES * (_FEATURES + 1),
            steps=asked.steps,
        ),
        cost=_cost(asked, noise, rate, delta, proposals),
    )


def _voting(asked: Asked) -> VotePlan:
    votes = asked.votes or asked.rounds
    config = VotePrivacyConfig(epsilon=asked.vote_epsilon, planned_votes=votes)
    terms = vote_terms(config, asked.vote_rows)
    harm = -HARM * asked.vote_rows
    approve = [approve_probability(terms.e0, s, terms.margin) for s in (0.0, harm)]
    # The rules take their threshold as people write it (P3.3).
    rules = Rules(threshold=exact_threshold(asked.threshold))
    needed = approvals_needed(rules, asked.learners)
    passing = [passes(each, voters=asked.learners - 1, needed=needed) for each in approve]
    return VotePlan(
        votes=votes,
        delta=terms.delta,
        e0=float(terms.e0),
        clip=terms.clip,
        margin=float(terms.margin),
        approve_null=approve[0],
        approve_harm=approve[1],
        needed={
            str(chance): improvement_for(
                chance, e0=terms.e0, margin=terms.margin, units_count=asked.vote_rows
            )
            for chance in (0.86, 0.95)
        },
        approvals=needed,
        pass_null=passing[0],
        pass_harm=passing[1],
    )


def _cost(asked: Asked, noise: float, rate: float, delta: float, proposals: int) -> Cost | None:
    """Train the shipped linear learner on the stand-in, with and without privacy."""
    if proposals * asked.steps > _STEPS_MAX:
        return None
    rows = min(asked.rows, _ROWS_MAX)
    config = DiffPrivConfig(
        # The noise is that of the plan, also where the stand-in has fewer rows.
        target_epsilon=10 * asked.epsilon,
        target_delta=delta,
        max_grad_norm=1.0,
        noise_multiplier=noise * rows / asked.rows,
        expected_batch_size=max(1, round(rate * rows)),
        steps_per_proposal=asked.steps,
        planned_proposals=proposals,
        noise="simulation",
    )
    pairs = np.array([_accuracies(seed, rows, config, proposals) for seed in range(_SEEDS)])
    gaps = pairs[:, 0] - pairs[:, 1]
    error = float(gaps.std(ddof=1)) / math.sqrt(_SEEDS)
    return Cost(float(pairs[:, 0].mean()), float(pairs[:, 1].mean()), error, rows)


def _accuracies(
    seed: int, rows: int, config: DiffPrivConfig, proposals: int
) -> tuple[float, float]:
    try:
        from colearn.learners.sklearn import SklearnLearner  # noqa: PLC0415  (needs its extra)
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-learn", extra="sklearn") from error
    X, y = _stand_in(seed, rows + _TEST_ROWS + _VOTE_ROWS)
    schema = Schema.of(_FEATURES, range(_CLASSES))
    found = []
    with TemporaryDirectory(prefix="colearn-plan-") as folder:
        private = Privacy(proposals=config, directory=Path(folder), dataset="stand-in")
        for privacy in (None, private):
            learner = SklearnLearner.from_settings(
                schema,
                estimator="sklearn.linear_model:SGDClassifier",
                loss="log_loss",
                learning_rate="constant",
                eta0=_PLAIN_RATE if privacy is None else _PRIVATE_RATE,
                damping=1.0,
                train=(X[:rows], y[:rows]),
                vote=(X[-_VOTE_ROWS:], y[-_VOTE_ROWS:]),
                privacy=privacy,
                seed=seed,
            )
            for _ in range(proposals):
                learner.mli_accept_weights(learner.mli_propose_weights())
            best = learner.predictions(X[rows:-_VOTE_ROWS]).best
            found.append(float((best == y[rows:-_VOTE_ROWS]).mean()))
    return found[0], found[1]


def _stand_in(seed: int, rows: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return Gaussian clusters about centres of norm 2 on average; all of it is made up."""
    draws = np.random.default_rng(seed)
    centres = draws.normal(0, 2 / math.sqrt(_FEATURES), (_CLASSES, _FEATURES))
    y = draws.integers(0, _CLASSES, rows)
    return centres[y] + draws.normal(0, 1, (rows, _FEATURES)), y
