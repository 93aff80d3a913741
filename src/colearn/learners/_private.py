"""What a learner may still ask of its private rows: budgets for proposals, votes and scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError, PrivacyError
from colearn.interface import DiffPrivConfig, PrivacyUnit, TrainingSummary, VotePrivacyConfig
from colearn.learners._family import Arrays, Features, ModelFamily
from colearn.learners._judging import Choice
from colearn.learners._private_checks import check_private
from colearn.learners._private_losses import PrivateLosses
from colearn.learners._rows import LabelledRows
from colearn.learners._scoring import Floats, Targets
from colearn.privacy import (
    Partition,
    Privacy,
    PrivacyLedger,
    PrivateTraining,
    PrivateVoting,
    ProposalBudget,
    ZeroConcentrated,
    default_directory,
    fingerprint,
    rho_for,
    source_of,
    split_digest,
)
from colearn.privacy.randomness import noised
from colearn.schema import Schema
from colearn.weights import NamedArrays

__all__ = ["PrivateFamily", "PrivateRows", "Users", "guarded", "trains_privately"]

Users = tuple[npt.ArrayLike, npt.ArrayLike]
"""Whose the training rows and whose the vote rows are: (rows,) each, numbers or text."""


class PrivateFamily(ModelFamily, Protocol):
    """A family that can train without one unit showing; says so by ``trains_privately = True``."""

    trains_privately: bool

    def require_private(self, config: DiffPrivConfig) -> None:
        """Refuse a model or a setting that would reveal more; looks at no private row.

        Raises:
            ConfigError: Names the module or the setting.
        """

    def private_length(
        self, units_count: int, batch_size: int | None = None
    ) -> tuple[int, int, float | None]:
        """Return batch size, steps and, if it is fixed, the sampling rate of one proposal.

        Args:
            units_count: Units to train on.
            batch_size: How many a step is to draw on average; None for the family's own number.
        """

    def fit_privately(
        self, model: NamedArrays, X: Features, y: Targets, training: PrivateTraining, seed: int
    ) -> Arrays:
        """Train by `training` alone; only trainable parameters differ from `model` afterwards."""


def trains_privately(family: ModelFamily) -> TypeGuard[PrivateFamily]:
    """Say whether a family can train under differential privacy."""
    return getattr(family, "trains_privately", False) is True


@dataclass(frozen=True, slots=True)
class _Sets:
    """A learner's rows, and whose they are."""

    train: LabelledRows
    vote: LabelledRows
    test: LabelledRows | None
    users: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None


