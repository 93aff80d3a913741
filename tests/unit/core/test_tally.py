from fractions import Fraction

import pytest

from colearn.core import Ballot, Outcome, Rules, Tally, approvals_needed, counted_members
from colearn.errors import LocalProtocolError

HALF = Rules(Fraction(1, 2))


@pytest.mark.parametrize(
    ("members", "abstained", "counted"),
    [
        (1, 0, 1),
        (2, 1, 2),
        (3, 1, 3),
        (4, 0, 4),
        (4, 1, 3),
        (4, 3, 3),
        (5, 1, 4),
        (5, 4, 4),
        (8, 2, 6),
        (8, 3, 6),
        (100, 25, 75),
        (100, 99, 75),
    ],
)
def test_abstainers_leave_the_count_down_to_three_quarters(members, abstained, counted):
    assert counted_members(members, abstained) == counted


def test_a_hundred_learners_at_55_of_100_need_55_others():
    rules = Rules("55/100")
    assert approvals_needed(rules, 100) == 55
    refused = Tally(rules, 100, approvals=54, rejections=45)
    accepted = Tally(rules, 100, approvals=55, rejections=44)
    assert (refused.outcome, accepted.outcome) == (Outcome.REJECTED, Outcome.ACCEPTED)


@pytest.mark.parametrize("members", range(2, 40))
def test_threshold_one_is_unanimity(members):
    rules = Rules(1)
    assert approvals_needed(rules, members) == members - 1
    assert Tally(rules, members, approvals=members - 1).accepted
    assert not Tally(rules, members, approvals=members - 2).accepted


def test_six_tenths_of_ten_is_exact():
    # 6 of 10 stand behind it: that is not more than 0.6; with floats 0.6 * 10 may say otherwise.
    for spelling in (0.6, "3/5"):
        rules = Rules(spelling)
        assert not Tally(rules, 10, approvals=5).accepted
        assert Tally(rules, 10, approvals=6).accepted


@pytest.mark.parametrize("members", range(2, 60, 2))
def test_a_tie_is_a_rejection(members):
    tie = Tally(HALF, members, approvals=members // 2 - 1, rejections=members // 2)
    assert tie.outcome is Outcome.REJECTED
    assert Tally(HALF, members, approvals=members // 2).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("threshold", [0, "1/100", "1/2", 1])
@pytest.mark.parametrize("members", range(1, 10))
def test_nobody_decides_alone(threshold, members):
    assert not Tally(Rules(threshold), members).accepted
    assert not Tally(Rules(threshold), members, abstentions=members - 1).accepted


def test_threshold_zero_asks_for_one_other():
    assert Tally(Rules(0), 50, approvals=1, rejections=48).accepted


def test_abstentions_lower_what_is_needed_but_not_below_the_floor():
    assert [approvals_needed(HALF, 8, abstained) for abstained in range(8)] == [
        *(4, 3, 3, 3, 3, 3, 3, 3),
    ]


def test_silence_is_what_is_left_and_stays_in_the_count():
    tally = Tally(HALF, 8, approvals=2, rejections=1, abstentions=1)
    assert tally.silent == 3
    assert tally.needed == 3
    assert not tally.accepted


@pytest.mark.parametrize(
    "counts",
    [
        {"members": 0},
        {"members": -1},
        {"members": 3, "approvals": 3},
        {"members": 3, "approvals": 1, "rejections": 1, "abstentions": 1},
        {"members": 3, "approvals": -1},
        {"members": 3, "rejections": -1},
        {"members": 3, "abstentions": -1},
        {"members": 3, "approvals": 3, "rejections": -1},
    ],
)
def test_impossible_counts_are_refused(counts):
    with pytest.raises(LocalProtocolError, match="has at most"):
        Tally(HALF, **counts)


def test_ballots_and_outcomes_are_words():
    assert [str(ballot) for ballot in Ballot] == ["approve", "reject", "abstain", "silent"]
    assert [str(outcome) for outcome in Outcome] == ["accepted", "rejected", "no proposal"]
