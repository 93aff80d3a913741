"""How much all releases together reveal: epsilon at a delta, by two ways of composing.

Subsampled Gaussians are composed numerically as privacy loss distributions (Koskela, Jälkö and
Honkela, 2020; Doroshenko et al., 2022), full ones by their closed form (Balle and Wang, 2018).
Votes are composed by adding their rho of zero-concentrated privacy (Bun and Steinke, 2016).
Every figure is an upper bound, and none falls when a spend is added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from colearn.errors import ConfigError, MissingExtraError

__all__ = [
    "SampledGaussian",
    "Spend",
    "ZeroConcentrated",
    "epsilon_of",
    "noise_multiplier_for",
    "rho_for",
]

EPSILON_FINE_MAX = 1000.0
"""Beyond this the coarser bound is enough: nobody calls such an epsilon private."""

GRID_STEP = 5e-4
"""Width of the grid of privacy losses, for epsilons up to `GRID_EPSILON`.

A grid five times finer costs five times as much. It would claim .01 % less for 6,000 steps at noise
1 and rate .01, and 1.7 % less for 50,000 at noise 1.1 and rate .001.
"""

GRID_EPSILON = 16.0
GRID_POINTS_MAX = 2.5e5
"""The grid of one step's losses has about as many points at most; it is coarser if need be."""

TAIL = 10.0
"""Standard deviations of noise beyond which e ** -50 of the mass lies."""

ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 512, 1024)
"""Whole Rényi orders: those between need a series that does not always converge."""

TARGET_MISS = 2e-5
"""By how much, relatively, a solved epsilon may stay below the target."""

NOISE_MIN = 2.0**-7
NOISE_MAX = 2.0**20


@dataclass(frozen=True, slots=True)
class SampledGaussian:
    """Steps of the Gaussian mechanism, each on a Poisson sample of the units.

    Attributes:
        noise_multiplier: Standard deviation of the noise in units of the sensitivity; 0 is none.
        sampling_rate: The chance of each unit to be in a step, over 0 and at most 1.
        count: Steps, at least 0.

    Raises:
        ConfigError: A number is outside its range.
    """

    noise_multiplier: float
    sampling_rate: float
    count: int

    def __post_init__(self) -> None:
        _require_number("noise_multiplier", self.noise_multiplier, least=0.0)
        _require_rate(self.sampling_rate)
        _require_count("count", self.count, least=0)


@dataclass(frozen=True, slots=True)
class ZeroConcentrated:
    """A release with `rho` of zero-concentrated differential privacy (Bun and Steinke, 2016).

    Attributes:
        rho: At least 0 and finite; of several releases, their sum.

    Raises:
        ConfigError: `rho` is no such number.
    """

    rho: float

    def __post_init__(self) -> None:
        _require_number("rho", self.rho, least=0.0)


Spend = SampledGaussian | ZeroConcentrated


def epsilon_of(spends: Iterable[Spend], delta: float) -> float:
    """Return the epsilon that all `spends` on the same units reach together at `delta`.

    Gaussians and zero-concentrated releases are composed among themselves. If there are both,
    each kind has half of `delta` and the epsilons add up. The order makes no difference.

    Args:
        spends: What was released, on neighbours that differ by one unit more or less.
        delta: Strictly between 0 and 1.

    Returns:
        0.0 for no spends, infinity for a step without noise.

    Raises:
        ConfigError: `delta` is no such number.
        MissingExtraError: dp-accounting is not installed, and there are Gaussians.
    """
    _require_delta(delta)
    steps: dict[tuple[float, float], int] = {}
    rhos: list[float] = []
    for spend in spends:
        if isinstance(spend, ZeroConcentrated):
            rhos.append(spend.rho)
        elif spend.count:
            key = (float(spend.noise_multiplier), float(spend.sampling_rate))
            steps[key] = steps.get(key, 0) + spend.count
    rho = math.fsum(rhos)
    share = delta / 2 if steps and rho else delta
    epsilon = _epsilon_of_rho(rho, share)
    if steps:
        gaussians = tuple(sorted((*key, count) for key, count in steps.items()))
        epsilon += _epsilon_of_gaussians(gaussians, share)
    return epsilon


