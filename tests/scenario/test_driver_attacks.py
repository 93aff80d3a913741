import math

import numpy as np
import pytest

from colearn.core import Ballot, Outcome, Rules, tolerance
from colearn.driver import conduct_round, run_one_round
from colearn.errors import ConfigError
from colearn.interface import (
    DiffPrivBudget,
    ErrorCodes,
    ProposedWeights,
    TrainingSummary,
    Weights,
)
from colearn.weights import WeightsLimits


class Plain:
    """Written against the interface's names alone."""

    def __init__(self, vote=True, score=1.0):
        self.weights = Weights(weights={"w": np.zeros(3)})
        self.vote, self.score = vote, score
        self.seen = None

    def mli_propose_weights(self):
        return Weights(weights={"w": self.weights.weights["w"] + 1})

    def mli_test_weights(self, weights):
        self.seen = weights
        return ProposedWeights(weights=weights, vote_score=self.score, vote=self.vote)

    def mli_accept_weights(self, weights):
        self.weights = weights

    def mli_get_current_weights(self):
        return self.weights

    def mli_get_current_model(self):
        raise NotImplementedError


class Proposing(Plain):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def mli_propose_weights(self):
        return self.make(self)


class Answering(Plain):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def mli_test_weights(self, weights):
        return self.answer(weights)


class Broken(Plain):
    def mli_propose_weights(self):
        raise RuntimeError("broken")

    def mli_test_weights(self, weights):
        raise RuntimeError("broken")

    def mli_accept_weights(self, weights):
        raise RuntimeError("broken")


def raising(error):
    def fail(*_):
        raise error

    return fail


def proposal(**arrays):
    return lambda _: Weights(weights=arrays)


class Liar(np.ndarray):
    shape = property(lambda _: (3,))


class LyingDict(dict):
    def items(self):
        return {"w": np.zeros(3)}.items()

    def values(self):
        return [np.zeros(3)]


REJECTED = {
    "nan": proposal(w=np.array([1, np.nan, 1])),
    "infinity": proposal(w=np.array([1, np.inf, 1])),
    "wrong shape": proposal(w=np.zeros(4)),
    "wrong dtype": proposal(w=np.zeros(3, np.float32)),
    "extra array": proposal(w=np.zeros(3), x=np.zeros(1)),
    "missing array": proposal(),
    "renamed array": proposal(v=np.zeros(3)),
    "objects": proposal(w=np.array([1, 2, 3], object)),
    "a list for an array": proposal(w=[1.0, 2.0, 3.0]),
    "no dict": lambda _: Weights(weights=[1.0]),
    "a subclass that lies about its shape": proposal(w=np.zeros(9).view(Liar)),
    "a dict that lies about its arrays": lambda _: Weights(weights=LyingDict(w=np.zeros(9))),
    "longer than the model": proposal(w=np.zeros(5)),
}


@pytest.mark.parametrize("attack", REJECTED)
def test_a_malformed_proposal_is_rejected_before_any_vote(attack):
    voters = [Plain(), Plain()]
    report = conduct_round([Proposing(REJECTED[attack]), *voters], 0, Rules())
    assert report.outcome is Outcome.REJECTED
    assert report.reason
    assert all(voter.seen is None for voter in voters)
    assert [math.isnan(entry.vote_score) for entry in report.entries] == [True] * 3


NO_PROPOSAL = {
    "error": raising(RuntimeError("x")),
    "panic": raising(BaseException("x")),
    "memory": raising(MemoryError()),
    "none": lambda _: None,
    "bare dict": lambda _: {"w": np.zeros(3)},
    "spent budget": lambda self: Weights(
        weights=self.weights.weights,
        training_summary=TrainingSummary(
            dp_budget=DiffPrivBudget(
                target_epsilon=1, target_delta=0.1, consumed_epsilon=1, consumed_delta=0.1
            ),
            error_code=ErrorCodes.DP_BUDGET_EXCEEDED,
        ),
    ),
}


