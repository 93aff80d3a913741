"""What an accepted proposal becomes (sections 2 and 6)."""

from __future__ import annotations

from colearn.interface import MachineLearningInterface, Weights
from colearn.testing.check import check
from colearn.testing.failure import LearnerCheckError
from colearn.testing.subject import Subject, current, frozen, proposal
from colearn.weights import NamedArrays, decode, encode

__all__ = ["CHECKS"]


@check("6.1")
def model_0_is_the_same_on_every_member(subject: Subject) -> None:
    """Learners of other rows and other seeds begin with equal bytes."""
    first = current(subject.fresh())
    for place in range(1, subject.members):
        other = current(subject.fresh(place))
        if other.data != first.data:
            raise LearnerCheckError(
                f"expected that the learners of places 0 and {place} start from equal weights, "
                f"got other {_difference(first, other)}.",
                hint="Begin with zeros, or draw model 0 from a seed of the experiment and not "
                "from the learner's own seed or rows.",
            )


@check("2, 6.3")
def accepting_takes_exactly_the_accepted_bytes(subject: Subject) -> None:
    """After `mli_accept_weights` the current weights are the accepted ones, bit for bit."""
    learner, proposed = subject.proposed()
    learner.mli_accept_weights(Weights(weights=proposed))
    _expect(proposed, current(learner), "the accepted weights")


@check("2, 6.3")
def all_members_are_equal_after_every_round(subject: Subject) -> None:
    """Members take turns to propose, everybody accepts, and all have equal bytes."""
    group = [subject.fresh(place) for place in range(subject.members)]
    for proposer in group:
        proposed = Weights(weights=proposal(proposer))
        for learner in group:
            learner.mli_accept_weights(proposed)
        first = current(group[0])
        for place, learner in enumerate(group[1:], 1):
            _expect(first, current(learner), f"at place {place} the weights of place 0")


@check("6.3")
def weights_survive_the_codec(subject: Subject) -> None:
    """A member that gets a proposal as bytes has the same model as its proposer.

    The proposer accepts the very object it returned, which must make no difference.
    """
    near, far = subject.fresh(), subject.fresh(subject.members - 1)
    proposed = near.mli_propose_weights()
    received = decode(encode(frozen(proposed, "mli_propose_weights")))
    near.mli_accept_weights(proposed)
    far.mli_accept_weights(Weights(weights=received))
    _expect(current(near), current(far), "the proposer's weights after decoding them")
    # It must also be able to work with them: decoded arrays are read-only views.
    proposal(far)


@check("P3.7")
def answers_are_not_changed_afterwards(subject: Subject) -> None:
    """Weights that were returned stay as they are while the learner goes on.

    Nor does writing into a proposal, where it can be written to, reach the current weights.
    """
    learner = subject.fresh()
    shown = learner.mli_get_current_weights()
    shown_bytes = encode(shown.weights)
    proposed = learner.mli_propose_weights()
    proposed_bytes = encode(proposed.weights)
    _go_on(learner, decode(proposed_bytes))
    for what, weights, before in (
        ("current weights", shown, shown_bytes),
        ("a proposal", proposed, proposed_bytes),
    ):
        if encode(weights.weights) != before:
            raise LearnerCheckError(
                f"expected that {what} returned earlier stay as they were, got other values "
                "after the learner went on.",
                hint="Return copies, or replace arrays instead of writing into them.",
            )
    model = current(learner)
    _scribble(learner.mli_propose_weights())
    if current(learner).data != model.data:
        raise LearnerCheckError(
            "expected that a proposal has memory of its own, got other current weights after "
            "its arrays were written to.",
            hint="Propose copies of the arrays.",
        )


def _go_on(learner: MachineLearningInterface, accepted: NamedArrays) -> None:
    learner.mli_accept_weights(Weights(weights=accepted))
    proposal(learner)


def _scribble(weights: Weights) -> None:
    for array in dict.values(weights.weights):
        if array.flags.writeable:
            array[...] = 1


def _expect(expected: NamedArrays, got: NamedArrays, what: str) -> None:
    if expected.data != got.data:
        raise LearnerCheckError(
            f"expected {what}, got other {_difference(expected, got)}.",
            hint="Take the arrays as they are: no rounding, no other dtype, no part of one's own.",
        )


def _difference(one: NamedArrays, two: NamedArrays) -> str:
    """Say which arrays differ."""
    names = sorted(
        name
        for name in one.keys() | two.keys()
        if name not in one
        or name not in two
        or (one[name].dtype, one[name].shape) != (two[name].dtype, two[name].shape)
        or one[name].tobytes() != two[name].tobytes()
    )
    return f"values in {names}" if names else "metadata"


CHECKS = (
    model_0_is_the_same_on_every_member,
    accepting_takes_exactly_the_accepted_bytes,
    all_members_are_equal_after_every_round,
    weights_survive_the_codec,
    answers_are_not_changed_afterwards,
)
