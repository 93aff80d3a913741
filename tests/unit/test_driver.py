import math

import numpy as np
import pytest

from colearn.core import Ballot, Outcome, Rules
from colearn.driver import conduct_round, run_one_round
from colearn.errors import ConfigError
from colearn.interface import ErrorCodes, ProposedWeights, TrainingSummary, Weights
from colearn.weights import NamedArrays, WeightsLimits


class Learner:
    def __init__(self, vote=True, model=None, proposal=None):
        self.current = Weights(weights={"w": np.zeros(2)} if model is None else model)
        self.proposal = Weights(weights={"w": np.ones(2)}) if proposal is None else proposal
        self.vote = vote
        self.calls = []

    def mli_propose_weights(self):
        self.calls.append("propose")
        return self.proposal

    def mli_test_weights(self, weights):
        self.calls.append("test")
        return ProposedWeights(weights=weights, vote_score=2.0, test_score=0.5, vote=self.vote)

    def mli_accept_weights(self, weights):
        self.calls.append("accept")
        self.current = weights

    def mli_get_current_weights(self):
        return self.current


def test_the_report_of_an_accepted_round():
    summary = TrainingSummary()
    weights = Weights(weights={"w": np.ones(2)}, training_summary=summary)
    group = [Learner(False), Learner(True, proposal=weights), Learner(None), Learner(True)]
    report = conduct_round(group, 1, Rules())
    assert (report.proposer, report.outcome, report.reason) == (1, Outcome.ACCEPTED, "")
    assert report.ballots == [Ballot.REJECT, None, Ballot.ABSTAIN, Ballot.APPROVE]
    assert [entry.vote for entry in report.entries] == [False, None, None, True]
    assert all(entry.vote_score == 2.0 for entry in report.entries)
    assert all(entry.test_score == 0.5 for entry in report.entries)
    tally = report.tally
    assert (tally.members, tally.approvals, tally.rejections, tally.abstentions) == (4, 1, 1, 1)
    assert report.checked
    assert type(report.proposal.weights) is NamedArrays
    assert report.proposal.training_summary == summary
    assert report.failures == {}
    assert [learner.calls for learner in group] == [
        ["test", "accept"],
        ["propose", "test", "accept"],
        ["test", "accept"],
        ["test", "accept"],
    ]
    assert all(learner.current is report.proposal for learner in group)


def test_the_report_of_a_rejected_round():
    group = [Learner(), Learner(False), Learner(False)]
    report = conduct_round(group, 0, Rules())
    assert (report.outcome, report.reason) == (Outcome.REJECTED, "")
    assert report.tally.needed == 1
    assert all("accept" not in learner.calls for learner in group)


def test_a_proposal_refused_by_the_checks_is_put_to_nobody():
    group = [Learner(proposal=Weights(weights={"v": np.ones(2)})), Learner()]
    report = conduct_round(group, 0, Rules())
    assert report.outcome is Outcome.REJECTED
    assert report.reason == "Array 'w' is missing from the proposal."
    assert (report.proposal, report.tally, report.checked) == (None, None, False)
    assert report.ballots == [None, None]
    assert group[1].calls == []


def test_an_error_code_is_no_proposal_and_its_name_the_reason():
    summary = TrainingSummary(error_code=ErrorCodes.DP_BUDGET_EXCEEDED)
    spent = Weights(weights={"w": np.ones(2)}, training_summary=summary)
    report = conduct_round([Learner(proposal=spent), Learner()], 0, Rules())
    assert (report.outcome, report.reason) == (Outcome.NO_PROPOSAL, "DP_BUDGET_EXCEEDED")
    assert report.failures == {}


def test_a_failure_is_kept_with_its_place():
    error = RuntimeError("disk full")
    broken = Learner()
    broken.mli_propose_weights = lambda: (_ for _ in ()).throw(error)
    report = conduct_round([broken, Learner()], 0, Rules())
    assert report.reason == "RuntimeError: disk full"
    assert report.failures == {0: error}


def test_a_failing_voters_entry_is_nan_and_no_vote():
    broken = Learner()
    broken.mli_test_weights = None
    entries, accepted = run_one_round(0, [Learner(), broken, Learner()])
    assert accepted
    assert math.isnan(entries[1].vote_score)
    assert entries[1].vote is None
    assert entries[1].test_score is None
    np.testing.assert_array_equal(entries[1].weights.weights["w"], np.ones(2))


def test_drivers_but_the_minimal_one_take_named_arrays_alone():
    def group(model, proposal):
        return [Learner(model=model, proposal=Weights(weights=proposal)) for _ in range(2)]

    assert conduct_round(group("old", "new"), 0, Rules()).outcome is Outcome.ACCEPTED
    refused = conduct_round(group("old", "new"), 0, Rules(), arrays_only=True)
    assert refused.outcome is Outcome.REJECTED
    assert refused.reason == "Expected a dict of numpy arrays, got str."
    for model, proposal in (({"w": np.zeros(2)}, "new"), ("old", {"w": np.zeros(2)})):
        assert conduct_round(group(model, proposal), 0, Rules()).outcome is Outcome.REJECTED


@pytest.mark.parametrize(
    "limits",
    [
        WeightsLimits(proposal_bytes=70),
        WeightsLimits(arrays_count=0),
        WeightsLimits(rank_count=0),
        WeightsLimits(name_bytes=0),
    ],
)
def test_the_limits_hold_for_a_proposal_of_the_models_own_form(limits):
    assert conduct_round([Learner(), Learner()], 0, Rules(), limits=limits).tally is None


def test_wider_limits_let_more_pass_than_the_default():
    name = "n" * 300
    make = lambda: Learner(  # noqa: E731
        model={name: np.zeros(1)}, proposal=Weights(weights={name: np.ones(1)})
    )
    assert conduct_round([make(), make()], 0, Rules()).outcome is Outcome.REJECTED
    wide = WeightsLimits(name_bytes=300)
    assert conduct_round([make(), make()], 0, Rules(), limits=wide).outcome is Outcome.ACCEPTED


def test_a_frozen_model_and_any_sequence_of_learners_do():
    group = (Learner(), Learner(), Learner())
    for index in range(4):
        assert run_one_round(index, group)[1]
    assert type(group[0].current.weights) is NamedArrays


def test_the_same_learner_twice_is_refused_before_anybody_trains():
    learner = Learner()
    for call in (
        lambda: conduct_round([learner, Learner(), learner], 1, Rules()),
        lambda: run_one_round(0, [learner, learner]),
    ):
        with pytest.raises(ConfigError, match="twice"):
            call()
    assert learner.calls == []


def test_learners_that_say_they_are_equal_are_different():
    class Equal(Learner):
        def __eq__(self, other):
            return True

        def __hash__(self):
            return 0

    assert run_one_round(0, [Equal(), Equal(), Equal()])[1]
