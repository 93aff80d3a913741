"""What a proposal depends on, and that it leads anywhere (section 2, 7.8)."""

from __future__ import annotations

import math

from colearn.interface import MachineLearningInterface, Weights
from colearn.testing.check import check
from colearn.testing.failure import LearnerCheckError
from colearn.testing.stirred import stirred
from colearn.testing.subject import Subject, answer, current, proposal, rounds_decide

__all__ = ["CHECKS"]

_ROUND = 7


@check("2")
def the_same_seed_gives_the_same_proposals(subject: Subject) -> None:
    """Two fresh learners of one place and seed make equal proposals, one after the other.

    The random numbers of the process stand elsewhere each time, which must not matter.
    """
    found = []
    for stir in (1, 2):
        with stirred(stir):
            learner, made = subject.fresh(), []
            for _ in range(2):
                made.append(proposal(learner))
                learner.mli_accept_weights(Weights(weights=made[-1]))
            found.append([each.data for each in made])
    for number, (one, two) in enumerate(zip(*found, strict=True), 1):
        if one != two:
            raise LearnerCheckError(
                f"expected equal bytes of proposal {number} of two fresh learners with the same "
                "seed and rows, got other ones.",
                hint="Draw from a generator of your own, made of the learner's seed: neither "
                "from the process's nor from the clock.",
            )


@check("2, 7.8")
def a_round_decides_its_proposal(subject: Subject) -> None:
    """With `begin_round` a proposal is that of the round, whatever was proposed before.

    A node that was killed must propose the same again. Learners without `begin_round`, and ones
    that say by `local_state` that they keep more than weights, pass.
    """
    learner, control = subject.fresh(), subject.fresh()
    if not rounds_decide(learner):
        return
    for number in (1, 2):
        learner.begin_round(number)  # type: ignore[attr-defined]
        proposal(learner)
    for each in (learner, control):
        each.begin_round(_ROUND)  # type: ignore[attr-defined]
    if _same_luck(learner) != _same_luck(control):
        raise LearnerCheckError(
            f"expected that begin_round({_ROUND}) decides the proposal, got another one after "
            "two proposals that nobody accepted.",
            hint="Make the seed of the learner's seed and the round number alone, or say "
            "local_state = 'restarted' if something is kept on purpose.",
        )


def _same_luck(learner: MachineLearningInterface) -> bytes:
    # The process's random numbers are another check's.
    with stirred(1):
        return proposal(learner).data


@check("1, 2")
def training_continues_from_the_accepted_model(subject: Subject) -> None:
    """A proposal differs from the model, and depends on it.

    The second proposal of a learner that accepted its first is compared with that of one that
    did not.
    """
    learner, control = subject.fresh(), subject.fresh()
    start = current(learner)
    first = proposal(learner)
    proposal(control)
    if first.data == start.data:
        raise LearnerCheckError(
            "expected a proposal other than the model, got the model itself.",
            hint="Return the result of the training; with nothing to propose, raise.",
        )
    learner.mli_accept_weights(Weights(weights=first))
    if proposal(learner).data == proposal(control).data:
        raise LearnerCheckError(
            "expected that training starts from the accepted weights, got the same proposal as "
            "from model 0.",
            hint="Load the current weights into the model before training; do not fit anew.",
        )


@check("1, 2")
def the_score_improves_over_rounds(subject: Subject) -> None:
    """After some rounds of its own the score on the vote set is better than model 0's.

    Scores that have no value are not compared.
    """
    learner = subject.fresh()
    start, before = current(learner), _score(learner)
    for _ in range(subject.rounds):
        learner.mli_accept_weights(Weights(weights=proposal(learner)))
    if current(learner).data == start.data:
        # Nothing was learned, which another check says.
        return
    after = _score(learner)
    if math.isfinite(before) and math.isfinite(after) and not after > before:
        raise LearnerCheckError(
            f"expected a vote_score above {before:g} after {subject.rounds} accepted proposals, "
            f"got {after:g}.",
            hint="Scores are larger when better, so negate a loss; or give more rounds.",
        )


def _score(learner: MachineLearningInterface) -> float:
    judged = answer(learner, current(learner))
    score = getattr(judged, "vote_score", math.nan)
    return score if isinstance(score, float) else math.nan


CHECKS = (
    the_same_seed_gives_the_same_proposals,
    a_round_decides_its_proposal,
    training_continues_from_the_accepted_model,
    the_score_improves_over_rounds,
)
