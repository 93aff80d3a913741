"""The budget of a learner's proposals: what one takes, whether it is left, and who is paid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from colearn.errors import (
    BudgetExceededError,
    ConfigError,
    PrivacyError,
    SpendsCorruptError,
    SpendsUnavailableError,
)
from colearn.interface import DiffPrivBudget, DiffPrivConfig, ErrorCodes, TrainingSummary
from colearn.privacy._entries import Partition
from colearn.privacy.accountant import SampledGaussian, Spend, noise_multiplier_for
from colearn.privacy.claim import config_digest
from colearn.privacy.randomness import RandomSource, source_of
from colearn.privacy.spends import PrivacyLedger
from colearn.privacy.training import PrivateTraining

__all__ = ["ProposalBudget"]

_STREAM = 0x70726F70
"""Keeps the simulated noise of proposals apart from what else comes from the same seed."""


class ProposalBudget:
    """Decides about each proposal before a record is touched, by what was written down alone.

    The whole proposal is spent at once, before its first step. A proposal that is rejected, or
    whose process ends, stays spent: it was broadcast, or may have been.

    Attributes:
        config: The privacy asked for.
        noise_multiplier: Standard deviation of the noise in units of `config.max_grad_norm`.
        sampling_rate: The chance of each unit to be in a step.
        steps: Steps of one proposal.
        spend: What one proposal takes.
    """

    def __init__(
        self,
        config: DiffPrivConfig,
        ledger: PrivacyLedger,
        partition: Partition,
        *,
        units_count: int,
        batch_size: int,
        steps: int,
        fixed_rate: float | None = None,
        purpose: str,
        seed: int = 0,
    ) -> None:
        """Work out what one proposal takes; nothing is spent.

        Args:
            config: The privacy asked for.
            ledger: The record of the dataset.
            partition: The rows that are trained on.
            units_count: Units among them: rows, or users.
            batch_size: Units a step draws on average, unless `config` says.
            steps: Steps of one proposal, unless `config` says.
            fixed_rate: The sampling rate of a family that has no batches; 1.0 takes all units.
            purpose: What the record says of each spend.
            seed: Decides the noise of a simulation, and nothing else.

        Raises:
            ConfigError: No noise reaches the target, or neither noise nor plan is given.
            MissingExtraError: The extra `privacy` is not installed.
        """
        self.config = config
        self._ledger, self._partition = ledger, partition
        self._purpose, self._seed = purpose, seed
        self._paid = 0
        self.steps = _at_least_one("steps", config.steps_per_proposal or steps)
        units = _at_least_one("units_count", units_count)
        batch = _at_least_one("batch_size", config.expected_batch_size or batch_size)
        self.sampling_rate = min(1.0, batch / units) if fixed_rate is None else float(fixed_rate)
        self.noise_multiplier = self._noise()
        self.spend = SampledGaussian(self.noise_multiplier, self.sampling_rate, self.steps)

    def ask(self) -> TrainingSummary:
        """Spend one proposal durably, or say why not; no record is touched either way.

        Returns:
            Where the budget stands; with an error code if nothing was spent.
        """
        try:
            consumed = self._ledger.spend(
                self._partition,
                self.spend,
                epsilon=self.config.target_epsilon,
                delta=self.config.target_delta,
                purpose=self._purpose,
            )
        except (BudgetExceededError, SpendsCorruptError, SpendsUnavailableError) as error:
            return self._refusal(error)
        self._paid += 1
        return self._summary(consumed)

    def summary(self) -> TrainingSummary:
        """Return where the budget stands, with an error code if the record does not say."""
        try:
            consumed = self._ledger.consumed(self._partition, self.config.target_delta)
        except (SpendsCorruptError, SpendsUnavailableError) as error:
            return self._summary(None, _code_of(error))
        return self._summary(consumed)

    def training(
        self, rows_count: int, turn: int, users: npt.ArrayLike | None = None
    ) -> PrivateTraining:
        """Begin the training that `ask` has paid for.

        Args:
            rows_count: Rows that are trained on.
            turn: Which of the learner's trainings it is, from 0; decides a simulation's noise.
            users: Whose each row is, (rows,); for a unit of users.

        Raises:
            ConfigError: A unit of users without users.
            PrivacyError: `ask` has not paid for one more.
        """
        by_user = self.config.unit.kind == "user"
        if by_user and users is None:
            raise ConfigError("The unit is a user, and nobody said whose the rows are.")
        if self._paid == 0:
            raise PrivacyError(
                "This proposal is not paid for.", hint="Call ask() before each training."
            )
        self._paid -= 1
        return PrivateTraining(
            rows_count=rows_count,
            max_grad_norm=self.config.max_grad_norm,
            noise_multiplier=self.noise_multiplier,
            sampling_rate=self.sampling_rate,
            steps=self.steps,
            source=self._source(turn),
            users=users if by_user else None,
            max_records_per_user=self.config.unit.max_records_per_user,
        )

    def _noise(self) -> float:
        config = self.config
        if config.noise_multiplier is not None:
            return config.noise_multiplier
        if config.planned_proposals is None:
            raise ConfigError(
                "How much noise? DiffPrivConfig has neither noise_multiplier nor "
                "planned_proposals.",
                hint="Set planned_proposals to how often the learner may propose.",
            )
        besides = self._ledger.besides(self._partition.split)
        count = config.planned_proposals * self.steps

        def noise(besides: tuple[Spend, ...]) -> float:
            return noise_multiplier_for(
                config.target_epsilon,
                config.target_delta,
                sampling_rate=self.sampling_rate,
                count=count,
                besides=besides,
            )

        try:
            return noise(besides)
        except ConfigError:
            if not besides:
                raise
            # Other experiments have left nothing: each proposal will be refused when it is asked.
            return noise(())

    def _source(self, turn: int) -> RandomSource:
        words = np.random.SeedSequence([self._seed, turn, _STREAM]).generate_state(1, np.uint64)
        return source_of(self.config.noise, int(words[0]))

    def _refusal(self, error: PrivacyError) -> TrainingSummary:
        """Say why, and where the budget stands if that can still be read."""
        if isinstance(error, BudgetExceededError):
            return self._summary(error.spent, ErrorCodes.DP_BUDGET_EXCEEDED)
        now = self.summary()
        return now.model_copy(update={"error_code": _code_of(error)})

    def _summary(self, consumed: float | None, code: ErrorCodes | None = None) -> TrainingSummary:
        budget = None
        if consumed is not None:
            budget = DiffPrivBudget(
                target_epsilon=self.config.target_epsilon,
                target_delta=self.config.target_delta,
                consumed_epsilon=consumed,
                consumed_delta=self.config.target_delta,
            )
        return TrainingSummary(
            dp_budget=budget,
            error_code=code,
            dp_config=config_digest(self.config),
            dp_noise=self.config.noise,
        )


def _code_of(error: PrivacyError) -> ErrorCodes:
    if isinstance(error, SpendsCorruptError):
        return ErrorCodes.DP_LEDGER_CORRUPT
    return ErrorCodes.DP_LEDGER_UNAVAILABLE


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, got {value!r}.")
    return value
