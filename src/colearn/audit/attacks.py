"""Attacks on what a learner publishes: who was in its training rows, and who in its vote rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError
from colearn.interface import Weights

__all__ = ["CraftedVotes", "crafted_vote_attack", "membership_scores"]


def membership_scores(
    learner: Any, before: Weights, after: Weights, X: npt.ArrayLike, y: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Return by how much each row's loss fell from one model to the next, (rows,).

    Rows that were trained on tend to fall further (Yeom et al., 2018). Everybody who sees both
    models can compute this. `auc_of` says how well it tells members apart.

    Args:
        learner: Evaluates; of the same kind as the one attacked, with rows of its own. It ends
            with `before` as its model.
        before: The model that the training began with.
        after: What it proposed.
        X: The rows in question.
        y: Their class indices, or values, (rows,).
    """
    losses = []
    for weights in (after, before):
        learner.mli_accept_weights(weights)
        losses.append(learner.predictions(X).losses(y))
    return np.asarray(losses[1] - losses[0], np.float64)


@dataclass(frozen=True, slots=True)
class CraftedVotes:
    """How often crafted votes told whether a record was there.

    Attributes:
        accuracy: The share of right guesses; an abstention is a guess by a coin.
        error: Its standard error under guessing, which is what privacy is held against.
        trials: How many learners were asked.
    """

    accuracy: float
    error: float
    trials: int


def crafted_vote_attack(
    make_learner: Callable[[bool], Any], crafted: Weights, *, trials: int, seed: int = 0
) -> CraftedVotes:
    """Ask learners to vote on a proposal that is better for one record and for nobody else.

    A learner that votes by its exact losses approves it if it has the record, and rejects it if it
    has not. So the attacker takes an approval for "has it".

    Args:
        make_learner: Makes a learner anew, with the record among its vote rows or without. One
            that votes privately needs a record of spends of its own each time.
        crafted: The proposal.
        trials: How many learners are asked, each with or without by a fair coin.
        seed: Of these coins.

    Raises:
        ConfigError: Fewer than one trial.
    """
    if trials < 1:
        raise ConfigError(f"Expected at least one trial, got {trials}.")
    coins = np.random.default_rng(seed)
    right = 0.0
    for included in coins.random(trials) < 0.5:
        vote = make_learner(bool(included)).mli_test_weights(crafted).vote
        right += 0.5 if vote is None else float(vote == included)
    return CraftedVotes(right / trials, 0.5 / math.sqrt(trials), trials)