@pytest.mark.parametrize("fault", NO_PROPOSAL)
def test_a_failing_proposer_costs_only_its_turn(fault):
    report = conduct_round([Proposing(NO_PROPOSAL[fault]), Plain(), Plain()], 0, Rules())
    assert report.outcome is Outcome.NO_PROPOSAL
    assert len(report.entries) == 3
    assert all(entry.vote is None for entry in report.entries)


class Truthy:
    def __bool__(self):
        return True


def forged(**fields):
    return lambda weights: ProposedWeights.model_construct(
        **{"weights": weights, "vote_score": 1.0, "test_score": None, "vote": True, **fields}
    )


SILENT = {
    "error": raising(RuntimeError("x")),
    "panic": raising(BaseException("x")),
    "none": lambda _: None,
    "true": lambda _: True,
    "approval with a nan score": lambda weights: ProposedWeights(
        weights=weights, vote_score=math.nan, vote=True
    ),
    "a truthy vote": forged(vote="yes"),
    "a vote of one": forged(vote=1),
    "an object that is true": forged(vote=Truthy()),
    "a score that is text": forged(vote_score="best"),
}


@pytest.mark.parametrize("nonsense", SILENT)
def test_nonsense_from_a_voter_is_no_approval_and_stays_in_the_count(nonsense):
    group = [Plain(), Answering(SILENT[nonsense]), Plain(vote=False), Plain(vote=False)]
    report = conduct_round(group, 0, Rules())
    assert report.ballots[1] is Ballot.SILENT
    assert report.tally.approvals == 0
    assert report.tally.silent == 1
    assert report.outcome is Outcome.REJECTED


def test_abstention_and_the_proposers_own_vote_do_not_count():
    report = conduct_round([Plain(), Plain(vote=None), Plain(vote=False)], 0, Rules())
    assert report.ballots == [None, Ballot.ABSTAIN, Ballot.REJECT]
    assert report.entries[0].vote is None
    assert report.entries[0].vote_score == 1.0
    assert report.outcome is Outcome.REJECTED


def test_a_proposer_that_changes_its_arrays_afterwards_changes_nothing():
    kept = np.ones(3)
    voters = [Plain(), Plain()]
    group = [Proposing(lambda _: Weights(weights={"w": kept})), *voters]
    assert run_one_round(0, group)[1]
    kept[:] = 666
    assert all(voter.weights.weights["w"].tolist() == [1, 1, 1] for voter in voters)


def test_a_voter_cannot_change_what_the_next_one_sees():
    def vandal(weights):
        for change in (
            lambda: weights.weights.update(w=np.full(3, 666.0)),
            lambda: weights.weights["w"].fill(666),
            lambda: setattr(weights, "weights", {"w": np.full(3, 666.0)}),
        ):
            with pytest.raises((TypeError, ValueError)):
                change()
        return ProposedWeights(weights=weights, vote_score=1.0, vote=True)

    last = Plain()
    run_one_round(0, [Plain(), Answering(vandal), last])
    assert last.seen.weights["w"].tolist() == [1, 1, 1]


def test_one_learner_that_cannot_accept_leaves_the_others_accepted():
    class CannotAccept(Plain):
        mli_accept_weights = raising(RuntimeError("full"))

    group = [Plain(), CannotAccept(), Plain()]
    report = conduct_round(group, 0, Rules())
    assert report.outcome is Outcome.ACCEPTED
    assert group[2].weights.weights["w"].tolist() == [1, 1, 1]
    assert isinstance(report.failures[1], RuntimeError)


def test_growth_needs_everybodys_word():
    group = [Proposing(proposal(w=np.zeros(5))), Plain(), Plain()]
    group[0].grows = group[1].grows = True
    assert conduct_round(group, 0, Rules()).outcome is Outcome.REJECTED
    group[2].grows = True
    assert conduct_round(group, 0, Rules()).outcome is Outcome.ACCEPTED
    shrinking = [Proposing(proposal(w=np.zeros(2))), Plain(), Plain()]
    for learner in shrinking:
        learner.grows = True
    assert conduct_round(shrinking, 0, Rules()).outcome is Outcome.REJECTED


