"""Learners whose objects lie, raise when looked at, or reach for what others see."""

import contextlib
import logging
import math
import operator
import pickle

import numpy as np
import pytest

from colearn.core import Ballot, Outcome, Rules
from colearn.driver import conduct_round, run_one_round
from colearn.interface import ProposedWeights, TrainingSummary, Weights
from colearn.weights import NamedArrays, freeze


class Honest:
    def __init__(self):
        self.current = Weights(weights={"w": np.zeros((2, 3))})
        self.seen = None

    def mli_propose_weights(self):
        return Weights(weights={"w": self.current.weights["w"] + 1})

    def mli_test_weights(self, weights):
        self.seen = {name: np.array(array) for name, array in weights.weights.items()}
        gain = weights.weights["w"].mean() - self.current.weights["w"].mean()
        return ProposedWeights(weights=weights, vote_score=gain, vote=gain > 0)

    def mli_accept_weights(self, weights):
        self.current = weights

    def mli_get_current_weights(self):
        return self.current


def attacker(**methods):
    return type("Attacker", (Honest,), methods)()


def raising(error):
    def fail(*_):
        raise error

    return fail


def round_with(attack, place=0, members=4):
    group = [Honest() for _ in range(members)]
    group[place] = attack
    return group, conduct_round(group, 0, Rules())


def untouched(group):
    return all(np.all(learner.current.weights["w"] == 0) for learner in group)


class WearsAnArraysClass:
    @property
    def __class__(self):
        return np.ndarray


class RaisesWhenAskedForItsClass:
    @property
    def __class__(self):
        raise RuntimeError("do not look")


class RaisesOnEverything(np.ndarray):
    def __getattribute__(self, name):
        raise RuntimeError("do not look")


class LiesAboutItsValues(np.ndarray):
    def __array__(self, *_, **__):
        return np.zeros((2, 3))

    def __array_function__(self, *_):
        return np.True_

    def __array_ufunc__(self, *_, **__):
        return np.True_

    @property
    def flags(self):
        raise RuntimeError("do not look")

    @property
    def dtype(self):
        return np.dtype("f8")


class NameThatLies(str):
    __slots__ = ()

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


class DictThatRaises(dict):
    def __getattribute__(self, name):
        raise RuntimeError("do not look")

    def __iter__(self):
        raise RuntimeError("do not look")

    def __len__(self):
        raise RuntimeError("do not look")


class DictThatGrows(dict):
    def __getitem__(self, name):
        return np.zeros((2, 3))

    def __contains__(self, name):
        return True


def bare_weights():
    return Weights.model_construct()


def with_summary(summary):
    return Weights.model_construct(weights={"w": np.ones((2, 3))}, training_summary=summary)


class SummaryThatIsNone:
    error_code = None


NOT_A_NUMBER = np.full((2, 3), np.nan)

MALFORMED = {
    "an object that wears an array's class": lambda: {"w": WearsAnArraysClass()},
    "an array that raises when asked for its class": lambda: {"w": RaisesWhenAskedForItsClass()},
    "weights that raise when asked for their class": RaisesWhenAskedForItsClass,
    "a subclass that raises on everything": lambda: {"w": np.ones(9).view(RaisesOnEverything)},
    "a subclass that says its nan is zero": lambda: {"w": NOT_A_NUMBER.view(LiesAboutItsValues)},
    "a subclass that says it is float64": lambda: {
        "w": np.ones((2, 3), np.float32).view(LiesAboutItsValues)
    },
    "a masked array that hides its nan": lambda: {"w": np.ma.masked_invalid(NOT_A_NUMBER)},
    "a name that equals every name": lambda: {NameThatLies("x"): np.ones((2, 3))},
    "a dict that claims what it has not": lambda: DictThatGrows(x=np.ones((2, 3))),
    "a dict that raises": lambda: DictThatRaises(w=np.ones(9)),
    "a name that is a number": lambda: {7: np.ones((2, 3))},
    "a name that is no UTF-8": lambda: {"w": np.ones((2, 3)), "\ud800": np.ones(1)},
    "a reserved name": lambda: {"w": np.ones((2, 3)), "__metadata__": np.ones(1)},
    "a list of pairs": lambda: [("w", np.ones((2, 3)))],
    "nothing": lambda: None,
    "bytes": lambda: pickle.dumps({"w": np.ones((2, 3))}),
    "text inside an array": lambda: {"w": np.full((2, 3), "1.0")},
    "complex numbers": lambda: {"w": np.ones((2, 3), complex)},
    "a record array": lambda: {"w": np.zeros((2, 3), [("x", "f8")])},
    "ten thousand arrays and one": lambda: {f"a{i}": np.zeros(1) for i in range(10_001)},
    "an array that claims a terabyte": lambda: {
        "w": np.broadcast_to(np.zeros((), np.float64), (2, 2**36))
    },
    "sealed arrays of another form": lambda: freeze({"w": np.ones(9)}),
    "sealed arrays put together by hand": lambda: NamedArrays(
        {"w": NOT_A_NUMBER}, b"", freeze({"w": np.zeros((2, 3))}).layout, {}
    ),
}


