"""The conformance of a Gaussian mechanism: what it releases, against what is claimed of it.

One step in which everybody takes part, on canaries whose gradients lie on coordinates of their own.
Over many steps sampling hides a fault that one step shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from colearn.privacy.accountant import SampledGaussian, epsilon_of
from colearn.privacy.onerun import LowerBound, epsilon_lower_bound

__all__ = ["MechanismAudit", "Release", "Settings", "audit_mechanism"]

Release = Callable[[npt.NDArray[np.bool_]], npt.NDArray[np.float64]]
"""Which canaries are in, (canaries,), to the released update on each one's coordinate."""

_DRAWS = 3
_COINS = 0x636F696E


@dataclass(frozen=True, slots=True)
class Settings:
    """How a mechanism is audited.

    Attributes:
        canaries: Canaries of one run.
        runs: Runs on canaries of their own, which count as one (parallel composition).
        noise_multiplier: The noise of the step, in units of the clipping bound.
        delta: The delta of the claim.
        confidence: With which the lower bound holds.
        deviations: Standard errors by which the AUC may exceed the theory.
        seed: Of the coins that put canaries in or leave them out.
    """

    canaries: int = 2000
    runs: int = 1
    noise_multiplier: float = 2.0
    delta: float = 1e-6
    confidence: float = 0.999
    deviations: float = 3.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class MechanismAudit:
    """What was seen of one mechanism.

    Attributes:
        epsilon: What is claimed of the step.
        auc: What the theory allows an attacker who looks at what is released of one canary.
        seen: What the attacker reached.
        findings: What contradicts the claim, a sentence each.
    """

    epsilon: float
    auc: float
    seen: LowerBound
    findings: tuple[str, ...]


def audit_mechanism(
    release: Release, settings: Settings, auc: float | None = None
) -> MechanismAudit:
    """Hold what `release` gives away against the claim of one Gaussian step.

    Each canary is in with probability 1/2. A mechanism that keeps its promise still looks guilty
    once in several hundred draws, so a fault counts when three draws of noise in a row show one.

    Args:
        release: Puts the canaries in, each at the clipping bound or beyond, and lets the real code
            clip them, add noise and release.
        settings: How many canaries, and what is claimed.
        auc: What the theory allows; None for an attacker who sees the noised coordinate itself.

    Raises:
        MissingExtraError: The extra `privacy` is not installed.
    """
    # A stream of its own: a simulation of the same seed must not draw these coins for its noise.
    coins = np.random.default_rng([settings.seed, _COINS])
    noise = settings.noise_multiplier
    epsilon = epsilon_of([SampledGaussian(noise, 1.0, 1)], settings.delta)
    allowed = NormalDist().cdf(1 / (noise * math.sqrt(2))) if auc is None else auc
    for _ in range(_DRAWS):
        seen = _seen(release, settings, coins)
        findings = _findings(epsilon, allowed, seen, settings.deviations)
        if not findings:
            break
    return MechanismAudit(epsilon, allowed, seen, findings)


def _seen(release: Release, settings: Settings, coins: np.random.Generator) -> LowerBound:
    included = [coins.random(settings.canaries) < 0.5 for _ in range(settings.runs)]
    scores = [release(each) for each in included]
    return epsilon_lower_bound(
        np.concatenate(scores),
        np.concatenate(included),
        settings.delta,
        confidence=settings.confidence,
    )


def _findings(epsilon: float, auc: float, seen: LowerBound, deviations: float) -> tuple[str, ...]:
    findings = []
    if seen.bound > epsilon:
        findings.append(
            f"epsilon is at least {seen.bound:.2f} with {seen.confidence:.1%} confidence, and "
            f"{epsilon:.2f} is claimed at delta {seen.delta:g}"
        )
    if seen.auc > auc + deviations * seen.auc_error:
        findings.append(
            f"canaries are told apart with AUC {seen.auc:.3f} +- {seen.auc_error:.3f}, and the "
            f"noise that is claimed allows {auc:.3f}"
        )
    return tuple(findings)
