import itertools
import math
import subprocess
import sys

import dp_accounting
import pytest

from colearn.errors import ConfigError
from colearn.privacy.accountant import (
    SampledGaussian,
    ZeroConcentrated,
    epsilon_of,
    noise_multiplier_for,
    rho_for,
)

DELTA = 1e-6


def direct(steps, delta=DELTA):
    accountant = dp_accounting.pld.PLDAccountant()
    for noise, rate, count in steps:
        event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
        accountant.compose(event, count)
    return accountant.get_epsilon(delta)


def gaussian_delta(epsilon, mu):
    def below(x):
        return math.erfc(-x / math.sqrt(2)) / 2

    return below(mu / 2 - epsilon / mu) - math.exp(epsilon) * below(-mu / 2 - epsilon / mu)


@pytest.mark.parametrize(
    ("epsilon", "votes", "e0"),
    [(1, 200, 0.0312), (2, 200, 0.0594), (2, 1000, 0.0266), (4, 200, 0.1115), (8, 200, 0.2052)],
)
def test_rho_of_planned_votes(epsilon, votes, e0):
    assert math.sqrt(8 * rho_for(epsilon, DELTA) / votes) == pytest.approx(e0, abs=6e-5)


@pytest.mark.parametrize("noise", [0.5, 3.0, 50.0])
@pytest.mark.parametrize("count", [1, 40])
def test_full_participation_is_the_closed_form_of_one_gaussian(noise, count):
    epsilon = epsilon_of([SampledGaussian(noise, 1.0, count)], DELTA)
    assert gaussian_delta(epsilon, math.sqrt(count) / noise) == pytest.approx(DELTA, rel=1e-6)


@pytest.mark.parametrize(
    "steps",
    [
        [(1.0, 0.02, 500)],
        [(4.0, 0.3, 200)],
        [(1.5, 0.05, 100), (3.0, 0.1, 50)],
        [(2.0, 0.1, 20), (9.0, 1.0, 3)],
    ],
)
def test_sampled_gaussians_agree_with_dp_accounting(steps):
    spends = [SampledGaussian(*step) for step in steps]
    assert epsilon_of(spends, DELTA) == pytest.approx(direct(steps), rel=1e-4)


def test_zero_concentrated_is_never_above_nor_far_below_the_grid_of_orders():
    for rho in (1e-6, 1e-3, 0.09, 1.0, 30.0):
        accountant = dp_accounting.rdp.RdpAccountant([1 + 1.02**k for k in range(-300, 700)])
        accountant.compose(dp_accounting.ZCDpEvent(rho))
        reference = accountant.get_epsilon(DELTA)
        assert epsilon_of([ZeroConcentrated(rho)], DELTA) == pytest.approx(reference, rel=2e-3)
        assert epsilon_of([ZeroConcentrated(rho)], DELTA) <= reference * (1 + 1e-9)


def test_a_zero_concentrated_gaussian_costs_more_than_the_gaussian_it_bounds():
    for noise in (2.0, 10.0):
        exact = epsilon_of([SampledGaussian(noise, 1.0, 1)], DELTA)
        bound = epsilon_of([ZeroConcentrated(1 / (2 * noise**2))], DELTA)
        assert exact < bound < 1.2 * exact


@pytest.mark.parametrize(
    ("epsilon", "rate", "steps", "proposals"),
    [
        (0.5, 0.01, 20, 100),
        (2.0, 0.05, 10, 50),
        (2.0, 1.0, 1, 200),
        (8.0, 0.2, 5, 1000),
        (30.0, 0.9, 5, 10),
    ],
)
def test_planned_proposals_reach_the_target_and_one_more_does_not_fit(
    epsilon, rate, steps, proposals
):
    noise = noise_multiplier_for(epsilon, DELTA, sampling_rate=rate, count=steps * proposals)
    planned = [SampledGaussian(noise, rate, steps)] * proposals
    assert epsilon * (1 - 1e-4) <= epsilon_of(planned, DELTA) <= epsilon
    assert epsilon_of([*planned, planned[0]], DELTA) > epsilon
    less = [SampledGaussian(noise * (1 - 1e-4), rate, steps * proposals)]
    assert epsilon_of(less, DELTA) > epsilon


@pytest.mark.parametrize("epsilon", [1e-3, 1.0, 25.0])
@pytest.mark.parametrize("delta", [1e-12, 1e-6, 0.3])
def test_the_largest_rho_fits_and_the_next_does_not(epsilon, delta):
    rho = rho_for(epsilon, delta)
    assert epsilon_of([ZeroConcentrated(rho)], delta) <= epsilon
    assert epsilon_of([ZeroConcentrated(rho * (1 + 1e-6))], delta) > epsilon


