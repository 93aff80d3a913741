import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from colearn.errors import (
    ConfigError,
    PrivacyError,
    SpendsCorruptError,
    SpendsUnavailableError,
)
from colearn.interface import VotePrivacyConfig
from colearn.privacy.power import approve_probability
from colearn.privacy.spends import Partition, PrivacyLedger
from colearn.privacy.vote import PrivateVoting, vote_terms

# Correct code fails a test of secure noise once in a million runs.
RARE = 1e-6
VOTES = Partition("0" * 64, "vote")
UNITS = 2000


class Memory:
    """A record of spends that allows everything and forgets, for many draws."""

    def __init__(self):
        self.spent, self.votes = 0.0, {}

    def besides(self, split):
        return ()

    def spend(self, partition, spend, *, epsilon, delta, purpose):
        self.spent += spend.rho

    def vote_of(self, question):
        return self.votes.get(question)

    def keep_vote(self, question, vote):
        return self.votes.setdefault(question, vote)


def voting(ledger=None, *, units=UNITS, seed=0, **settings):
    return PrivateVoting(
        VotePrivacyConfig(**settings),
        Memory() if ledger is None else ledger,
        VOTES,
        units_count=units,
        purpose="round",
        seed=seed,
    )


def never():
    raise AssertionError("the data was touched")


def approvals(private, differences, draws=4000):
    return sum(private.vote(f"question {turn}", lambda: differences) for turn in range(draws))


def test_the_numbers_of_a_vote():
    terms = vote_terms(VotePrivacyConfig(), UNITS)
    assert float(terms.e0) == pytest.approx(0.0594, abs=5e-5)
    assert float(terms.margin) == pytest.approx(math.log(3) / float(terms.e0), abs=1e-6)
    assert terms.rho == pytest.approx(float(terms.e0) ** 2 / 8)
    assert Fraction(terms.rho) > terms.e0**2 / 8
    assert (terms.clip, terms.delta) == (1.0, 1e-6)
    small = vote_terms(VotePrivacyConfig(), 999)
    assert (small.clip, small.delta) == (0.5, 1e-6)
    assert vote_terms(VotePrivacyConfig(), 10**6).delta == 1e-7
    own = vote_terms(VotePrivacyConfig(clip=3.0, delta=1e-5, margin=0.0), 10)
    assert (own.clip, own.delta, own.margin) == (3.0, 1e-5, 0)


@pytest.mark.parametrize(("helps", "chance"), [(0.0, 0.25), (2.94, 0.863), (4.04, 0.95)])
def test_a_proposal_is_approved_with_its_chance(helps, chance):
    private = voting()
    differences = np.full(UNITS, helps / float(private.e0) / UNITS)
    exact = approve_probability(private.e0, differences.sum(), private.margin)
    assert exact == pytest.approx(chance, abs=2e-3)
    draws = 4000
    count = approvals(private, differences, draws)
    assert stats.binomtest(count, draws, exact).pvalue > RARE


def test_a_unit_says_at_most_one_whatever_its_difference():
    # One unit of e0 = 1: its say moves the log odds from -1 to 1.
    private = voting(units=1, epsilon=10.0, planned_votes=1, margin=0.0, clip=0.25)
    for difference, say in (
        (np.inf, 1), (1e300, 1), (0.25, 1), (0.125, 0.5), (-9.0, -1), (-np.inf, -1), (np.nan, -1),
    ):  # fmt: skip
        private._ledger.votes.clear()
        chance = approve_probability(private.e0, say, 0)
        count = approvals(private, np.array([difference]), 1500)
        assert stats.binomtest(count, 1500, chance).pvalue > RARE, difference


def test_float32_differences_of_any_size_do():
    private = voting(clip=1e-300, margin=0.0)
    assert private.vote("q", lambda: np.full(UNITS, 1e30, np.float32)) is True


def test_planned_votes_fit_and_one_more_abstains_without_a_look(tmp_path):
    ledger = PrivacyLedger.open(tmp_path, "data")
    private = voting(ledger, planned_votes=12, epsilon=1.0)
    for turn in range(12):
        assert private.vote(str(turn), lambda: np.zeros(UNITS)) is not None
    consumed = ledger.consumed(VOTES, private.delta)
    assert consumed <= 1.0
    assert consumed == pytest.approx(1.0, rel=1e-8)
    assert private.vote("one more", never) is None
    assert ledger.consumed(VOTES, private.delta) == consumed


def test_an_answered_question_has_the_same_answer_and_costs_nothing(tmp_path):
    ledger = PrivacyLedger.open(tmp_path, "data")
    private = voting(ledger, planned_votes=3)
    first = [private.vote(question, lambda: np.zeros(UNITS)) for question in "abc"]
    entries = len(ledger.entries())
    again = voting(PrivacyLedger.open(tmp_path, "data"), planned_votes=3)
    assert [again.vote(question, never) for question in "abcabc"] == first * 2
    assert len(ledger.entries()) == entries
    assert again.vote("d", never) is None


@pytest.mark.parametrize("error", [SpendsCorruptError, SpendsUnavailableError])
@pytest.mark.parametrize("where", ["vote_of", "spend"])
def test_it_abstains_where_the_record_fails_and_touches_nothing(error, where):
    memory = Memory()

    def fail(*_args, **_settings):
        raise error("broken")

    setattr(memory, where, fail)
    assert voting(memory).vote("q", never) is None


def test_a_vote_that_cannot_be_kept_is_not_cast():
    memory = Memory()

    def fail(question, vote):
        raise SpendsUnavailableError("full")

    memory.keep_vote = fail
    assert voting(memory).vote("q", lambda: np.full(UNITS, 1.0)) is None
    assert memory.spent > 0


def test_it_is_paid_before_the_data_is_touched():
    memory = Memory()
    private = voting(memory)
    with pytest.raises(AssertionError, match="touched"):
        private.vote("q", never)
    assert memory.spent == private.rho


@pytest.mark.parametrize("shape", [(UNITS - 1,), (UNITS, 1), ()])
def test_other_units_than_were_counted_are_refused(shape):
    with pytest.raises(PrivacyError, match="units"):
        voting().vote("q", lambda: np.zeros(shape))


def test_a_simulation_answers_alike_in_any_order():
    questions = [f"question {turn}" for turn in range(60)]

    def answers(order, seed):
        private = voting(noise="simulation", seed=seed)
        votes = {question: private.vote(question, lambda: np.zeros(UNITS)) for question in order}
        return [votes[question] for question in questions]

    assert answers(questions, 1) == answers(questions[::-1], 1) != answers(questions, 2)


def test_settings_that_say_nothing_are_refused():
    with pytest.raises(ConfigError, match="vote set"):
        voting(units=0)
    with pytest.raises(ConfigError, match="say nothing"):
        voting(epsilon=1e-13, planned_votes=10**9, delta=1e-12)
