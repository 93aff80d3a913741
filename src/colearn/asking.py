"""How a learner is asked: whatever it answers or raises becomes an outcome, never a crash (P3.4).

The minimal driver and the nodes of a ledger read a learner's answers by these functions alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from colearn.core import Ballot
from colearn.interface import MachineLearningInterface, ProposedWeights, Weights
from colearn.weights import NamedArrays

__all__ = [
    "NoProposalError",
    "all_grow",
    "are_arrays",
    "ballot_of",
    "monitored_by",
    "proposal_of",
    "said",
    "votes_privately",
]

# An enum's member is looked up by name each time, and this one is needed for most voters.
_APPROVE = Ballot.APPROVE


_MONITORED_MAX = 100
"""Monitored metrics of one learner, and characters in the name of one."""


class NoProposalError(Exception):
    """The proposer's turn is over without a proposal (P3.6)."""


def proposal_of(learner: MachineLearningInterface) -> Weights:
    """Let the proposer train and return what it proposes.

    Raises:
        NoProposalError: It answered something else, or with an error code (P3.5). What the
            learner itself raises passes through.
    """
    proposed = learner.mli_propose_weights()
    if not isinstance(proposed, Weights):
        raise NoProposalError(f"expected Weights, got {type(proposed).__name__}")
    summary = proposed.training_summary
    if summary is not None and summary.error_code is not None:
        raise NoProposalError(summary.error_code.name)
    return proposed


def are_arrays(weights: Any) -> bool:
    """Say whether weights are a dict of numpy arrays."""
    if type(weights) is NamedArrays:
        return True
    # The method of dict itself: a subclass may answer what it likes.
    return isinstance(weights, dict) and all(
        isinstance(array, np.ndarray) for array in dict.values(weights)
    )


def all_grow(learners: Iterable[MachineLearningInterface]) -> bool:
    """Say whether every learner declares that its family adds to its arrays (P3.5)."""
    return all(getattr(learner, "grows", False) is True for learner in learners)


def votes_privately(learner: MachineLearningInterface) -> bool:
    """Say whether a learner declares that its votes come from a private mechanism."""
    return getattr(learner, "votes_privately", False) is True


def ballot_of(answer: object, *, scored: bool = True) -> Ballot | None:
    """Return what an answer counts as; whatever is not clear is no approval (P3.4, P3.7).

    None stands for an answer that says nothing that counts, so that it is no entry either: no
    ProposedWeights, scores that are no numbers, a vote that is none, an approval without a score.

    Args:
        answer: What the learner returned.
        scored: Whether an approval needs a score; a private vote publishes none.
    """
    if not isinstance(answer, ProposedWeights):
        return None
    vote: object = answer.vote
    score: object = answer.vote_score
    test_score: object = answer.test_score
    if not isinstance(score, float) or not (test_score is None or isinstance(test_score, float)):
        return None
    if vote is True:
        # NaN is the one float that differs from itself.
        return _APPROVE if score == score or not scored else None  # noqa: PLR0124
    if vote is False:
        return Ballot.REJECT
    return Ballot.ABSTAIN if vote is None else None


def monitored_by(learner: MachineLearningInterface) -> dict[str, float | None]:
    """Return what a learner monitors of the weights it tested last; nothing where it says none.

    The optional attribute ``monitored`` is a mapping of names to floats; of anything else in it
    nothing is taken. A name is kept up to 100 characters, and so are as many of them.
    """
    found = getattr(learner, "monitored", None)
    if not isinstance(found, Mapping):
        return {}
    return {
        name: float(value)
        for name, value in islice(found.items(), _MONITORED_MAX)
        if isinstance(name, str) and len(name) <= _MONITORED_MAX and isinstance(value, float)
    }


def said(error: BaseException) -> str:
    """Return the error's text; a foreign class may fail even at that."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001
        return "an error without a text"
