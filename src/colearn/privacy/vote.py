"""A private vote: one bit on a proposal, drawn by the exponential mechanism with two outcomes.

Each unit of the vote set says by how much the proposal lowers its loss, cut to [-1, 1]; the sum s
is turned into an approval with the chance 1 / (1 + exp(-e0 (s - margin))) (McSherry and Talwar,
2007). One unit more or less moves s by 1 at most, so a vote is e0-private, and e0**2 / 8
zero-concentrated since its range is bounded (Cesar and Rogers, 2021). No score is published.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from colearn.errors import (
    BudgetExceededError,
    ConfigError,
    PrivacyError,
    SpendsCorruptError,
    SpendsUnavailableError,
)
from colearn.interface import VotePrivacyConfig
from colearn.privacy.accountant import Spend, ZeroConcentrated, rho_for
from colearn.privacy.randomness import bernoulli_logistic, source_of
from colearn.privacy.spends import Partition, PrivacyLedger

__all__ = ["PrivateVoting", "VoteTerms", "vote_terms"]

GRID = 2**20
"""A unit's say is a multiple of 1 / GRID: whole numbers add up exactly, in any order."""

RATE_GRID = 2**40
"""e0 is a multiple of 1 / RATE_GRID, rounded down."""

DELTA_MOST = 1e-6
UNITS_PER_DELTA = 10
"""delta is at most a tenth of 1 / m, so that giving one unit away outright is not allowed."""

LARGE_SET = 1000
"""From so many units on their say ends at a difference of 1, below at 0.5."""


@dataclass(frozen=True, slots=True)
class VoteTerms:
    """The numbers of one vote that follow from a configuration and the size of the vote set.

    Attributes:
        e0: The epsilon of one vote, exactly.
        rho: The zero-concentrated privacy of one vote, rounded up.
        margin: By how much the sum must lie over 0 for an even chance, exactly.
        clip: The loss difference at which a unit's say ends.
        delta: Of all planned votes.
    """

    e0: Fraction
    rho: float
    margin: Fraction
    clip: float
    delta: float


def vote_terms(
    config: VotePrivacyConfig, units_count: int, besides: tuple[Spend, ...] = ()
) -> VoteTerms:
    """Return the numbers of one vote on a vote set of `units_count` units.

    Args:
        config: What may be spent, and on how many votes.
        units_count: Units of the vote set.
        besides: What the same units have spent elsewhere; the planned votes share the rest.

    Raises:
        ConfigError: There is no unit, or so many votes are planned that none can say anything.
    """
    if units_count < 1:
        raise ConfigError(f"A vote needs a vote set, got {units_count} units.")
    delta = config.delta or min(DELTA_MOST, 1 / (UNITS_PER_DELTA * units_count))
    clip = config.clip or (1.0 if units_count >= LARGE_SET else 0.5)
    e0 = _e0(config, delta, besides)
    rho = math.nextafter(float(e0**2 / 8), math.inf)
    return VoteTerms(e0, rho, _margin(config, e0), clip, delta)


class PrivateVoting:
    """The votes of one learner on one vote set.

    Args:
        config: What may be spent, and on how many votes.
        ledger: The record of spends of this data set.
        partition: The vote set's name in it.
        units_count: Units of the vote set, at least 1.
        purpose: What the record says that it was for.
        seed: Used by a simulation alone.

    Attributes:
        config: What may be spent.
        units_count: Units of the vote set.
        e0, rho, margin, clip, delta: As in `VoteTerms`.

    Raises:
        ConfigError: There is no unit, or so many votes are planned that none can say anything.
    """

    def __init__(
        self,
        config: VotePrivacyConfig,
        ledger: PrivacyLedger,
        partition: Partition,
        *,
        units_count: int,
        purpose: str,
        seed: int = 0,
    ) -> None:
        """Work out what one vote may reveal."""
        self.config = config
        self.units_count = units_count
        terms = vote_terms(config, units_count, ledger.besides(partition.split))
        self.e0, self.margin, self.rho = terms.e0, terms.margin, terms.rho
        self.clip, self.delta = terms.clip, terms.delta
        self._ledger = ledger
        self._partition = partition
        self._purpose = purpose
        self._seed = seed

    def vote(
        self, question: str, differences: Callable[[], npt.NDArray[np.floating]]
    ) -> bool | None:
        """Return the vote on a proposal, or None to abstain.

        Whether it abstains depends on the record of spends alone, never on the data. A question
        that was answered before has the same answer, and costs nothing.

        Args:
            question: Names the current weights and the proposal.
            differences: Computes by how much the proposal lowers each unit's loss, (units_count,);
                called only once the vote is paid for. NaN speaks against the proposal.

        Raises:
            PrivacyError: There are not as many differences as units; the vote is spent.
        """
        try:
            kept = self._ledger.vote_of(question)
            if kept is not None:
                return kept
            self._pay()
        except (BudgetExceededError, SpendsCorruptError, SpendsUnavailableError):
            return None
        vote = self._drawn(question, differences())
        try:
            return self._ledger.keep_vote(question, vote)
        except (SpendsCorruptError, SpendsUnavailableError):
            # A vote that is not kept might be another the next time, so it is not cast.
            return None

    def _pay(self) -> None:
        self._ledger.spend(
            self._partition,
            ZeroConcentrated(self.rho),
            epsilon=self.config.epsilon,
            delta=self.delta,
            purpose=self._purpose,
        )

    def _drawn(self, question: str, differences: npt.NDArray[np.floating]) -> bool:
        total = Fraction(_clipped_sum(differences, self.clip, self.units_count), GRID)
        source = source_of(self.config.noise, _seed_of(self._seed, question))
        return bernoulli_logistic(self.e0 * (total - self.margin), source)


def _e0(config: VotePrivacyConfig, delta: float, besides: tuple[Spend, ...]) -> Fraction:
    """Return sqrt(8 rho / votes), rounded down so that all planned votes fit for certain.

    Where other experiments have left nothing, it is as if they had not: each vote will abstain.
    """
    rho = Fraction(
        rho_for(config.epsilon, delta, besides=besides) or rho_for(config.epsilon, delta)
    )
    square = 8 * rho * RATE_GRID**2 / config.planned_votes
    steps = math.isqrt(math.floor(square)) - 1
    if steps < 1:
        raise ConfigError(
            f"{config.planned_votes} votes within epsilon {config.epsilon} would say nothing.",
            hint="Raise votes.epsilon, or plan fewer votes.",
        )
    return Fraction(steps, RATE_GRID)


def _margin(config: VotePrivacyConfig, e0: Fraction) -> Fraction:
    """Return the margin on the grid of the sum: ln 3 / e0 approves no change once in four."""
    margin = config.margin if config.margin is not None else math.log(3) / float(e0)
    return Fraction(round(Fraction(margin) * GRID), GRID)


def _clipped_sum(differences: npt.NDArray[np.floating], clip: float, count: int) -> int:
    """Return the sum of all says, in units of 1 / GRID."""
    values = np.asarray(differences, dtype=np.float64)
    if values.shape != (count,):
        raise PrivacyError(
            f"Expected the loss difference of each of {count} units, got the shape {values.shape}."
        )
    with np.errstate(over="ignore"):
        says = np.clip(values / clip, -1.0, 1.0)
    says[np.isnan(says)] = -1.0
    return int(np.rint(says * GRID).astype(np.int64).sum())


def _seed_of(seed: int, question: str) -> int:
    """A simulation answers a question alike whenever it is asked."""
    text = f"{seed} {question}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
