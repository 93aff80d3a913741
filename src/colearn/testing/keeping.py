"""Nothing but accepting changes the current weights (section 2)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from colearn.interface import MachineLearningInterface, Weights
from colearn.testing.check import check
from colearn.testing.failure import LearnerCheckError
from colearn.testing.faults import interrupted, moments
from colearn.testing.stirred import stirred
from colearn.testing.subject import Subject, answer, current, proposal, rounds_decide
from colearn.weights import NamedArrays

__all__ = ["CHECKS"]

_POINTS = 8
_COPY = "Train on copies of the arrays, and assign the result only in mli_accept_weights."


def _unchanged(learner: MachineLearningInterface, before: NamedArrays, after: str) -> None:
    now = current(learner)
    if now.data == before.data:
        return
    names = [name for name in before if name not in now or not _same(before, now, name)]
    raise LearnerCheckError(
        f"expected the current weights as they were, got other values in {names} after {after}.",
        hint=_COPY,
    )


def _same(before: NamedArrays, now: NamedArrays, name: str) -> bool:
    return before[name].shape == now[name].shape and before[name].tobytes() == now[name].tobytes()


@check("2")
def proposing_changes_nothing(subject: Subject) -> None:
    """`mli_propose_weights` leaves the current weights as they are.

    Once from model 0 and once from an accepted model.
    """
    learner = subject.fresh()
    for _ in range(2):
        before = current(learner)
        proposed = proposal(learner)
        _unchanged(learner, before, "mli_propose_weights")
        learner.mli_accept_weights(Weights(weights=proposed))


@check("2")
def testing_changes_nothing(subject: Subject) -> None:
    """`mli_test_weights` leaves the current weights and the training as they are.

    A second learner that tests nothing must make the same proposal.
    """
    learner, proposed = subject.proposed()
    control = subject.fresh()
    before = current(learner)
    for weights in (proposed, before):
        answer(learner, weights)
        _unchanged(learner, before, "mli_test_weights")
    if _same_luck(learner) != _same_luck(control):
        raise LearnerCheckError(
            "expected the proposal of a learner that tested nothing, got another one.",
            hint="Do not train, count or draw random numbers of the training while testing.",
        )


def _same_luck(learner: MachineLearningInterface) -> bytes:
    # The process's random numbers are another check's.
    with stirred(1):
        return proposal(learner).data


@check("2, P3.6")
def a_proposal_that_fails_half_way_changes_nothing(subject: Subject) -> None:
    """An error during the training leaves the current weights, and the learner goes on.

    Where `begin_round` decides the seed the next proposal is that of an undisturbed learner.
    """
    _interrupt(subject, lambda learner: learner.mli_propose_weights(), "mli_propose_weights")


@check("2, P3.4")
def a_test_that_fails_half_way_changes_nothing(subject: Subject) -> None:
    """An error during the evaluation leaves the current weights, and the learner goes on."""
    proposed = Weights(weights=proposal(subject.fresh()))
    _interrupt(subject, lambda learner: learner.mli_test_weights(proposed), "mli_test_weights")


def _interrupt(
    subject: Subject, action: Callable[[MachineLearningInterface], object], what: str
) -> None:
    sample = subject.fresh()
    before = current(sample)
    try:
        points = moments(sample, lambda: action(sample))
    except Exception:  # noqa: BLE001  (it fails by itself, which other checks report)
        return
    if current(sample).data != before.data:
        # So does this one.
        return
    if subject.sabotage is not None:
        points = list(range(_POINTS))
    expected = _repeatable(subject, sample)
    if not [point for point in points if _fails_at(subject, point, action, what, expected)]:
        raise LearnerCheckError(
            f"expected that {what} could be made to fail, got no exception at any point.",
            hint="Give a sabotage: a function from a number to a context manager inside which "
            "the learner raises.",
        )


def _fails_at(
    subject: Subject,
    point: int,
    action: Callable[[MachineLearningInterface], object],
    what: str,
    expected: bytes | None,
) -> bool:
    learner = subject.fresh()
    before, is_raised = current(learner), False
    context: AbstractContextManager[Any] = (
        interrupted(learner, point) if subject.sabotage is None else subject.sabotage(point)
    )
    try:
        with context:
            action(learner)
    except Exception:  # noqa: BLE001  (whatever the learner makes of it)
        is_raised = True
    _unchanged(learner, before, f"{what} was interrupted")
    try:
        again = _numbered(learner)
    except Exception as error:
        raise LearnerCheckError(
            f"expected that the learner can propose again, got {type(error).__name__}: {error}"
            f" after {what} was interrupted.",
            hint="Leave nothing half-done behind.",
        ) from error
    if expected is not None and again != expected:
        raise LearnerCheckError(
            f"expected the proposal of an undisturbed learner in the same round, got another one "
            f"after {what} was interrupted.",
            hint="Keep nothing of a training that failed, or say local_state = 'restarted'.",
        )
    return is_raised


def _numbered(learner: MachineLearningInterface) -> bytes:
    begin = getattr(learner, "begin_round", None)
    if begin is not None:
        begin(5)
    return _same_luck(learner)


def _repeatable(subject: Subject, used: MachineLearningInterface) -> bytes | None:
    """Return the proposal of a round; None if `used`, which was not interrupted, has another."""
    learner = subject.fresh()
    if not rounds_decide(learner):
        return None
    expected = _numbered(learner)
    return expected if _numbered(used) == expected else None


@check("2, P3.5")
def refused_weights_change_nothing(subject: Subject) -> None:
    """Weights of the right form and wrong content are refused or judged, and change nothing."""
    learner, proposed = subject.proposed()
    before = current(learner)
    for name, array in proposed.items():
        if array.dtype.kind != "f" or not array.size:
            continue
        for value in (np.nan, np.inf, np.finfo(array.dtype).max):
            answer(learner, {**proposed, name: np.full_like(array, value)})
            _unchanged(learner, before, f"testing {name} = {value}")


CHECKS = (
    proposing_changes_nothing,
    testing_changes_nothing,
    a_proposal_that_fails_half_way_changes_nothing,
    a_test_that_fails_half_way_changes_nothing,
    refused_weights_change_nothing,
)
