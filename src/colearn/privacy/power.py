"""What the noise costs: chances of an approval and of a decision, and how loud training is.

Pure formulas for planning; they look at no data.
"""

from __future__ import annotations

import math
from fractions import Fraction

from colearn.errors import ConfigError

__all__ = [
    "approve_probability",
    "improvement_for",
    "noise_to_signal",
    "pass_probability",
    "passes",
]


def approve_probability(e0: float | Fraction, s: float, margin: float | Fraction) -> float:
    """Return the chance 1 / (1 + exp(-e0 (s - margin))) that a voter approves.

    Args:
        e0: The epsilon of one vote.
        s: The clipped sum of improvements, from -m to m with m units.
        margin: Where the chance is one half.
    """
    x = float(e0) * (s - float(margin))
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    # The other form does not overflow where x is far below 0.
    weight = math.exp(x)
    return weight / (1 + weight)


def improvement_for(
    probability: float, *, e0: float | Fraction, margin: float | Fraction, units_count: int
) -> float:
    """Return the mean clipped improvement at which a voter approves with `probability`.

    More than 1 cannot be reached: the vote set is too small for this e0.

    Raises:
        ConfigError: `probability` is not strictly between 0 and 1, or another argument not over 0.
    """
    if not 0 < probability < 1:
        raise ConfigError(f"A probability strictly between 0 and 1 is needed, got {probability!r}.")
    if e0 <= 0 or units_count < 1:
        raise ConfigError(f"e0 and the units must be over 0, got {e0!r} and {units_count!r}.")
    s = float(margin) + math.log(probability / (1 - probability)) / float(e0)
    return s / units_count


def passes(approve: float, *, voters: int, needed: int) -> float:
    """Return the chance that at least `needed` of `voters` approve, each with chance `approve`.

    Raises:
        ConfigError: `approve` is no probability, or a number of voters is below 0.
    """
    if not 0 <= approve <= 1:
        raise ConfigError(f"Expected a probability, got {approve!r}.")
    if voters < 0 or needed < 0:
        raise ConfigError(f"Expected numbers of voters, got {voters!r} and {needed!r}.")
    chances = (
        math.comb(voters, k) * approve**k * (1 - approve) ** (voters - k)
        for k in range(needed, voters + 1)
    )
    return min(1.0, math.fsum(chances))


def pass_probability(
    improvement: float,
    *,
    e0: float | Fraction,
    margin: float | Fraction,
    units_count: int,
    voters: int,
    needed: int,
) -> float:
    """Return the chance that a proposal passes, if it helps all voters alike.

    Args:
        improvement: The mean clipped improvement of a unit, from -1 to 1.
        e0: The epsilon of one vote.
        margin: Where a vote's chance is one half, in units of the clipped sum.
        units_count: Units of each voter's vote set.
        voters: How many vote.
        needed: How many must approve.

    Raises:
        ConfigError: A number of voters is below 0.
    """
    approve = approve_probability(e0, improvement * units_count, margin)
    return passes(approve, voters=voters, needed=needed)


def noise_to_signal(
    noise_multiplier: float, *, expected_batch_size: float, parameters: int, steps: int = 1
) -> float:
    """Return the length of the noise over the greatest length of the gradient, after `steps`.

    The signal is largest when all units' gradients are at the bound and point one way in every
    step; true gradients are shorter, so this is the least ratio. Over 1 the noise leads.

    Args:
        noise_multiplier: Standard deviation of the noise in units of the clipping bound.
        expected_batch_size: Units a step draws on average.
        parameters: Numbers that are trained.
        steps: Steps that are added up; noise grows by their square root, the signal by them.

    Raises:
        ConfigError: An argument is not over 0.
    """
    if not (noise_multiplier >= 0 and expected_batch_size > 0 and parameters > 0 and steps > 0):
        raise ConfigError(
            "Expected noise of at least 0, and a batch, parameters and steps over 0, got "
            f"{noise_multiplier!r}, {expected_batch_size!r}, {parameters!r} and {steps!r}."
        )
    return noise_multiplier * math.sqrt(parameters / steps) / expected_batch_size
