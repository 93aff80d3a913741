"""A lower bound of epsilon from one run with many canaries (Steinke, Nasr and Jagielski, 2023).

Each canary is put in or left out by a fair coin. Whoever sees what was released gives every canary
a score, guesses that the highest were in and the lowest out, and abstains from the rest. A
mechanism that is (epsilon, delta)-private bounds how often such guesses are right; so many right
guesses refute a small epsilon. A lower bound is not a guarantee: another attack may see more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError, MissingExtraError

__all__ = ["LowerBound", "auc_of", "epsilon_lower_bound"]

_FRACTIONS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Shares of the canaries that are guessed; the confidence is divided among them (Bonferroni)."""

_EPSILON_MAX = 64.0
_HALVINGS = 30


@dataclass(frozen=True, slots=True)
class LowerBound:
    """What one run says.

    Attributes:
        bound: Epsilon is at least this, unless the run was a rare one.
        guesses: How many canaries were guessed where the bound is largest.
        right: How many of these guesses were right.
        auc: The chance that a canary that was in scores above one that was out, ties counted half.
        auc_error: Its standard error (DeLong et al., 1988).
        canaries: How many there were.
        delta: The delta that the bound is for.
        confidence: The chance that a mechanism with a smaller epsilon keeps below the bound.
    """

    bound: float
    guesses: int
    right: int
    auc: float
    auc_error: float
    canaries: int
    delta: float
    confidence: float


def epsilon_lower_bound(
    scores: npt.ArrayLike, included: npt.ArrayLike, delta: float, *, confidence: float = 0.999
) -> LowerBound:
    """Return the largest epsilon that the scores refute (Steinke et al., 2023, theorem 5.2).

    Args:
        scores: (canaries,) what the attacker makes of each; high means "was in".
        included: (canaries,) truth values: which were in, each by its own fair coin.
        delta: The delta of the claim, 0 or more.
        confidence: The chance that the bound holds, over coins and noise together.

    Raises:
        ConfigError: Not two canaries of each kind, lengths that differ, a score that is NaN, a
            delta outside [0, 1) or a confidence outside (0, 1).
        MissingExtraError: The extra `privacy` is not installed.
    """
    values, inside = _checked(scores, included)
    if not 0 <= delta < 1 or not 0 < confidence < 1:
        raise ConfigError(
            f"Expected delta in [0, 1) and confidence in (0, 1), got {delta} and {confidence}."
        )
    auc, error = auc_of(values, inside)
    count = len(values)
    order = np.argsort(-values, kind="stable")
    level = (1 - confidence) / len(_FRACTIONS)
    best = (0.0, 0, 0)
    for fraction in _FRACTIONS:
        half = max(1, int(count * fraction) // 2)
        right = int(inside[order[:half]].sum() + (~inside[order[count - half :]]).sum())
        bound = _refuted(count, 2 * half, right, delta, level)
        if bound > best[0] or not best[1]:
            best = (bound, 2 * half, right)
    return LowerBound(*best, auc, error, count, delta, confidence)


def auc_of(scores: npt.ArrayLike, included: npt.ArrayLike) -> tuple[float, float]:
    """Return the area under the curve of an attack, and its standard error (DeLong et al., 1988).

    Args:
        scores: (rows,) high means "was in".
        included: (rows,) truth values.

    Raises:
        ConfigError: Not two rows of each kind, lengths that differ, or a score that is NaN.
    """
    values, inside = _checked(scores, included)
    ins, outs = np.sort(values[inside]), np.sort(values[~inside])
    above = _share_below(outs, ins)
    below = 1 - _share_below(ins, outs)
    variance = above.var(ddof=1) / len(ins) + below.var(ddof=1) / len(outs)
    return float(above.mean()), math.sqrt(float(variance))


def _share_below(
    others: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return for each value the share of the sorted `others` below it, ties counted half."""
    strictly = np.searchsorted(others, values, "left")
    weakly = np.searchsorted(others, values, "right")
    return np.asarray((strictly + weakly) / (2 * len(others)), np.float64)


def _refuted(count: int, guesses: int, right: int, delta: float, level: float) -> float:
    """Return the largest epsilon under which so many right guesses are rarer than `level`.

    Their chance is at most P(W >= v) + 2 m delta max over i of P(v - i <= W < v) / i, with W
    binomial: each of the guesses is right with the chance e^epsilon / (1 + e^epsilon).
    """
    binomial, steps = _binomial(), np.arange(1, right + 1)

    def rare(epsilon: float) -> bool:
        share = 1 / (1 + math.exp(-epsilon))
        tail = float(binomial.sf(right - 1, guesses, share))
        if delta == 0 or right == 0:
            return tail < level
        slope = np.max((binomial.sf(right - steps - 1, guesses, share) - tail) / steps)
        return tail + 2 * count * delta * max(0.0, float(slope)) < level

    if not rare(0.0):
        return 0.0
    low, high = 0.0, _EPSILON_MAX
    if rare(high):
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rare(middle) else (low, middle)
    return low


def _binomial() -> Any:
    try:
        return import_module("scipy.stats").binom
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "scipy":
            raise
        raise MissingExtraError("scipy", extra="privacy") from error


def _checked(
    scores: npt.ArrayLike, included: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    values, inside = np.asarray(scores, np.float64), np.asarray(included)
    if values.ndim != 1 or inside.shape != values.shape or inside.dtype != np.bool_:
        raise ConfigError(
            f"Expected scores (canaries,) and as many truth values, got shapes {values.shape} "
            f"and {inside.shape}."
        )
    if np.isnan(values).any():
        raise ConfigError("A canary's score is NaN.")
    if min(int(inside.sum()), int((~inside).sum())) < 2:
        raise ConfigError("Expected two canaries that were in and two that were out, or more.")
    return values, inside
