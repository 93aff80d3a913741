"""The one-run lower bound, against what is known of the Gaussian mechanism."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binom

from colearn.errors import ConfigError
from colearn.privacy.onerun import auc_of, epsilon_lower_bound


def run(seed, noise, count=2000, size=1.0):
    rng = np.random.default_rng(seed)
    included = rng.random(count) < 0.5
    return included * size + rng.normal(0, noise, count), included


@pytest.mark.parametrize("noise", [1.0, 2.0, 4.0])
def test_of_a_gaussian_it_stays_below_epsilon_and_the_auc_is_the_theory(noise):
    claim = {1.0: 4.887, 2.0: 2.255, 4.0: 1.061}[noise]  # of one step at delta 1e-6, by PLD
    for seed in range(20):
        found = epsilon_lower_bound(*run(seed, noise), 1e-6)
        assert 0 <= found.bound < claim
        theory = NormalDist().cdf(1 / (noise * math.sqrt(2)))
        assert abs(found.auc - theory) < 4 * found.auc_error
        assert 0.005 < found.auc_error < 0.02


def test_it_grows_with_what_is_revealed():
    bounds = [epsilon_lower_bound(*run(0, noise), 1e-6).bound for noise in (4.0, 1.0, 0.3)]
    assert bounds == sorted(bounds)
    assert bounds[-1] > 3.5


def test_without_noise_all_guesses_are_right():
    found = epsilon_lower_bound(*run(1, 0.0), 1e-6)
    assert (found.auc, found.auc_error) == (1.0, 0.0)
    assert found.guesses - found.right <= 40  # as far as the coins were uneven
    assert found.bound > 3.5


def test_scores_that_say_nothing_refute_nothing_but_rarely():
    seen = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        included = rng.random(400) < 0.5
        seen += epsilon_lower_bound(rng.random(400), included, 0.0, confidence=0.9).bound > 0
    # 200 runs, each beyond the bound with a chance of at most 0.1: more than 42 have one of 1e-6.
    assert seen <= binom.isf(1e-6, 200, 0.1)


def test_equal_scores_are_a_coin():
    included = np.arange(1000) % 2 == 0
    found = epsilon_lower_bound(np.zeros(1000), included, 1e-6)
    assert (found.bound, found.auc) == (0.0, 0.5)


def test_the_bound_without_delta_is_the_binomial_one():
    """All of 2 r guesses right: e^eps / (1 + e^eps) to the r-th power is the level."""
    included = np.arange(100) < 50
    found = epsilon_lower_bound(included * 1.0, included, 0.0, confidence=0.94)
    share = 0.01 ** (1 / 100)
    assert found.guesses == found.right == 100
    assert found.bound == pytest.approx(math.log(share / (1 - share)), abs=1e-6)


def test_the_theorem_with_delta_on_a_case_small_enough_to_enumerate():
    """The slope is that of the theorem, computed here by its sum instead of by tails."""
    scores, included = run(3, 0.5, 200)
    found = epsilon_lower_bound(scores, included, 1e-6, confidence=0.999)
    share = 1 / (1 + math.exp(-found.bound))
    guesses, right = found.guesses, found.right
    tail = binom.sf(right - 1, guesses, share)
    sums = np.cumsum([binom.pmf(right - i, guesses, share) for i in range(1, right + 1)])
    slope = max(sums / np.arange(1, right + 1))
    assert tail + 2 * 200 * 1e-6 * slope == pytest.approx(0.001 / 6, rel=1e-4)


def test_delta_makes_it_smaller():
    scores = run(0, 0.3)
    assert epsilon_lower_bound(*scores, 1e-5).bound < epsilon_lower_bound(*scores, 1e-7).bound


def test_the_auc_is_the_share_of_pairs():
    rng = np.random.default_rng(0)
    scores, included = rng.integers(0, 5, 60).astype(float), rng.random(60) < 0.4
    ins, outs = scores[included][:, None], scores[~included][None]
    assert auc_of(scores, included)[0] == pytest.approx(((ins > outs) + (ins == outs) / 2).mean())


@pytest.mark.parametrize(
    ("scores", "included", "delta", "confidence"),
    [
        ([1.0, 2.0], [True, False], 0.0, 0.9),
        ([1.0, math.nan, 2.0, 3.0], [True, True, False, False], 0.0, 0.9),
        ([1.0, 2.0, 3.0, 4.0], [True, False, False], 0.0, 0.9),
        ([1.0, 2.0, 3.0, 4.0], [1, 1, 0, 0], 0.0, 0.9),
        ([1.0, 2.0, 3.0, 4.0], [True, True, False, False], 1.0, 0.9),
        ([1.0, 2.0, 3.0, 4.0], [True, True, False, False], 0.0, 1.0),
    ],
)
def test_nonsense_is_refused(scores, included, delta, confidence):
    with pytest.raises(ConfigError):
        epsilon_lower_bound(scores, np.array(included), delta, confidence=confidence)
