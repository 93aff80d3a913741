from dataclasses import replace
from fractions import Fraction

import pytest

from colearn.core import Rules
from colearn.core.machine import shortest_phase_s
from colearn.errors import ConfigError

RULES = Rules(Fraction(11, 20), 1, 2, 3, 4, 5, 6, True, 7)


def test_each_field_has_its_place_in_the_word():
    assert RULES.to_word() == (
        11
        | 20 << 16
        | 1 << 32
        | 2 << 64
        | 3 << 96
        | 4 << 128
        | 5 << 160
        | 6 << 192
        | 1 << 216
        | 7 << 224
    )
    assert Rules.from_word(RULES.to_word()) == RULES


def test_the_largest_of_everything_fits():
    most = 2**32 - 1
    rules = Rules(Fraction(65_534, 65_535), most, most, most, most, most, 65_535, True, 65_535)
    assert Rules.from_word(rules.to_word()) == rules
    assert Rules.from_word(Rules(0).to_word()) == Rules(0)


def test_a_fraction_that_is_not_reduced_is_the_same_fraction():
    word = Rules("1/2").to_word()
    assert Rules.from_word(word & ~0xFFFFFFFF | 2 | 4 << 16) == Rules("1/2")


@pytest.mark.parametrize("bit", [208, 215, 217, 223, 240, 255])
def test_bits_without_a_meaning_are_refused(bit):
    with pytest.raises(ConfigError, match="no word of rules"):
        Rules.from_word(RULES.to_word() | 1 << bit)


@pytest.mark.parametrize("word", [-1, 2**256, 0, 1])
def test_what_is_no_word_is_refused(word):
    with pytest.raises(ConfigError, match="no word of rules"):
        Rules.from_word(word)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contribute_s", -1),
        ("propose_s", 2**32),
        ("vote_s", 1.0),
        ("reveal_s", True),
        ("rounds", "3"),
        ("merge_tolerance", 2**16),
        ("patience", None),
    ],
)
def test_a_field_is_a_whole_number_in_its_range(field, value):
    with pytest.raises(ConfigError, match=f"{field} must be a whole number"):
        replace(RULES, **{field: value})


@pytest.mark.parametrize("value", [1, 0, None, "yes"])
def test_early_close_is_true_or_false(value):
    with pytest.raises(ConfigError, match="early_close must be True or False"):
        replace(RULES, early_close=value)


def test_a_phase_lasts_at_least_four_times_the_drift_and_a_second():
    assert [shortest_phase_s(drift) for drift in (0, 1, 5)] == [1, 4, 20]