@lru_cache(maxsize=256)
def noise_multiplier_for(
    epsilon: float,
    delta: float,
    *,
    sampling_rate: float,
    count: int,
    besides: tuple[Spend, ...] = (),
) -> float:
    """Return the least noise with which `count` steps stay within `epsilon`.

    `epsilon_of` of these steps is at most `epsilon` and misses it by 2e-5 of it at most, so that
    the planned steps fit exactly and one proposal more does not.

    Args:
        epsilon: Of all steps together, over 0.
        delta: Strictly between 0 and 1.
        sampling_rate: The chance of each unit to be in a step, over 0 and at most 1.
        count: Steps, at least 1.
        besides: What the same units have spent already.

    Raises:
        ConfigError: An argument is outside its range, or no noise is enough.
        MissingExtraError: dp-accounting is not installed.
    """
    _require_target(epsilon, delta)
    _require_rate(sampling_rate)
    _require_count("count", count, least=1)

    def fine(noise: float) -> float:
        return epsilon_of([*besides, SampledGaussian(noise, sampling_rate, count)], delta)

    def coarse(noise: float) -> float:
        return _coarse_epsilon(((noise, sampling_rate, count),), delta)

    if fine(NOISE_MAX) > epsilon:
        raise ConfigError(
            f"No noise keeps {count} steps at the sampling rate {sampling_rate} within epsilon "
            f"{epsilon} at delta {delta}.",
            hint="Raise target_epsilon or target_delta, or plan fewer proposals or steps.",
        )
    start = _least_power(coarse, epsilon, at=1.0, factor=2.0)
    if start > NOISE_MIN:
        # The coarse bound costs little and lies 5 to 50 % above: it gives a narrow bracket.
        start = _solve(coarse, epsilon, start / 2, start, miss=0.02)
    high = _least_power(fine, epsilon, at=start, factor=1.25)
    if high <= NOISE_MIN:
        return high
    return _solve(fine, epsilon, high / 1.25, high, miss=TARGET_MISS)


@lru_cache(maxsize=256)
def rho_for(epsilon: float, delta: float, *, besides: tuple[Spend, ...] = ()) -> float:
    """Return the largest rho that reaches `epsilon` at most, at `delta`.

    Args:
        epsilon: Of everything together, over 0.
        delta: Strictly between 0 and 1.
        besides: What the same units have spent already.

    Returns:
        0.0 where that leaves nothing.

    Raises:
        ConfigError: `epsilon` is not over 0, or `delta` not strictly between 0 and 1.
    """
    _require_target(epsilon, delta)

    def reached(rho: float) -> float:
        return epsilon_of([*besides, ZeroConcentrated(rho)], delta)

    low, high = 0.0, float(epsilon)
    while reached(high) <= epsilon:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        if reached(middle) <= epsilon:
            low = middle
        else:
            high = middle
    return low


@lru_cache(maxsize=1024)
def _epsilon_of_rho(rho: float, delta: float) -> float:
    """Convert by the best Rényi order (Canonne, Kamath and Steinke, 2020, corollary 13)."""
    if rho == 0:
        return 0.0

    def at(log_excess: float) -> float:
        excess = math.exp(log_excess)
        order = 1 + excess
        return rho * order - (math.log(order) + math.log(delta)) / excess - math.log1p(1 / excess)

    # The minimum is near sqrt(log(1/delta)/rho); any order gives a valid bound.
    centre = math.log(max(math.log(1 / delta), 1e-6) / rho) / 2
    return max(0.0, _least_value(at, centre - 8, centre + 8))