class PrivateRows:
    """Stands between a learner and its rows, and lets no more through than was agreed.

    Every dataset has one record of spends, whatever experiments it serves. A spend is written
    there before the rows are touched, and refused by what is written there alone.

    Attributes:
        votes: Whether votes are private.
        proposals: Whether training is.
        losses: Evaluates models on the vote and test rows.
    """

    def __init__(
        self,
        privacy: Privacy,
        family: ModelFamily,
        losses: PrivateLosses,
        *,
        name: str,
        seed: int,
        train: LabelledRows,
        vote: LabelledRows,
        test: LabelledRows | None,
        users: Users | None,
    ) -> None:
        """Open the record of spends; nothing is spent.

        Raises:
            ConfigError: The family cannot train privately, or users are missing or too many.
            PrivacyError: The record is damaged, or cannot be opened.
            MissingExtraError: The extra `privacy` is not installed.
        """
        self.losses = losses
        self.proposals, self.votes = privacy.proposals is not None, privacy.votes is not None
        sets = _Sets(train, vote, test, _checked_users(privacy, users, train, vote))
        if privacy.proposals is not None:
            self._family = _private_family(family, privacy.proposals, name)
        parts = {"train": (train.X, train.y), "vote": (vote.X, vote.y)}
        dataset = privacy.dataset or fingerprint(*parts.values())
        ledger = PrivacyLedger.open(privacy.directory or default_directory(), dataset)
        split = split_digest({**parts, **({} if test is None else {"test": (test.X, test.y)})})
        self._split, self._ledger, self._sets, self._seed = split, ledger, sets, seed
        self._name = name
        if privacy.proposals is not None:
            self._budget = self._proposal_budget(privacy.proposals)
        if privacy.votes is not None:
            self._open_votes(privacy.votes)

    def ask(self) -> TrainingSummary:
        """Spend what one proposal takes, or say why not; no row is touched."""
        return self._budget.ask()

    def fit(self, model: NamedArrays, turn: int, seed: int) -> Arrays:
        """Train one proposal that was asked for."""
        train, users = self._sets.train, self._units_of(0, self._budget.config.unit)
        training = self._budget.training(len(train.y), turn, users)
        return self._family.fit_privately(model, train.X, train.y, training, seed)

    def vote(self, model: str, proposal: str, differences: Callable[[], Floats]) -> bool | None:
        """Vote on a proposal; None abstains, because the budget is spent.

        Args:
            model: Digest of the current model.
            proposal: Digest of the proposal.
            differences: Computes loss(M) - loss(M') of each vote row, (rows,); called once the
                vote is paid for, and not for a question that was answered before.
        """
        question = f"{model} {proposal} {self._split}"
        return self._voting.vote(question, lambda: self._by_unit(differences()))

    def noised_accuracy(self, correct: Callable[[], npt.NDArray[np.bool_]]) -> float | None:
        """Return the share of test rows that are right, with noise; None once it is spent.

        Args:
            correct: Says of each test row whether the prediction is right, (rows,).
        """
        if self._score_rho is None:
            return None
        partition = Partition(self._split, "test")
        try:
            self._ledger.spend(
                partition, ZeroConcentrated(self._score_rho), epsilon=self._score_epsilon,
                delta=self._voting.delta, purpose=f"test score of {self._name}",
            )  # fmt: skip
        except PrivacyError:
            return None
        right = correct()
        # The count moves by one with one row, so its variance is 1 / (2 rho) (Bun, Steinke, 2016).
        deviation = 1 / math.sqrt(2 * self._score_rho)
        count = noised(np.array([float(right.sum())]), deviation, self._score_source)[0]
        return float(np.clip(count / len(right), 0.0, 1.0))

    def _open_votes(self, config: VotePrivacyConfig) -> None:
        self._vote_unit = config.unit
        self._vote_units = self._units_of(1, config.unit)
        units = len(self._sets.vote.y) if self._vote_units is None else _count(self._vote_units)
        self._voting = PrivateVoting(
            config, self._ledger, Partition(self._split, "vote"),
            units_count=units, purpose=f"vote of {self._name}", seed=self._seed,
        )  # fmt: skip
        self._score_rho: float | None = None
        self._score_epsilon = config.test_epsilon
        self._score_source = source_of(config.noise, self._seed)
        if config.test_scores == "noised" and config.unit.kind == "user":
            raise ConfigError(
                "A noised test score hides one row, not all rows of a user.",
                hint='Write test_scores = "off".',
            )
        if config.test_scores == "noised" and self._sets.test is not None:
            # Where others have left nothing, each score will be refused when it is asked for.
            besides = self._ledger.besides(self._split)
            whole = rho_for(config.test_epsilon, self._voting.delta, besides=besides)
            whole = whole or rho_for(config.test_epsilon, self._voting.delta)
            # Rounded down, so that all planned scores fit for certain.
            self._score_rho = math.nextafter(whole / config.planned_votes, 0.0)

    def _proposal_budget(self, config: DiffPrivConfig) -> ProposalBudget:
        users = self._units_of(0, config.unit)
        units = len(self._sets.train.y) if users is None else _count(users)
        batch, steps, rate = self._family.private_length(units, config.expected_batch_size)
        return ProposalBudget(
            config, self._ledger, Partition(self._split, "train"),
            units_count=units, batch_size=batch, steps=steps, fixed_rate=rate,
            purpose=f"proposal of {self._name}", seed=self._seed,
        )  # fmt: skip

    def _units_of(self, place: int, unit: PrivacyUnit) -> npt.NDArray[Any] | None:
        users = self._sets.users
        return users[place] if users is not None and unit.kind == "user" else None

    def _by_unit(self, differences: Floats) -> Floats:
        """Return one difference a unit: a user's are the sum over some of their rows."""
        if self._vote_units is None:
            return differences
        _, units = np.unique(self._vote_units, return_inverse=True)
        kept = _first_of_each(units, self._vote_unit.max_records_per_user)
        sums = np.zeros(int(units.max()) + 1)
        np.add.at(sums, units[kept], differences[kept])
        return sums


