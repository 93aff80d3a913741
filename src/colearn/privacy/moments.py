"""Count, mean and mean of squares of each feature, with noise: what a shared scaling needs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError
from colearn.privacy.accountant import rho_for
from colearn.privacy.randomness import RandomSource, noised

__all__ = ["private_moments"]

FloatArray = npt.NDArray[np.float64]


def private_moments(
    X: npt.ArrayLike,
    *,
    bounds: tuple[npt.ArrayLike, npt.ArrayLike],
    epsilon: float,
    delta: float,
    source: RandomSource,
) -> tuple[int, FloatArray, FloatArray]:
    """Return the number of rows, and of each feature a noisy mean and mean of squares.

    Features are cut to public bounds and scaled to u in [-1, 1]. A row adds (u, 1 - u**2) of each
    feature, whose squares add up to 1 at most, so all sums together have the L2 sensitivity
    sqrt(features); normal noise makes them ``rho_for(epsilon, delta)`` zero-concentrated (Bun and
    Steinke, 2016, proposition 1.6). The number of rows counts as public.

    Args:
        X: Numbers (rows, features); a missing one counts as the middle of its bounds.
        bounds: The least and the largest value of each feature, (features,) each. They must be
            known without looking at the data.
        epsilon: Over 0. The caller notes the spend, ``ZeroConcentrated(rho_for(...))``, before.
        delta: Strictly between 0 and 1.
        source: Where the noise comes from.

    Returns:
        The count, the mean and the mean of squares, float64 (features,). The mean lies within
        the bounds, and the mean of squares is at least the square of the mean.

    Raises:
        ConfigError: `X` is no matrix of numbers or has no rows, bounds do not fit it, or epsilon
            or delta are outside their range.
    """
    data = _matrix(X)
    centre, half = _middle(bounds, data.shape[1])
    count, features = data.shape
    with np.errstate(over="ignore"):
        scaled = np.nan_to_num(np.clip((data - centre) / half, -1.0, 1.0), nan=0.0)
    sums = np.stack([scaled.sum(axis=0), (1 - scaled**2).sum(axis=0)])
    deviation = math.sqrt(features / (2 * rho_for(epsilon, delta)))
    noisy = noised(sums, deviation, source) / count
    mean = np.clip(noisy[0], -1.0, 1.0)
    square = np.maximum(np.clip(1 - noisy[1], 0.0, 1.0), mean**2)
    full_mean = centre + half * mean
    full_square = centre**2 + 2 * centre * half * mean + half**2 * square
    return count, full_mean, np.maximum(full_square, full_mean**2)


def _matrix(X: npt.ArrayLike) -> FloatArray:
    try:
        data = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"X must be numbers: {error}.") from error
    if data.ndim != 2 or 0 in data.shape:
        raise ConfigError(
            f"X must be (rows, features) with one of each at least, got {data.shape}."
        )
    return data


def _middle(
    bounds: tuple[npt.ArrayLike, npt.ArrayLike], features: int
) -> tuple[FloatArray, FloatArray]:
    """Return the middle of each feature's bounds and half their distance."""
    low, high = (np.asarray(side, dtype=np.float64) for side in bounds)
    if low.shape != (features,) or high.shape != (features,):
        raise ConfigError(
            f"Expected two bounds for each of {features} features, got the shapes {low.shape} and "
            f"{high.shape}."
        )
    half = high / 2 - low / 2
    if not bool(np.all(np.isfinite(low) & np.isfinite(high) & (half > 0))):
        raise ConfigError(
            "Each feature's bounds must be finite, the lower one below the upper.",
            hint="Bounds are public knowledge: what the feature can be, not what the data is.",
        )
    return low / 2 + high / 2, half
