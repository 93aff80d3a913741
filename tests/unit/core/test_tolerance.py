from fractions import Fraction

import pytest

from colearn.core import Rules, Tally, Tolerance, approvals_needed, tolerance

HALF = Rules(Fraction(1, 2))

# Section 9 of the protocol, row by row: n, approvals needed, obstructing, colluding.
TABLE = [
    (2, 1, 0, 1),
    (3, 1, 1, 1),
    (4, 2, 1, 1),
    (5, 2, 2, 2),
    (6, 3, 2, 2),
    (7, 3, 3, 3),
    (8, 4, 3, 3),
    (9, 4, 4, 3),
    (10, 5, 4, 4),
    (20, 10, 9, 7),
    (31, 15, 15, 12),
    (100, 50, 49, 37),
]


@pytest.mark.parametrize(("members", "needed", "obstructing", "colluding"), TABLE)
def test_the_table_of_section_9(members, needed, obstructing, colluding):
    assert tolerance(HALF, members) == Tolerance(members, needed, obstructing, colluding)


@pytest.mark.parametrize("members", range(2, 200))
def test_never_below_a_third(members):
    found = tolerance(HALF, members)
    third = (members - 1) // 3
    assert found.colluding >= third
    assert found.obstructing >= third
    # S2: approvals + 1 > f, whatever is abstained from.
    assert min(approvals_needed(HALF, members, a) for a in range(members)) + 1 > third


@pytest.mark.parametrize("threshold", ["1/2", "55/100", "3/5", "2/3", "3/4", "1"])
@pytest.mark.parametrize("members", range(2, 14))
def test_what_the_two_tolerances_promise(threshold, members):
    rules = Rules(threshold)
    found = tolerance(rules, members)
    for obstructing in range(members):
        passes = Tally(
            rules, members, approvals=members - 1 - obstructing, rejections=obstructing
        ).accepted
        assert passes == (obstructing <= found.obstructing)
    for gang in range(1, members + 1):
        harmless = not any(
            Tally(rules, members, approvals=gang - 1, abstentions=abstained).accepted
            for abstained in range(members - gang + 1)
        )
        assert harmless == (gang <= found.colluding)


def test_a_group_of_one_never_passes_anything():
    assert tolerance(HALF, 1) == Tolerance(members=1, needed=1, obstructing=-1, colluding=1)


def test_unanimity_survives_nobody_silent_and_everybody_but_one_hostile():
    found = tolerance(Rules(1), 8)
    assert found.obstructing == 0
    # Two honest members that abstain are out of the count of 8 - 2 = 6.
    assert found.colluding == 5