def test_epsilon_never_falls_when_a_spend_is_added():
    spends = [
        SampledGaussian(1.2, 0.05, 30),
        SampledGaussian(8.0, 1.0, 2),
        ZeroConcentrated(0.01),
        SampledGaussian(1.2, 0.05, 1),
        ZeroConcentrated(0.02),
        # Here the grid of losses becomes coarser, and then the coarse bound takes over.
        SampledGaussian(0.5, 0.3, 20),
        SampledGaussian(0.5, 0.3, 400),
        SampledGaussian(0.1, 0.5, 40),
        SampledGaussian(0.0, 0.5, 1),
    ]
    reached = [epsilon_of(spends[:count], DELTA) for count in range(len(spends) + 1)]
    assert reached[0] == 0.0
    assert reached[-1] == math.inf
    assert all(before < after for before, after in itertools.pairwise(reached))


def test_epsilon_rises_with_every_step():
    reached = [epsilon_of([SampledGaussian(0.7, 0.2, count)], DELTA) for count in range(1, 60, 15)]
    assert all(before < after for before, after in itertools.pairwise(reached))


def test_order_and_division_into_spends_make_no_difference():
    parts = [
        SampledGaussian(1.0, 0.1, 3),
        ZeroConcentrated(0.02),
        SampledGaussian(2.0, 0.1, 5),
        SampledGaussian(1.0, 0.1, 4),
        SampledGaussian(1.0, 0.1, 0),
    ]
    whole = [
        SampledGaussian(2.0, 0.1, 5),
        SampledGaussian(1.0, 0.1, 7),
        ZeroConcentrated(0.02),
    ]
    assert epsilon_of(parts, DELTA) == epsilon_of(reversed(parts), DELTA)
    assert epsilon_of(parts, DELTA) == epsilon_of(whole, DELTA)


def test_both_kinds_share_delta():
    gaussian, votes = SampledGaussian(2.0, 0.1, 5), ZeroConcentrated(0.02)
    both = epsilon_of([gaussian, votes], DELTA)
    assert both == epsilon_of([gaussian], DELTA / 2) + epsilon_of([votes], DELTA / 2)


def test_nothing_released_reveals_nothing():
    assert epsilon_of([], DELTA) == 0.0
    assert epsilon_of([SampledGaussian(0.0, 0.5, 0), ZeroConcentrated(0.0)], DELTA) == 0.0


@pytest.mark.parametrize(
    ("noise", "rate", "count"), [(1e-3, 0.01, 10), (1e-6, 1e-9, 10**9), (0.02, 1e-7, 3)]
)
def test_next_to_no_noise_needs_no_endless_grid(noise, rate, count):
    assert epsilon_of([SampledGaussian(noise, rate, count)], DELTA) > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: SampledGaussian(-1.0, 0.1, 1),
        lambda: SampledGaussian(math.nan, 0.1, 1),
        lambda: SampledGaussian(math.inf, 0.1, 1),
        lambda: SampledGaussian(1.0, 0.0, 1),
        lambda: SampledGaussian(1.0, 1.1, 1),
        lambda: SampledGaussian(1.0, 0.1, -1),
        lambda: SampledGaussian(1.0, 0.1, 1.5),
        lambda: SampledGaussian(1.0, 0.1, True),
        lambda: ZeroConcentrated(-0.1),
        lambda: ZeroConcentrated(math.inf),
        lambda: ZeroConcentrated("1"),
        lambda: epsilon_of([], 0.0),
        lambda: epsilon_of([], 1.0),
        lambda: epsilon_of([], math.nan),
        lambda: rho_for(0, DELTA),
        lambda: rho_for(math.inf, DELTA),
        lambda: noise_multiplier_for(0.0, DELTA, sampling_rate=0.1, count=1),
        lambda: noise_multiplier_for(-1.0, DELTA, sampling_rate=0.1, count=1),
        lambda: noise_multiplier_for(1.0, DELTA, sampling_rate=0.1, count=0),
        lambda: noise_multiplier_for(1.0, DELTA, sampling_rate=2.0, count=1),
        lambda: noise_multiplier_for(1e-9, 1e-30, sampling_rate=0.9, count=10**6),
    ],
)
def test_nonsense_is_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_without_dp_accounting_the_package_imports_and_says_what_is_missing():
    script = """
import sys
sys.modules["dp_accounting"] = None
import colearn.privacy as privacy
from colearn.errors import MissingExtraError
assert privacy.rho_for(1.0, 1e-6) > 0
try:
    privacy.epsilon_of([privacy.SampledGaussian(1.0, 0.1, 1)], 1e-6)
except MissingExtraError as error:
    print(error.extra)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "privacy"), done.stderr