@pytest.mark.parametrize("attack", MALFORMED)
def test_a_proposal_that_lies_is_rejected_and_nobody_is_shown_it(attack, capsys):
    made = MALFORMED[attack]()
    proposed = Weights.model_construct(weights=made, training_summary=None)
    group, report = round_with(attacker(mli_propose_weights=lambda _: proposed))
    assert report.outcome is Outcome.REJECTED
    assert isinstance(report.reason, str)
    assert report.reason
    assert report.proposal is None
    assert all(learner.seen is None for learner in group)
    assert untouched(group)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "proposed",
    [bare_weights(), with_summary("spent"), with_summary(SummaryThatIsNone()), with_summary(7)],
    ids=["no_weights", "summary_is_text", "summary_of_another_class", "summary_is_a_number"],
)
def test_weights_built_past_validation_never_take_the_round_down(proposed):
    group, report = round_with(attacker(mli_propose_weights=lambda _: proposed))
    assert report.outcome in (Outcome.REJECTED, Outcome.NO_PROPOSAL)
    assert isinstance(report.failures[0], Exception)
    assert untouched(group)


def test_a_model_that_raises_when_looked_at_costs_its_proposer_the_round():
    for model in (RaisesWhenAskedForItsClass(), {"w": RaisesWhenAskedForItsClass()}):
        current = Weights.model_construct(weights=model, training_summary=None)
        group, report = round_with(
            attacker(
                mli_propose_weights=lambda _: Weights(weights={"w": np.ones((2, 3))}),
                mli_get_current_weights=lambda _, current=current: current,
            )
        )
        assert report.outcome is Outcome.REJECTED
        assert untouched(group[1:])


def test_a_voter_whose_claim_to_grow_raises_takes_no_round_down():
    voter = attacker(grows=property(raising(RuntimeError("do not look"))))
    group = [Honest(), voter, Honest()]
    group[0].mli_propose_weights = lambda: Weights(weights={"w": np.ones((5, 3))})
    assert conduct_round(group, 0, Rules()).outcome is Outcome.REJECTED
    assert conduct_round(group, 2, Rules()).outcome is Outcome.ACCEPTED


def test_a_truthy_claim_to_grow_is_none():
    group = [Honest() for _ in range(3)]
    group[0].mli_propose_weights = lambda: Weights(weights={"w": np.ones((5, 3))})
    for learner in group:
        learner.grows = 1
    assert conduct_round(group, 0, Rules()).outcome is Outcome.REJECTED


