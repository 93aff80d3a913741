"""The attacks, carried out on learners of made-up rows: without privacy, and with it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from colearn.audit.attacks import CraftedVotes, crafted_vote_attack, membership_scores
from colearn.audit.privacy_report import PrivacyCheck
from colearn.errors import MissingExtraError
from colearn.interface import DiffPrivConfig, VotePrivacyConfig, Weights
from colearn.privacy.onerun import LowerBound, epsilon_lower_bound
from colearn.privacy.settings import Privacy
from colearn.privacy.vote import vote_terms
from colearn.schema import Schema

__all__ = ["check_membership", "check_votes", "crafted", "voter"]

_DELTA = 1e-6
_EPSILON = 2.0
_RECORDS, _FEATURES = 400, 200
_VOTERS_ROWS, _VOTE_FEATURES = 200, 4
_DEVIATIONS = 3.0
_DRAWS = 3
_VOTE_ROWS = 8


def check_membership(*, thorough: bool = False) -> PrivacyCheck:
    """Tell who was trained on by the losses under both models (Yeom et al., 2018)."""
    check = PrivacyCheck(
        "attack: membership", "the losses under a model and a proposal refute no claimed epsilon"
    )
    try:
        plain = _membership(None, _RECORDS, 0)
        for seed in range(_DRAWS):
            private = _membership(_EPSILON, _RECORDS * (5 if thorough else 1), seed)
            if private.bound <= _EPSILON:
                break
    except MissingExtraError as error:
        check.done, check.detail = False, str(error)
        return check
    check.detail = (
        f"AUC {plain.auc:.3f} without privacy, {private.auc:.3f} +- {private.auc_error:.3f} at "
        f"epsilon {_EPSILON:g}, which is at least {private.bound:.2f}"
    )
    check.numbers = {
        "auc without privacy": plain.auc,
        "auc": private.auc,
        "auc error": private.auc_error,
        "lower bound": private.bound,
        "claimed epsilon": _EPSILON,
    }
    if private.bound > _EPSILON:
        check.findings.append(
            f"epsilon is at least {private.bound:.2f}, and {_EPSILON:g} is claimed"
        )
    return check


def check_votes(trials: int) -> PrivacyCheck:
    """Ask learners by one crafted proposal whether they have a record."""
    check = PrivacyCheck(
        "attack: crafted vote", "a vote on a crafted proposal tells no more of a record than e0"
    )
    config = VotePrivacyConfig(epsilon=_EPSILON, delta=_DELTA)
    e0 = float(vote_terms(config, _VOTERS_ROWS).e0)
    limit = 1 / (1 + math.exp(-e0))
    try:
        exact = _votes(None, 20, 0)
        for seed in range(_DRAWS):
            private = _votes(config, trials, seed)
            if private.accuracy <= limit + _DEVIATIONS * private.error:
                break
    except MissingExtraError as error:
        check.done, check.detail = False, str(error)
        return check
    check.detail = (
        f"right in {exact.accuracy:.0%} of {exact.trials} exact votes, in {private.accuracy:.1%} "
        f"of {private.trials} private ones; at e0 {e0:.3f} at most {limit:.1%} are expected"
    )
    check.numbers = {
        "exact": exact.accuracy,
        "private": private.accuracy,
        "private error": private.error,
        "limit": limit,
    }
    if private.accuracy > limit + _DEVIATIONS * private.error:
        check.findings.append(
            f"{private.accuracy:.1%} of guesses are right, and e0 {e0:.3f} allows {limit:.1%}"
        )
    return check


def voter(privacy: Callable[[], Privacy | None], rows: int = _VOTERS_ROWS) -> Callable[[bool], Any]:
    """Return what makes learners whose vote rows have, or have not, the one record attacked.

    The record is the only row with anything but 0 in the last column.

    Args:
        privacy: Called for each learner.
        rows: Vote rows beside that record.

    Raises:
        MissingExtraError: The extra `sklearn` is not installed.
    """
    from colearn.learners import SklearnLearner  # noqa: PLC0415  (needs its extra)

    draws = np.random.default_rng(0)
    X = np.zeros((rows + 2, _VOTE_FEATURES))
    X[:, :-1] = draws.normal(size=(rows + 2, _VOTE_FEATURES - 1))
    y = (X[:, 0] > 0).astype(int)
    target = np.zeros((1, _VOTE_FEATURES))
    target[0, -1] = 1.0

    def make(included: bool) -> Any:  # noqa: FBT001  (as `crafted_vote_attack` calls it)
        own = (np.vstack([X[2:], target]), np.append(y[2:], 1))
        return SklearnLearner.from_settings(
            Schema.of(_VOTE_FEATURES, range(2)),
            estimator="sklearn.linear_model:SGDClassifier",
            loss="log_loss",
            train=(X[:2], y[:2]),
            vote=own if included else (X[2:], y[2:]),
            balanced=False,
            privacy=privacy(),
        )

    return make


def crafted() -> Weights:
    """Return the model 0 of these learners, changed for that record alone, and in its favour."""
    coef = np.zeros((1, _VOTE_FEATURES))
    coef[0, -1] = 8.0
    return Weights(weights={"coef": coef, "intercept": np.zeros(1)})


def _votes(config: VotePrivacyConfig | None, trials: int, seed: int) -> CraftedVotes:
    # Thousands of records are synchronized to disk, unless memory is at hand.
    memory = Path("/dev/shm")  # noqa: S108  (a new folder in it)
    place = memory if os.access(memory, os.W_OK) else None
    with TemporaryDirectory(prefix="colearn-audit-", dir=place) as folder:
        names = count()

        def privacy() -> Privacy | None:
            if config is None:
                return None
            return Privacy(votes=config, directory=Path(folder), dataset=f"trial-{next(names)}")

        return crafted_vote_attack(voter(privacy), crafted(), trials=trials, seed=seed)


def _membership(epsilon: float | None, records: int, seed: int) -> LowerBound:
    """Train on a random half of records whose labels are noise, and guess which half it was."""
    from colearn.learners import SklearnLearner  # noqa: PLC0415  (needs its extra)

    draws = np.random.default_rng(seed)
    X, y = (
        draws.normal(size=(records + _VOTE_ROWS, _FEATURES)),
        draws.integers(0, 2, records + _VOTE_ROWS),
    )
    included = draws.random(records) < 0.5
    with TemporaryDirectory(prefix="colearn-audit-") as folder:
        privacy = None
        if epsilon is not None:
            config = DiffPrivConfig(
                target_epsilon=epsilon,
                target_delta=_DELTA,
                max_grad_norm=1.0,
                expected_batch_size=records // 4,
                steps_per_proposal=20,
                planned_proposals=1,
            )
            privacy = Privacy(proposals=config, directory=Path(folder), dataset="records")
        learner = SklearnLearner.from_settings(
            Schema.of(_FEATURES, range(2)),
            estimator="sklearn.linear_model:SGDClassifier",
            loss="log_loss",
            learning_rate="constant",
            eta0=0.1,
            damping=1.0,
            epochs=20,
            train=(X[:-_VOTE_ROWS][included], y[:-_VOTE_ROWS][included]),
            vote=(X[-_VOTE_ROWS:], y[-_VOTE_ROWS:]),
            privacy=privacy,
        )
        before = learner.mli_get_current_weights()
        after = learner.mli_propose_weights()
        scores = membership_scores(learner, before, after, X[:-_VOTE_ROWS], y[:-_VOTE_ROWS])
    return epsilon_lower_bound(scores, included, _DELTA)
