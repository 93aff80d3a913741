"""Weights of others are hostile until they were looked at (P3.5, 6.3)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from colearn.errors import ColearnError
from colearn.interface import MachineLearningInterface, ProposedWeights, Weights
from colearn.testing.check import check
from colearn.testing.failure import LearnerCheckError
from colearn.testing.malformed import edited_nodes, foreign_weights, malformed_arrays
from colearn.testing.subject import Subject, answer, current, proposal
from colearn.weights import NamedArrays

__all__ = ["CHECKS"]

_EDITS = 150
_METHODS = ("mli_test_weights", "mli_accept_weights")
_HOW = "Call colearn.weights.freeze and require_like on what comes in, before anything else."


@check("P3.5")
def foreign_weights_are_refused(subject: Subject) -> None:
    """Other names, shapes, dtypes, NaN and things that are no arrays raise a ColearnError.

    Both in `mli_test_weights` and in `mli_accept_weights`, and nothing is changed by it.
    """
    learner, proposed = subject.proposed()
    for what, foreign in foreign_weights(proposed):
        _expect_refusal(learner, foreign, what)


@check("P3.5, 6.3", growing_only=True)
def trees_of_the_model_cannot_be_taken_away(subject: Subject) -> None:
    """A proposal that has less than the model is refused, also the empty model 0."""
    learner, proposed = subject.proposed()
    empty = current(learner)
    learner.mli_accept_weights(Weights(weights=proposed))
    _expect_refusal(learner, empty, "the model without what was added to it")


@check("6.3", growing_only=True)
def edited_nodes_are_refused(subject: Subject) -> None:
    """A whole number that points where nothing is, at either end of any array, is refused.

    Children, features and ends of trees out of range kill native code. If a check makes the whole
    process stop, this is the one: run it with ``python -X faulthandler``.
    """
    learner, proposed = _grown(subject)
    for what, edited in edited_nodes(proposed):
        _expect_refusal(learner, edited, what)


@check("P3.5, 6.3")
def malformed_arrays_are_refused_or_judged(subject: Subject) -> None:
    """After random edits weights are refused by a ColearnError, or judged like any others.

    No other exception, no change, no native crash, and no approval of what has no finite score.
    """
    learner, proposed = _grown(subject)
    before = current(learner)
    good = answer(learner, proposed)
    if good is None or current(learner).data != before.data or _is_approval_of_nothing(good):
        # Other checks say so of a good proposal.
        return
    for number in range(_EDITS):
        edited = malformed_arrays(proposed, number + 1000 * subject.seed)
        try:
            with np.errstate(all="ignore"):
                judged: object = learner.mli_test_weights(Weights(weights=edited))
        except ColearnError:
            judged = None
        except Exception as error:
            raise LearnerCheckError(
                f"expected a ColearnError or a judgement of malformed_arrays(proposal, "
                f"{number + 1000 * subject.seed}), got {type(error).__name__}: {error}",
                hint=_HOW,
            ) from error
        if _is_approval_of_nothing(judged):
            raise LearnerCheckError(
                f"expected that malformed_arrays(proposal, {number + 1000 * subject.seed}) is "
                "approved with a finite score or not at all, got an approval without.",
                hint="Vote False on weights that cannot be evaluated.",
            )
    if current(learner).data != before.data:
        raise LearnerCheckError(
            "expected the current weights as they were, got others after malformed proposals.",
            hint=_HOW,
        )


def _is_approval_of_nothing(judged: object) -> bool:
    if not isinstance(judged, ProposedWeights):
        return False
    return bool(judged.vote) and not math.isfinite(judged.vote_score)


def _grown(subject: Subject) -> tuple[MachineLearningInterface, NamedArrays]:
    """Return a learner that has accepted one proposal, and a good second one."""
    learner, proposed = subject.proposed()
    other = subject.fresh(1)
    for each in (learner, other):
        each.mli_accept_weights(Weights(weights=proposed))
    return learner, proposal(other)


def _expect_refusal(learner: MachineLearningInterface, foreign: Any, what: str) -> None:
    before = current(learner)
    for method in _METHODS:
        got = _outcome(learner, method, foreign)
        if got:
            raise LearnerCheckError(
                f"expected that {method} refuses {what} by a ColearnError, got {got}.", hint=_HOW
            )
    if current(learner).data != before.data:
        raise LearnerCheckError(
            f"expected the current weights as they were, got others after {what} was refused.",
            hint="Check everything before anything is assigned.",
        )


def _outcome(learner: MachineLearningInterface, method: str, foreign: Any) -> str:
    """Return what came instead of a refusal; nothing if it was refused."""
    try:
        getattr(learner, method)(Weights(weights=foreign))
    except ColearnError:
        return ""
    except Exception as error:  # noqa: BLE001  (that is what is looked for)
        return f"{type(error).__name__}: {error}"
    return "no exception"


CHECKS = (
    foreign_weights_are_refused,
    trees_of_the_model_cannot_be_taken_away,
    edited_nodes_are_refused,
    malformed_arrays_are_refused_or_judged,
)
