import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from colearn.core import FRACTION_PART_MAX, Rules, exact_threshold
from colearn.errors import ConfigError


@pytest.mark.parametrize(
    "spelling",
    [0.6, np.float64(0.6), "3/5", "0.6", " 3/5 ", Decimal("0.6"), Fraction(3, 5), Fraction(6, 10)],
)
def test_every_spelling_of_three_fifths_is_the_same_fraction(spelling):
    assert exact_threshold(spelling) == Fraction(3, 5)
    assert type(exact_threshold(spelling)) is Fraction


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        (0, Fraction(0)),
        (-0.0, Fraction(0)),
        (1, Fraction(1)),
        (1.0, Fraction(1)),
        (0.55, Fraction(11, 20)),
        ("1e-4", Fraction(1, 10_000)),
        (Fraction(1, FRACTION_PART_MAX), Fraction(1, FRACTION_PART_MAX)),
        (Fraction(2, 2 * FRACTION_PART_MAX), Fraction(1, FRACTION_PART_MAX)),
    ],
)
def test_the_ends_and_short_fractions_are_exact(spelling, expected):
    assert exact_threshold(spelling) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        math.nan,
        np.float64("nan"),
        math.inf,
        -math.inf,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        True,
        False,
        np.True_,
        None,
        b"1/2",
        [1, 2],
        1 + 0j,
        "a/b",
        "1/0",
        "",
        "half",
        "nan",
        "inf",
    ],
)
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(ConfigError, match="must be a number from 0 to 1"):
        exact_threshold(wrong)


@pytest.mark.parametrize(
    "wrong", [-0.1, 1.1, 2, -1, "-1/2", "3/2", Fraction(-1, 9), Decimal("1.0000001"), 5e300]
)
def test_what_is_outside_is_refused(wrong):
    with pytest.raises(ConfigError, match="must be from 0 to 1"):
        exact_threshold(wrong)


@pytest.mark.parametrize(
    "wrong",
    [1 / 3, Fraction(1, FRACTION_PART_MAX + 1), Fraction(65_536, 65_537), 1e-300, "0.123456789"],
)
def test_what_does_not_fit_in_sixteen_bits_is_refused(wrong):
    with pytest.raises(ConfigError, match=f"denominator must be at most {FRACTION_PART_MAX}"):
        exact_threshold(wrong)


def test_a_refusal_is_a_value_error_and_says_what_to_write():
    with pytest.raises(ValueError, match="1/2") as caught:
        exact_threshold("most")
    assert isinstance(caught.value, ConfigError)


def test_rules_make_their_threshold_exact_and_keep_it():
    rules = Rules(0.6)
    assert rules == Rules("3/5")
    assert rules.threshold == Fraction(3, 5)
    assert Rules().threshold == Fraction(1, 2)
    with pytest.raises(AttributeError):
        rules.threshold = Fraction(1)
    with pytest.raises(ConfigError):
        Rules(math.nan)


HUGE = [10**5000, -(10**5000), "1e-3000000", Decimal("1e-3000000"), "0." + "1" * 5000]


@pytest.mark.parametrize("huge", HUGE, ids=["int", "negative", "text", "decimal", "digits"])
def test_numbers_too_long_to_write_out_are_refused_at_once(huge):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        exact_threshold(huge)