def _least_value(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the minimum over an interval, by golden sections."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > 1e-9:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return min(at_left, at_right)


_Steps = tuple[tuple[float, float, int], ...]
"""Noise multiplier, sampling rate and count of each kind of step, sorted."""


@lru_cache(maxsize=4096)
def _epsilon_of_gaussians(steps: _Steps, delta: float) -> float:
    if any(noise == 0 for noise, _, _ in steps):
        return math.inf
    if all(rate == 1 for _, rate, _ in steps):
        return _epsilon_of_full(steps, delta)
    coarse = _coarse_epsilon(steps, delta)
    if coarse > EPSILON_FINE_MAX:
        return coarse
    # Grids of double width hold every second point, so a coarser one never claims less.
    range_of_one = max(1 / (2 * noise**2) + TAIL / noise for noise, _, _ in steps)
    need = max(coarse / GRID_EPSILON, range_of_one / GRID_POINTS_MAX / GRID_STEP, 1.0)
    step = GRID_STEP * 2.0 ** math.ceil(math.log2(need))
    total: Any = None
    for noise, rate, count in steps:
        loss = _loss_of_one(noise, rate, step).self_compose(count)
        total = loss if total is None else total.compose(loss)
    return min(coarse, max(0.0, float(total.get_epsilon_for_delta(delta))))


def _epsilon_of_full(steps: _Steps, delta: float) -> float:
    """Steps on all units are one Gaussian, whose inverse variance is the sum of theirs."""
    precision = math.fsum(count / noise**2 for noise, _, count in steps)
    # With much noise a delta below the smallest float is met on the way: its logarithm warns.
    with np.errstate(divide="ignore"):
        return float(_dp_accounting().get_epsilon_gaussian(1 / math.sqrt(precision), delta))


@lru_cache(maxsize=4096)
def _coarse_epsilon(steps: _Steps, delta: float) -> float:
    """Return the bound by Rényi orders (Mironov, Talwar and Zhang, 2019): cheap, never less."""
    package = _dp_accounting()
    accountant = package.rdp.RdpAccountant(ORDERS)
    for noise, rate, count in steps:
        event = package.PoissonSampledDpEvent(rate, package.GaussianDpEvent(noise))
        accountant.compose(event, count)
    return float(accountant.get_epsilon(delta))


@lru_cache(maxsize=8)
def _loss_of_one(noise: float, rate: float, step: float) -> Any:
    distributions = _dp_accounting().pld.privacy_loss_distribution
    return distributions.from_gaussian_mechanism(
        noise, sampling_prob=rate, value_discretization_interval=step
    )


def _dp_accounting() -> Any:
    try:
        return import_module("dp_accounting")
    except ModuleNotFoundError as error:
        if error.name != "dp_accounting":
            raise
        raise MissingExtraError("dp-accounting", extra="privacy") from error


def _least_power(
    function: Callable[[float], float], target: float, *, at: float, factor: float
) -> float:
    """Return the least ``at * factor**k`` at which a falling `function` is within the target.

    Beyond `NOISE_MAX` and below `NOISE_MIN` nothing is tried.
    """
    noise = at
    while function(noise) > target and noise < NOISE_MAX:
        noise = min(noise * factor, NOISE_MAX)
    if noise > at:
        return noise
    while noise > NOISE_MIN and function(noise / factor) <= target:
        noise /= factor
    return noise


def _solve(
    function: Callable[[float], float], target: float, low: float, high: float, *, miss: float
) -> float:
    """Return a place in (low, high] at which a falling `function` is at the target or just below.

    Args:
        function: What falls.
        target: What it shall not exceed.
        low: Where it exceeds it.
        high: Where it does not.
        miss: How far below the target it may be, relatively.
    """
    above, below = function(low), function(high)
    for turn in range(80):
        if below >= target * (1 - miss) or high <= low * (1 + 1e-12):
            break
        guess = math.sqrt(low * high)
        if turn % 3 < 2 and below > 0 and math.isfinite(above):
            # Nearly a power law: a straight line through both ends, on logarithmic scales.
            aim = math.log(target) + math.log1p(-miss / 3)
            share = (math.log(above) - aim) / (math.log(above) - math.log(below))
            guess = low * (high / low) ** min(max(share, 1e-3), 1 - 1e-3)
        value = function(guess)
        if value <= target:
            high, below = guess, value
        else:
            low, above = guess, value
    return high


def _require_number(name: str, value: object, *, least: float) -> None:
    ok = isinstance(value, int | float) and not isinstance(value, bool)
    if not ok or not math.isfinite(value) or value < least:  # type: ignore[operator, arg-type]
        raise ConfigError(f"{name} must be a finite number of at least {least}, got {value!r}.")


def _require_count(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, got {value!r}.")


def _require_rate(rate: float) -> None:
    _require_number("sampling_rate", rate, least=0.0)
    if not 0 < rate <= 1:
        raise ConfigError(
            f"sampling_rate must be over 0 and at most 1, got {rate!r}.",
            hint="It is the expected batch size divided by the number of units.",
        )


def _require_delta(delta: float) -> None:
    _require_number("delta", delta, least=0.0)
    if not 0 < delta < 1:
        raise ConfigError(f"delta must be strictly between 0 and 1, got {delta!r}.")


def _require_target(epsilon: float, delta: float) -> None:
    _require_delta(delta)
    _require_number("epsilon", epsilon, least=0.0)
    if epsilon == 0:
        raise ConfigError(
            "epsilon must be over 0, got 0.", hint="With epsilon 0 nothing can be released."
        )