class Speechless(Exception):  # noqa: N818
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize("error", [Speechless(), GeneratorExit(), OSError(5)])
def test_an_error_that_cannot_even_be_printed_is_only_an_error(error, caplog, capsys):
    # A handler that formats for good, as a user's own would.
    with caplog.at_level(logging.WARNING, logger="colearn.driver"):
        for method, outcome in (
            ("mli_propose_weights", Outcome.NO_PROPOSAL),
            ("mli_get_current_weights", Outcome.NO_PROPOSAL),
            ("mli_test_weights", Outcome.ACCEPTED),
            ("mli_accept_weights", Outcome.ACCEPTED),
        ):
            _, report = round_with(attacker(**{method: raising(error)}))
            assert report.outcome is outcome
            assert report.failures == {0: error}
    assert len(caplog.messages) == 4
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(
    "method",
    [
        *("mli_propose_weights", "mli_get_current_weights"),
        *("mli_test_weights", "mli_accept_weights"),
    ],
)
def test_an_interrupt_passes_through_every_call(method, stop):
    with pytest.raises(stop):
        round_with(attacker(**{method: raising(stop())}))


def test_an_interrupt_while_a_proposal_is_looked_at_passes_through():
    class Stops:
        __class__ = property(raising(KeyboardInterrupt()))

    proposed = Weights.model_construct(weights=Stops(), training_summary=None)
    with pytest.raises(KeyboardInterrupt):
        round_with(attacker(mli_propose_weights=lambda _: proposed))


class VoteThatChanges(ProposedWeights):
    def __getattribute__(self, name):
        if name != "vote":
            return super().__getattribute__(name)
        asked = self.__dict__["asked"] = self.__dict__.get("asked", 0) + 1
        if asked > 1:
            raise RuntimeError("asked twice")
        return False


def forged(**fields):
    return lambda _, weights: ProposedWeights.model_construct(**fields)


OWN_ENTRIES = {
    "votes yes for itself": lambda _, weights: ProposedWeights(
        weights=weights, vote_score=1.0, vote=True
    ),
    "votes no against itself": lambda _, weights: ProposedWeights(
        weights=weights, vote_score=1.0, vote=False
    ),
    "has an entry without weights": forged(vote_score=1.0, vote=False),
    "has an entry without a score": forged(vote=False),
    "has an entry of no kind": forged(weights="x", vote_score="y", test_score="z", vote=True),
    "has a vote of no kind": forged(weights=None, vote_score=1.0, vote="yes"),
    "raises when its vote is read again": lambda _, weights: VoteThatChanges(
        weights=weights, vote_score=1.0, vote=True
    ),
}


@pytest.mark.parametrize("attack", OWN_ENTRIES)
def test_a_proposer_has_no_vote_of_its_own(attack):
    for rejecting in (0, 1, 2):
        group = [attacker(mli_test_weights=OWN_ENTRIES[attack]), *(Honest() for _ in range(3))]
        for learner in group[1 : 1 + rejecting]:
            learner.mli_test_weights = lambda weights: ProposedWeights(
                weights=weights, vote_score=0.0, vote=False
            )
        report = conduct_round(group, 0, Rules())
        assert report.ballots[0] is None
        assert report.tally.approvals == 3 - rejecting
        assert report.outcome is (Outcome.REJECTED if rejecting == 2 else Outcome.ACCEPTED)
        assert len(report.entries) == 4
        if attack != "raises when its vote is read again":
            assert report.entries[0].vote is None


@pytest.mark.parametrize(
    ("fields", "ballot"),
    [
        ({"weights": None, "vote_score": 1.0, "vote": "yes"}, Ballot.SILENT),
        ({"weights": None, "vote_score": 1.0, "vote": np.True_}, Ballot.SILENT),
        ({"weights": None, "vote_score": None, "vote": True}, Ballot.SILENT),
        ({"weights": None, "vote": True}, Ballot.SILENT),
        ({"weights": None, "vote_score": np.float32("nan"), "vote": True}, Ballot.SILENT),
        ({"weights": None, "vote_score": 1.0, "vote": None}, Ballot.ABSTAIN),
        ({"weights": None, "vote_score": math.nan, "vote": False}, Ballot.REJECT),
        ({"weights": None, "vote_score": math.inf, "vote": True}, Ballot.APPROVE),
    ],
)
def test_what_a_ballot_built_past_validation_counts_as(fields, ballot):
    _, report = round_with(attacker(mli_test_weights=forged(**fields)), place=2)
    assert report.ballots[2] is ballot


