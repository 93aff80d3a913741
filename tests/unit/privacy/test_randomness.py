import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from colearn.errors import ConfigError
from colearn.privacy.randomness import (
    PAIRS_PIECE,
    PIECE_BYTES,
    SecureSource,
    SimulationSource,
    bernoulli_logistic,
    gaussian,
    noised,
    poisson_sample,
    source_of,
    uniform_below,
)

# Correct code fails a test of secure noise once in a million runs.
RARE = 1e-6


def test_secure_noise_is_normal():
    noise = gaussian(200_000, SecureSource())
    assert noise.dtype == np.float64
    assert stats.kstest(noise, "norm").pvalue > RARE
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.std() - 1) < 5 / np.sqrt(2 * noise.size)
    assert abs(stats.kurtosis(noise)) < 5 * np.sqrt(24 / noise.size)
    # The two numbers of a pair, and neighbours, have nothing to do with each other.
    for lag in (1, noise.size // 2, PAIRS_PIECE):
        assert abs(np.mean(noise[:-lag] * noise[lag:])) < 5 / np.sqrt(noise.size - lag)


@pytest.mark.parametrize("shape", [0, 1, (3, 5), (2, 0), (), (2 * PAIRS_PIECE + 3,)])
def test_noise_has_the_shape_asked_for(shape):
    noise = gaussian(shape, SecureSource())
    assert noise.shape == np.empty(shape).shape
    assert np.isfinite(noise).all()
    assert np.unique(noise).size == noise.size


@pytest.mark.parametrize("byte", [0, 255])
def test_the_extreme_bytes_give_finite_noise(byte):
    class Constant:
        label = "simulation"

        def take(self, count):
            return bytes([byte]) * count

    noise = gaussian(4, Constant())
    assert np.isfinite(noise).all()
    assert np.abs(noise).max() < 8.58


def test_released_noise_lies_on_a_grid():
    values = np.array([0.1, 1e3, -7.3e-9, 12345.678])
    noisy = noised(values, 3.0, SecureSource())
    assert (noisy * 2**18 == np.rint(noisy * 2**18)).all()
    assert np.abs(noisy - values).max() < 30
    assert (noised(values, 0.0, SecureSource()) == values).all()


def test_secure_bytes_differ_every_time_and_are_even():
    source = SecureSource()
    assert source.label == "secure"
    assert source.take(32) != source.take(32)
    assert source.take(0) == b""
    long = source.take(PIECE_BYTES + 100)
    assert len(long) == PIECE_BYTES + 100
    assert long[:100] != long[PIECE_BYTES:]
    counts = np.bincount(np.frombuffer(long, np.uint8), minlength=256)
    assert stats.chisquare(counts).pvalue > RARE


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork.")
def test_forked_processes_draw_different_noise():
    script = """
import os, sys
from colearn.privacy.randomness import SecureSource
source = SecureSource()
source.take(64)
for _ in range(3):
    if os.fork() == 0:
        os.write(1, source.take(16).hex().encode() + b"\\n")
        os._exit(0)
for _ in range(3):
    os.wait()
os.write(1, source.take(16).hex().encode() + b"\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    lines = done.stdout.split()
    assert len(lines) == len(set(lines)) == 4


def test_a_simulation_repeats_with_its_seed():
    first, again, other = SimulationSource(5), SimulationSource(5), SimulationSource(6)
    assert first.label == "simulation"
    assert first.take(40) == again.take(40) != other.take(40)
    assert (gaussian(9, first) == gaussian(9, again)).all()
    assert first.take(8) == again.take(8)


def test_sources_by_name():
    assert source_of("secure", 3).label == "secure"
    assert source_of("simulation", 3).take(9) == SimulationSource(3).take(9)
    with pytest.raises(ConfigError, match="secure"):
        source_of("numpy", 3)
    for seed in (-1, 1.5, None, True):
        with pytest.raises(ConfigError, match="seed"):
            SimulationSource(seed)
    for source in (SecureSource(), SimulationSource(1)):
        with pytest.raises(ConfigError, match="count"):
            source.take(-1)


def test_a_poisson_sample_takes_each_with_its_chance():
    source, taken, draws = SecureSource(), np.zeros(50, dtype=int), 2000
    for _ in range(draws):
        sample = poisson_sample(50, 0.3, source)
        assert (np.diff(sample) > 0).all()
        taken[sample] += 1
    assert stats.binomtest(int(taken.sum()), 50 * draws, 0.3).pvalue > RARE
    z = (taken - 0.3 * draws) / np.sqrt(draws * 0.21)
    assert stats.chi2.sf((z**2).sum(), 50) > RARE
    assert sample.dtype == np.int64


def test_the_ends_of_poisson_sampling():
    source = SecureSource()
    assert poisson_sample(5, 1, source).tolist() == [0, 1, 2, 3, 4]
    assert poisson_sample(5, 0, source).size == 0
    assert poisson_sample(0, 0.5, source).size == 0
    for count, rate in ((-1, 0.5), (3, 1.1), (3, -0.1), (3, float("nan"))):
        with pytest.raises(ConfigError):
            poisson_sample(count, rate, source)


@pytest.mark.parametrize("bound", [1, 2, 5, 256, 257])
def test_whole_numbers_are_even(bound):
    draws = 8000
    counts = np.bincount(
        [uniform_below(bound, source) for source in [SecureSource()] for _ in range(draws)],
        minlength=bound,
    )
    assert counts.size == bound
    assert bound == 1 or stats.chisquare(counts).pvalue > RARE


def test_a_whole_number_below_nothing_is_refused():
    with pytest.raises(ConfigError, match="bound"):
        uniform_below(0, SecureSource())
    assert 0 <= uniform_below(10**40, SecureSource()) < 10**40


@pytest.mark.parametrize(
    "x", [Fraction(0), Fraction(1), Fraction(-5, 2), Fraction(30), Fraction(-30), Fraction(1, 3)]
)
def test_a_logistic_coin_has_its_chance(x):
    source, draws = SecureSource(), 10_000
    heads = sum(bernoulli_logistic(x, source) for _ in range(draws))
    assert stats.binomtest(heads, draws, 1 / (1 + np.exp(-float(x)))).pvalue > RARE


@pytest.mark.parametrize("x", [Fraction(10**6, 3), Fraction(-(10**6), 3)])
def test_a_certain_logistic_coin(x):
    assert all(bernoulli_logistic(x, SecureSource()) is (x > 0) for _ in range(200))
