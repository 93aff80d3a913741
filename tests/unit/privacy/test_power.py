import math
from fractions import Fraction
from pathlib import Path

import pytest
from scipy import stats

from colearn.errors import ConfigError
from colearn.interface import DiffPrivConfig, VotePrivacyConfig
from colearn.privacy.power import (
    approve_probability,
    improvement_for,
    noise_to_signal,
    pass_probability,
    passes,
)
from colearn.privacy.settings import Privacy
from colearn.privacy.vote import vote_terms

TERMS = vote_terms(VotePrivacyConfig(), 1000)


@pytest.mark.parametrize(("times", "chance"), [(0, 0.25), (2.94, 0.863), (4.04, 0.950)])
def test_the_margin_makes_a_null_proposal_unlikely(times, chance):
    s = times / float(TERMS.e0)
    assert approve_probability(TERMS.e0, s, TERMS.margin) == pytest.approx(chance, abs=1e-3)


def test_no_sum_is_too_far_out():
    assert approve_probability(1.0, 1e9, 0.0) == 1.0
    assert approve_probability(1.0, -1e9, 0.0) == 0.0
    assert approve_probability(Fraction(1, 2), 3, Fraction(3)) == 0.5


@pytest.mark.parametrize("chance", [0.1, 0.25, 0.86, 0.95])
def test_an_improvement_for_a_chance_gives_that_chance(chance):
    helps = improvement_for(chance, e0=TERMS.e0, margin=TERMS.margin, units_count=1000)
    assert approve_probability(TERMS.e0, helps * 1000, TERMS.margin) == pytest.approx(chance)


def test_passing_is_binomial():
    for approve in (0.0, 0.25, 0.5, 1.0):
        for needed in range(11):
            expected = stats.binom.sf(needed - 1, 9, approve)
            assert passes(approve, voters=9, needed=needed) == pytest.approx(expected, abs=1e-12)


def test_three_hostile_of_nine_do_not_carry_a_null_proposal_often():
    # Without a margin the six honest are coins: with three allies two of six are enough.
    assert passes(0.5, voters=6, needed=2) == pytest.approx(0.89, abs=5e-3)
    assert passes(0.25, voters=6, needed=2) < 0.47


def test_the_chance_that_a_proposal_passes():
    chance = pass_probability(
        2.94 / (float(TERMS.e0) * 1000),
        e0=TERMS.e0,
        margin=TERMS.margin,
        units_count=1000,
        voters=9,
        needed=5,
    )
    assert chance == pytest.approx(stats.binom.sf(4, 9, 0.8632), abs=1e-3)


def test_noise_against_the_signal():
    ratio = noise_to_signal(2.0, expected_batch_size=100, parameters=10_000)
    assert ratio == pytest.approx(2.0)
    longer = noise_to_signal(2.0, expected_batch_size=100, parameters=10_000, steps=25)
    assert longer == pytest.approx(ratio / 5)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: improvement_for(0.0, e0=1, margin=0, units_count=1),
        lambda: improvement_for(1.0, e0=1, margin=0, units_count=1),
        lambda: improvement_for(0.5, e0=0, margin=0, units_count=1),
        lambda: improvement_for(0.5, e0=1, margin=0, units_count=0),
        lambda: passes(1.5, voters=1, needed=1),
        lambda: passes(math.nan, voters=1, needed=1),
        lambda: passes(0.5, voters=-1, needed=1),
        lambda: noise_to_signal(1.0, expected_batch_size=0, parameters=1),
        lambda: noise_to_signal(1.0, expected_batch_size=1, parameters=0),
        lambda: noise_to_signal(math.nan, expected_batch_size=1, parameters=1),
    ],
)
def test_nonsense_is_refused(ask):
    with pytest.raises(ConfigError):
        ask()


def test_a_learner_s_settings_have_their_types():
    proposals = DiffPrivConfig(target_epsilon=1, target_delta=1e-6, max_grad_norm=1)
    privacy = Privacy(proposals=proposals, votes=VotePrivacyConfig(), directory=Path("x"))
    assert privacy.dataset is None
    assert Privacy() == Privacy(None, None, None, None)
    for wrong in (
        {"proposals": VotePrivacyConfig()},
        {"votes": proposals},
        {"directory": "x"},
        {"dataset": 3},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Privacy(**wrong)