def guarded(
    privacy: Privacy,
    family: ModelFamily,
    sets: tuple[LabelledRows, LabelledRows, LabelledRows | None],
    choice: Choice,
    schema: Schema,
    *,
    name: str,
    seed: int,
    users: Users | None,
    weighs_classes: bool,
    computing: Callable[[], AbstractContextManager[Any]],
) -> PrivateRows:
    """Check a learner's settings, and put its rows under guard.

    Args:
        privacy: What its proposals and votes may reveal.
        family: What it trains.
        sets: Its training, vote and test rows.
        choice: What it judges by.
        schema: Columns and classes.
        name: What errors and spends call it.
        seed: Decides a simulation's noise, and nothing else.
        users: Whose each row is.
        weighs_classes: Whether class_weight is set.
        computing: The surroundings in which the family predicts.

    Raises:
        ConfigError: A setting that reveals what privacy is to hide; or as `PrivateRows`.
        PrivacyError: As `PrivateRows`.
    """
    train, vote, test = sets
    check_private(privacy, name, choice, schema, (train, vote), weighs_classes=weighs_classes)
    losses = PrivateLosses(family, choice.decides, vote, test, computing)
    return PrivateRows(
        privacy, family, losses,
        name=name, seed=seed, train=train, vote=vote, test=test, users=users,
    )  # fmt: skip


def _private_family(family: ModelFamily, config: DiffPrivConfig, name: str) -> PrivateFamily:
    if not trains_privately(family):
        raise ConfigError(
            f"Learner {name!r} cannot train privately: its kind has no such training yet.",
            hint="Use TorchLearner, KerasLearner, RandomForestLearner, or SklearnLearner on an "
            "SGDClassifier or SGDRegressor; or leave [privacy.proposals] out.",
        )
    family.require_private(config)
    return family


def _checked_users(
    privacy: Privacy, users: Users | None, train: LabelledRows, vote: LabelledRows
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    configs = [each for each in (privacy.proposals, privacy.votes) if each is not None]
    if users is None:
        if any(each.unit.kind == "user" for each in configs):
            raise ConfigError(
                'unit kind "user" needs to know whose each row is.',
                hint="Give users=(of the training rows, of the vote rows), or a task with groups.",
            )
        return None
    try:
        own, voting = (np.asarray(np.asarray(each).tolist()) for each in users)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"users must be two lists, of the training and of the vote rows: {error}."
        ) from error
    if own.shape != (len(train.y),) or voting.shape != (len(vote.y),):
        raise ConfigError(
            f"users must name one user for each of {len(train.y)} training and {len(vote.y)} vote "
            f"rows, got {own.shape} and {voting.shape}."
        )
    if "O" in (own.dtype.kind, voting.dtype.kind):
        raise ConfigError("A user must be a number or a text, the same kind for all rows.")
    both = np.intersect1d(own, voting)
    if len(both) and len(configs) == 2 and any(each.unit.kind == "user" for each in configs):
        raise ConfigError(
            f"User {both[0]!r} has training and vote rows, so its votes and training add up.",
            hint="Divide by user: all rows of one person into one of the two sets.",
        )
    return own, voting


def _first_of_each(units: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.bool_]:
    """Say of each row whether it is among the first `most` of its unit, (rows,)."""
    order = np.argsort(units, kind="stable")
    ordered = units[order]
    begins = np.searchsorted(ordered, ordered)
    kept = np.empty(len(units), np.bool_)
    kept[order] = np.arange(len(units)) - begins < most
    return kept


def _count(users: npt.NDArray[Any]) -> int:
    return len(np.unique(users))
