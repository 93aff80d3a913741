"""What a learner answers, and what it does with what it was given (section 2, P3.4, P3.7)."""

from __future__ import annotations

import math

import numpy as np

from colearn.errors import ColearnError
from colearn.interface import ColearnModel, ProposedWeights, Weights
from colearn.testing.check import check
from colearn.testing.failure import LearnerCheckError
from colearn.testing.subject import Subject, answer, proposal, read_only

__all__ = ["CHECKS"]


@check("2, P3.4, P3.7")
def judgements_count(subject: Subject) -> None:
    """`mli_test_weights` answers with a vote that is True, False or None, and float scores.

    A score is finite or NaN; an approval has a score, or it counts as silence.
    """
    learner, proposed = subject.proposed()
    hint = "Return ProposedWeights(weights=weights, vote_score=float, vote=True or False)."
    try:
        judged: object = learner.mli_test_weights(Weights(weights=proposed))
    except Exception as error:
        raise LearnerCheckError(
            f"expected a judgement of a good proposal, got {type(error).__name__}: {error}",
            hint=hint,
        ) from error
    if not isinstance(judged, ProposedWeights):
        raise LearnerCheckError(
            f"expected ProposedWeights, got {type(judged).__name__}.", hint=hint
        )
    if judged.vote is not None and type(judged.vote) is not bool:
        raise LearnerCheckError(
            f"expected a vote of True, False or None, got {judged.vote!r}.", hint=hint
        )
    for name in ("vote_score", "test_score"):
        score = getattr(judged, name)
        if score is None and name == "test_score":
            continue
        if not isinstance(score, float) or math.isinf(score):
            raise LearnerCheckError(
                f"expected a {name} that is a finite float or NaN, got {score!r}.", hint=hint
            )
    if judged.vote and math.isnan(judged.vote_score):
        raise LearnerCheckError(
            "expected a score of a proposal that is approved, got NaN.",
            hint="An approval without a score counts as silence: vote False or None.",
        )


@check("P3.7")
def what_is_given_is_not_written_to(subject: Subject) -> None:
    """Neither testing nor accepting and training on writes into the arrays given.

    Everybody is shown the same arrays. They are given writeable, read-only, and as the drivers
    give them, over immutable bytes.
    """
    good = proposal(subject.fresh())
    for is_writeable in (True, False):
        given = good.copy()
        for array in given.values():
            array.setflags(write=is_writeable)
        _use(subject, given, "writeable" if is_writeable else "read-only")
        if any(given[name].tobytes() != good[name].tobytes() for name in good):
            _refuse_writing("a dict of arrays")
    kept = bytes(bytearray(good.data))
    _use(subject, good, "immutable")
    if good.data != kept:
        _refuse_writing("immutable weights")


def _refuse_writing(what: str) -> None:
    raise LearnerCheckError(
        f"expected that {what} given to the learner stay as they were, got other values.",
        hint="Copy arrays before writing to them; torch.from_numpy and others do not.",
    )


def _use(subject: Subject, arrays: dict[str, np.ndarray], kind: str) -> None:
    learner = subject.fresh()
    answer(learner, arrays)
    try:
        learner.mli_accept_weights(Weights(weights=arrays))
        proposal(learner)
        answer(learner, learner.mli_get_current_weights().weights)
    except Exception as error:
        raise LearnerCheckError(
            f"expected that {kind} arrays can be accepted and trained on, got "
            f"{type(error).__name__}: {error}",
            hint="Copy arrays before writing to them.",
        ) from error


@check("1")
def training_rows_are_not_written_to(subject: Subject) -> None:
    """The rows given as ``rows=`` are marked read-only, used, and stay as they are.

    They stay with their owner, who may use them for more than one learner.
    """
    before = [np.array(array) for array in subject.rows]
    with read_only(subject.rows):
        _use_rows(subject)
    for number, (array, was) in enumerate(zip(subject.rows, before, strict=True)):
        if array.tobytes() != was.tobytes():
            raise LearnerCheckError(
                f"expected rows[{number}] as they were, got other values after training.",
                hint="Work on copies of the rows.",
            )


def _use_rows(subject: Subject) -> None:
    learner = subject.fresh()
    try:
        proposed = proposal(learner)
    except Exception as error:
        raise LearnerCheckError(
            f"expected that read-only rows can be trained on, got {type(error).__name__}: {error}",
            hint="Work on copies of the rows.",
        ) from error
    answer(learner, proposed)
    learner.mli_accept_weights(Weights(weights=proposed))


@check("2")
def the_model_can_be_asked_for(subject: Subject) -> None:
    """`mli_get_current_model` returns a ColearnModel, or raises a ColearnError that says why."""
    learner, proposed = subject.proposed()
    learner.mli_accept_weights(Weights(weights=proposed))
    hint = "Return ColearnModel(model_format=ModelFormat.ONNX, model=...), or raise a ColearnError."
    try:
        model: object = learner.mli_get_current_model()
    except ColearnError:
        return
    except Exception as error:
        raise LearnerCheckError(
            f"expected a ColearnModel or a ColearnError, got {type(error).__name__}: {error}",
            hint=hint,
        ) from error
    if not isinstance(model, ColearnModel):
        raise LearnerCheckError(f"expected a ColearnModel, got {type(model).__name__}.", hint=hint)


CHECKS = (
    judgements_count,
    what_is_given_is_not_written_to,
    training_rows_are_not_written_to,
    the_model_can_be_asked_for,
)
