import math

import numpy as np
import pytest
from scipy import stats

from colearn.errors import ConfigError
from colearn.preprocess import Moments, shared_scaling
from colearn.privacy.accountant import rho_for
from colearn.privacy.moments import private_moments
from colearn.privacy.randomness import SecureSource, SimulationSource

# Correct code fails a test of secure noise once in a million runs.
RARE = 1e-6
LOW, HIGH = np.array([0.0, -10.0, 5.0]), np.array([1.0, 10.0, 9.0])


def moments(X, *, bounds=(LOW, HIGH), epsilon=1.0, delta=1e-6, source=None):
    return private_moments(
        X, bounds=bounds, epsilon=epsilon, delta=delta, source=source or SecureSource()
    )


def rows(count):
    return np.random.default_rng(3).uniform(LOW, HIGH, (count, 3))


def test_many_rows_have_nearly_their_own_moments():
    X = rows(50_000)
    count, mean, square = moments(X)
    assert count == 50_000
    np.testing.assert_allclose(mean, X.mean(axis=0), atol=5e-3 * (HIGH - LOW).max())
    np.testing.assert_allclose(square, (X**2).mean(axis=0), rtol=2e-2, atol=1e-2)


def test_the_noise_is_that_of_the_sensitivity():
    epsilon, delta, features, count = 1.0, 1e-6, 4, 1000
    bounds = (np.full(features, -1.0), np.full(features, 1.0))
    X = np.zeros((count, features))
    draws = np.concatenate(
        [moments(X, bounds=bounds, epsilon=epsilon, delta=delta)[1] for _ in range(500)]
    )
    deviation = math.sqrt(features / (2 * rho_for(epsilon, delta))) / count
    assert stats.kstest(draws / deviation, "norm").pvalue > RARE


def test_no_row_moves_the_sums_by_more_than_the_sensitivity():
    u = np.linspace(-1, 1, 2001)
    assert (u**2 + (1 - u**2) ** 2).max() <= 1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_rows_still_give_moments_that_can_be(count):
    for seed in range(200):
        _, mean, square = moments(rows(count), epsilon=0.1, source=SimulationSource(seed))
        assert (mean >= LOW).all(), seed
        assert (mean <= HIGH).all(), seed
        assert (square >= mean**2).all(), seed
        assert (square <= np.maximum(LOW**2, HIGH**2) * (1 + 1e-12)).all(), seed
        shared_scaling([Moments(count, mean, square)])


def test_values_outside_the_bounds_count_as_the_bounds_and_missing_ones_as_their_middle():
    X = np.array([[5.0, np.inf, np.nan], [-5.0, -1e308, np.nan], [np.inf, 1e308, 7.0]])
    cut = np.array([[1.0, 10.0, 7.0], [0.0, -10.0, 7.0], [1.0, 10.0, 7.0]])
    for one, other in zip(
        moments(X, source=SimulationSource(1)),
        moments(cut, source=SimulationSource(1)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "arguments",
    [
        {"X": np.zeros((0, 3))},
        {"X": np.zeros(3)},
        {"X": [["a", "b", "c"]]},
        {"X": np.zeros((4, 2))},
        {"bounds": (LOW, LOW)},
        {"bounds": (HIGH, LOW)},
        {"bounds": (LOW, [1.0, np.inf, 9.0])},
        {"bounds": (LOW, [1.0, np.nan, 9.0])},
        {"bounds": (0.0, 1.0)},
        {"epsilon": 0.0},
        {"delta": 0.0},
    ],
)
def test_what_has_no_private_moments_is_refused(arguments):
    with pytest.raises(ConfigError):
        moments(**({"X": rows(4)} | arguments))