def shapes_of(weights):
    return {name: (array.shape, array.dtype) for name, array in weights.items()}


MUTATIONS = {
    "a new array": lambda w: operator.setitem(w.weights, "w", np.full((2, 3), 666.0)),
    "another array": lambda w: w.weights.setdefault("x", np.zeros(1)),
    "merging": lambda w: w.weights.__ior__({"w": np.full((2, 3), 666.0)}),
    "emptying": lambda w: w.weights.clear(),
    "writing": lambda w: w.weights["w"].fill(666),
    "asking for the right to write": lambda w: w.weights["w"].setflags(write=True),
    "writing through a view": lambda w: np.copyto(w.weights["w"].view(np.uint8), 255),
    "writing through memory": lambda w: operator.setitem(
        memoryview(w.weights["w"]).cast("B"), 0, 1
    ),
    "a new shape": lambda w: setattr(w.weights["w"], "shape", (3, 2)),
    "a new dtype": lambda w: setattr(next(iter(w.weights.values())), "dtype", np.int64),
    "other bytes": lambda w: setattr(w.weights, "data", b""),
    "metadata": lambda w: operator.setitem(w.weights.metadata, "x", "y"),
    "another dict": lambda w: setattr(w, "weights", {"w": np.full((2, 3), 666.0)}),
    "another summary": lambda w: setattr(w, "training_summary", TrainingSummary()),
}


@pytest.mark.parametrize("attack", MUTATIONS)
@pytest.mark.parametrize("moment", ["mli_test_weights", "mli_accept_weights"])
@pytest.mark.filterwarnings("ignore:Setting the .* on a NumPy array:DeprecationWarning")
def test_a_learner_that_changes_the_shared_weights_changes_nothing_for_others(attack, moment):
    plain = {"mli_test_weights": Honest.mli_test_weights, "mli_accept_weights": lambda *_: None}

    def vandal(self, weights):
        with contextlib.suppress(Exception):
            MUTATIONS[attack](weights)
        return plain[moment](self, weights)

    group, report = round_with(attacker(**{moment: vandal}), place=1)
    assert report.outcome is Outcome.ACCEPTED
    clean = freeze({"w": np.ones((2, 3))})
    for learner in (group[0], group[2], group[3]):
        assert learner.seen.keys() == {"w"}
        np.testing.assert_array_equal(learner.seen["w"], clean["w"])
        assert shapes_of(learner.current.weights) == shapes_of(clean)
        np.testing.assert_array_equal(learner.current.weights["w"], clean["w"])
    assert report.proposal.weights.data == clean.data
    assert report.proposal.weights.metadata == {}
    assert report.proposal.training_summary is None


def test_a_proposer_that_keeps_its_dict_and_arrays_changes_nothing_later():
    kept = {"w": np.ones((2, 3))}

    def change_and_vote(self, weights):
        kept["w"][:] = 666
        kept["x"] = np.zeros(1)
        return ProposedWeights(weights=weights, vote_score=1.0)

    group, report = round_with(
        attacker(
            mli_propose_weights=lambda _: Weights(weights=kept),
            mli_test_weights=change_and_vote,
        )
    )
    assert report.outcome is Outcome.ACCEPTED
    for learner in group:
        np.testing.assert_array_equal(learner.current.weights["w"], np.ones((2, 3)))


def test_a_proposal_that_is_the_current_model_itself_changes_nothing():
    lazy = attacker(mli_propose_weights=lambda self: self.current)
    group, report = round_with(lazy)
    assert report.outcome is Outcome.REJECTED  # nobody is better off
    assert untouched(group)


def test_the_same_attacks_through_the_public_call_give_one_entry_a_learner():
    for attack in MALFORMED.values():
        proposed = Weights.model_construct(weights=attack(), training_summary=None)
        group = [attacker(mli_propose_weights=lambda _, p=proposed: p), Honest(), Honest()]
        entries, accepted = run_one_round(0, group)
        assert [(math.isnan(entry.vote_score), entry.vote) for entry in entries] == [
            (True, None)
        ] * 3
        assert accepted is False