def test_an_oversized_proposal_is_rejected():
    report = conduct_round(
        [Plain(), Plain(), Plain()], 0, Rules(), limits=WeightsLimits(proposal_bytes=50)
    )
    assert report.outcome is Outcome.REJECTED
    assert "50" in report.reason


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_interrupts_pass_through(stop):
    for group in (
        [Proposing(raising(stop())), Plain()],
        [Plain(), Answering(raising(stop()))],
    ):
        with pytest.raises(stop):
            run_one_round(0, group)


def test_bad_arguments_fail_before_anybody_trains():
    trained = []
    learner = Proposing(lambda _: trained.append(1))
    for learners, threshold in (
        ([], 0.5),
        ([learner, learner], 0.5),
        ([learner, Plain()], math.nan),
        ([learner, Plain()], -0.1),
        ([learner, Plain()], 1.1),
    ):
        with pytest.raises(ValueError, match=".") as caught:
            run_one_round(0, learners, threshold)
        assert isinstance(caught.value, ConfigError)
    assert not trained


def test_one_learner_alone_is_never_accepted(capsys):
    entries, accepted = run_one_round(0, [Plain()])
    assert (len(entries), accepted) == (1, False)
    assert capsys.readouterr() == ("", "")


def test_other_objects_pass_unchecked_in_the_minimal_driver():
    class Text(Plain):
        def __init__(self):
            super().__init__()
            self.weights = Weights(weights="old")

        def mli_propose_weights(self):
            return Weights(weights="new")

    group = [Text(), Text()]
    report = conduct_round(group, 0, Rules())
    assert (report.outcome, report.checked) == (Outcome.ACCEPTED, False)
    assert group[1].weights.weights == "new"
    arrays = conduct_round([Plain(), Plain()], 0, Rules())
    assert arrays.checked


@pytest.mark.parametrize("members", [3, 4, 5, 6, 7, 8, 9, 10])
@pytest.mark.parametrize("fault", ["absent", "lying"])
def test_the_group_goes_on_with_as_many_faulty_as_the_table_says(members, fault):
    faulty = tolerance(Rules(), members).obstructing
    make = Broken if fault == "absent" else lambda: Plain(vote=False)
    for bad, outcome in ((faulty, True), (faulty + 1, False)):
        group = [Plain() for _ in range(members - bad)] + [make() for _ in range(bad)]
        assert run_one_round(0, group)[1] is outcome


def test_the_turn_goes_round():
    group = [Plain() for _ in range(3)]
    for index in (0, 1, 2, 3):
        entries, _ = run_one_round(index, group)
        assert [place for place, entry in enumerate(entries) if entry.vote is None] == [index % 3]


def test_a_thousand_learners():
    entries, accepted = run_one_round(999, [Plain() for _ in range(1000)])
    assert len(entries) == 1000
    assert accepted


@pytest.mark.parametrize(("approvals", "accepted"), [(54, False), (55, True)])
def test_a_hundred_learners_at_55_percent(approvals, accepted):
    votes = [True] * (approvals + 1) + [False] * (99 - approvals)
    assert run_one_round(0, [Plain(vote=vote) for vote in votes], "55/100")[1] is accepted


def test_unanimity_and_an_exact_six_tenths():
    assert run_one_round(0, [Plain() for _ in range(10)], 1)[1]
    assert not run_one_round(0, [*[Plain() for _ in range(9)], Plain(vote=False)], 1)[1]
    for approvals, accepted in ((5, False), (6, True)):
        votes = [True] * (approvals + 1) + [False] * (9 - approvals)
        assert run_one_round(0, [Plain(vote=vote) for vote in votes], 0.6)[1] is accepted
