from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colearn.core import Rules, Tally, approvals_needed, counted_members, tolerance

THRESHOLDS = ["0", "1/3", "1/2", "55/100", "2/3", "1"]

thresholds = st.fractions(0, 1, max_denominator=65_535)
groups = st.integers(2, 2_000)


@st.composite
def tallies(draw):
    members = draw(groups)
    approvals = draw(st.integers(0, members - 1))
    rejections = draw(st.integers(0, members - 1 - approvals))
    abstentions = draw(st.integers(0, members - 1 - approvals - rejections))
    return Tally(Rules(draw(thresholds)), members, approvals, rejections, abstentions)


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("members", range(2, 14))
def test_acceptance_is_monotone_exhaustively(threshold, members):
    # S3: replacing one ballot by one further right in reject = silence <= abstain <= approve
    # never turns an acceptance into a rejection.
    rules = Rules(threshold)
    counts = range(members)
    for approvals, rejections, abstentions in product(counts, counts, counts):
        silent = members - 1 - approvals - rejections - abstentions
        if silent < 0:
            continue
        before = Tally(rules, members, approvals, rejections, abstentions).accepted
        moved = []
        if rejections:
            as_silence = Tally(rules, members, approvals, rejections - 1, abstentions)
            assert as_silence.accepted == before
            moved.append((approvals, rejections - 1, abstentions + 1))
        if silent:
            moved.append((approvals, rejections, abstentions + 1))
        if abstentions:
            moved.append((approvals + 1, rejections, abstentions - 1))
        assert all(Tally(rules, members, *counts).accepted >= before for counts in moved)


@given(tallies())
def test_the_rule_as_the_protocol_states_it(tally):
    # P3.3 once more, in Fractions and as a sentence: more than the fraction t of c stands behind.
    members, threshold = tally.members, tally.rules.threshold
    counted = max(Fraction(members - tally.abstentions), Fraction(-(-3 * members // 4)))
    behind = tally.approvals + 1
    enough = behind > threshold * counted or behind >= counted
    assert tally.accepted == (enough and tally.approvals >= 1)


@given(tallies())
def test_counts_are_consistent(tally):
    ballots = tally.approvals + tally.rejections + tally.abstentions + tally.silent
    assert ballots == tally.members - 1
    assert 1 <= tally.needed <= max(tally.members - 1, 1)
    assert tally.accepted == (tally.approvals >= tally.needed)


@given(thresholds, thresholds, groups, st.data())
def test_a_higher_threshold_and_a_longer_count_never_need_less(first, second, members, data):
    abstained = data.draw(st.integers(0, members - 1))
    low, high = Rules(min(first, second)), Rules(max(first, second))
    assert approvals_needed(low, members, abstained) <= approvals_needed(high, members, abstained)
    assert approvals_needed(low, members, abstained) <= approvals_needed(low, members)
    assert 4 * counted_members(members, abstained) >= 3 * members


@given(st.fractions(Fraction(1, 2), 1, max_denominator=100), st.integers(2, 150))
def test_from_a_half_up_a_third_of_liars_passes_nothing(threshold, members):
    assert tolerance(Rules(threshold), members).colluding >= (members - 1) // 3
