"""The Machine Learning Interface: what a learner is, and the values that pass (protocol 2).

The names are fixed. A learner written against them alone, a plain class whose weights are a dict
of numpy arrays, runs unchanged. Scores: larger is better, always.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from enum import Enum
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, field_validator

from colearn.errors import ConfigError, WeightsError

__all__ = [
    "ColearnModel",
    "DiffPrivBudget",
    "DiffPrivConfig",
    "ErrorCodes",
    "MachineLearningInterface",
    "ModelFormat",
    "PrivacyUnit",
    "ProposedWeights",
    "TrainingSummary",
    "Vote",
    "VotePrivacyConfig",
    "Weights",
    "require_within",
]


class _Value(BaseModel):
    """What all value types share: unknown fields are ignored, and nothing is assigned later.

    One object is shown to a whole group, so nobody may put something else into it (P3.7).
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="ignore", frozen=True)


class ErrorCodes(Enum):
    """Why a learner makes no proposal (P3.6)."""

    DP_BUDGET_EXCEEDED = 1
    """The privacy budget does not allow another proposal."""

    DP_LEDGER_CORRUPT = 2
    """The record of what was spent before is damaged, so nobody knows what is left."""

    DP_LEDGER_UNAVAILABLE = 3
    """A spend cannot be written down durably, so nothing may be spent."""


class ModelFormat(Enum):
    """How a model is handed out."""

    PICKLE_WEIGHTS_ONLY = 1
    """A name of the original interface; refused, because opening a pickle runs its code."""

    ONNX = 2
    """An ONNX graph."""


class DiffPrivBudget(_Value):
    """What a training run may spend and has spent.

    Attributes:
        target_epsilon: The largest epsilon allowed.
        target_delta: The largest delta allowed.
        consumed_epsilon: Epsilon spent so far.
        consumed_delta: Delta spent so far.
    """

    target_epsilon: float
    target_delta: float
    consumed_epsilon: float
    consumed_delta: float


_Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Delta = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=10**9)]
_Noise = Literal["secure", "simulation"]


class PrivacyUnit(_Value):
    """Whose presence is hidden: the data of one unit is in or not (Dwork et al., 2006).

    Attributes:
        kind: "example" for one row, "user" for all rows of one person.
        adjacency: Two data sets are neighbours when one has one unit more.
        max_records_per_user: Rows of one user that take part; any further ones are left out.
    """

    kind: Literal["example", "user"] = "example"
    adjacency: Literal["add_or_remove_one"] = "add_or_remove_one"
    max_records_per_user: _Count = 1


class DiffPrivConfig(_Value):
    """The privacy a learner asks of its training.

    NaN, infinity, a negative epsilon and a delta outside (0, 1) raise.

    Attributes:
        target_epsilon: The epsilon of the whole training, at least 0.
        target_delta: The delta of the whole training, strictly between 0 and 1.
        max_grad_norm: The L2 norm to which each unit's gradient is clipped.
        noise_multiplier: The noise's standard deviation in units of `max_grad_norm`; None for the
            least with which `planned_proposals` stay within the target.
        expected_batch_size: Units a step draws on average; None takes the learner's batch size.
        steps_per_proposal: Steps of one proposal; None takes what the learner's settings say.
        planned_proposals: How many proposals the target is meant for.
        unit: Whose presence is hidden.
        noise: "secure" draws from the operating system; "simulation" repeats with the seed and
            is NOT PRIVATE.
    """

    target_epsilon: _Positive
    target_delta: _Delta
    max_grad_norm: _Positive
    noise_multiplier: _Positive | None = None
    expected_batch_size: _Count | None = None
    steps_per_proposal: _Count | None = None
    planned_proposals: _Count | None = None
    unit: PrivacyUnit = PrivacyUnit()
    noise: _Noise = "secure"


class VotePrivacyConfig(_Value):
    """The privacy of a learner's votes: the two-outcome exponential mechanism.

    Attributes:
        epsilon: Of all planned votes together.
        delta: Likewise; None for min(1e-6, 1 / (10 m)), m the units of the vote set.
        planned_votes: How many votes it is meant for; who has spent it abstains.
        clip: The loss difference at which a unit's say ends; None for 1 from 1,000 units on,
            and 0.5 below.
        margin: By how much the clipped sum must lie above 0 for an even chance; None for
            ln 3 / e0, with which a proposal that changes nothing is approved once in four.
        test_scores: "off" publishes no score of the test set, "noised" one with noise.
        test_epsilon: Of all noised test scores together, as many as `planned_votes`.
        unit: Whose presence is hidden.
        noise: As in `DiffPrivConfig`.
    """

    epsilon: _Above = 2.0
    delta: _Delta | None = None
    planned_votes: _Count = 200
    clip: _Above | None = None
    margin: _Positive | None = None
    test_scores: Literal["off", "noised"] = "off"
    test_epsilon: _Above = 1.0
    unit: PrivacyUnit = PrivacyUnit()
    noise: _Noise = "secure"


def require_within(budget: DiffPrivBudget) -> None:
    """Refuse a proposal whose privacy is overspent, by its own words (P3.5).

    Raises:
        WeightsError: More is consumed than the target allows, or a number is none.
    """
    for what in ("epsilon", "delta"):
        target = getattr(budget, f"target_{what}")
        consumed = getattr(budget, f"consumed_{what}")
        # Written so that NaN is refused as well.
        if not 0 <= consumed <= target < math.inf:
            raise WeightsError(
                f"The proposal consumed {what} {consumed:.6g} of {target:.6g}: over its budget."
            )


class TrainingSummary(_Value):
    """What a learner says of the training behind a proposal.

    Attributes:
        dp_budget: The privacy budget after the training.
        error_code: Set when there is no proposal (P3.6).
        dp_config: Sha256 of the privacy settings that were used, in hexadecimal; or empty.
        dp_noise: Where the noise came from; empty without any.
    """

    dp_budget: DiffPrivBudget | None = None
    error_code: ErrorCodes | None = None
    dp_config: str = ""
    dp_noise: Literal["", "secure", "simulation"] = ""


class Weights(_Value):
    """The parameters of a model.

    Attributes:
        weights: Any object for `run_one_round`; for everything else a dict from name to numpy
            array (6.3).
        training_summary: What the proposer says of its training.
    """

    weights: Any
    training_summary: TrainingSummary | None = None


def _plain_bool(value: object) -> object:
    if isinstance(value, np.bool_):
        return bool(value)
    raise ValueError(f"a vote is True, False or None, got {value!r}")


Vote = Annotated[
    StrictBool | Annotated[bool, BeforeValidator(_plain_bool)] | None,
    Field(union_mode="left_to_right"),
]
"""True, False, numpy.bool_ or None; a truthy 1 or "yes" raises, since a vote is never guessed."""


class ProposedWeights(_Value):
    """A learner's judgement of a proposal.

    Attributes:
        weights: The weights judged.
        vote_score: The score on the private vote set, larger is better; NaN where there is none.
        test_score: The score on the test set; None without one.
        vote: True approves, False rejects, None abstains (P3.4); None for the proposer (P3.7).
    """

    weights: Weights
    vote_score: float
    test_score: float | None = None
    vote: Vote = None


class ColearnModel(_Value):
    """A model handed out.

    Attributes:
        model_format: How it is written.
        model_file: Where it lies, if it lies in a file.
        model: The model itself.
    """

    model_format: ModelFormat
    model_file: str | None = None
    model: Any = None

    @field_validator("model_format")
    @classmethod
    def _no_pickle(cls, value: ModelFormat) -> ModelFormat:
        if value is ModelFormat.PICKLE_WEIGHTS_ONLY:
            raise ConfigError(
                "PICKLE_WEIGHTS_ONLY is refused: opening a pickle runs whatever code is in it.",
                hint="Use ModelFormat.ONNX, or the named arrays of mli_get_current_weights().",
            )
        return value


class MachineLearningInterface(ABC):
    """What a learner does, whatever it learns with.

    Nothing but `mli_accept_weights` changes the learner's current weights.
    """

    @abstractmethod
    def mli_propose_weights(self) -> Weights:
        """Train on the private data and return new weights; the current ones stay as they are."""

    @abstractmethod
    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        """Evaluate `weights` on private data and return scores and a vote; keep the current."""

    @abstractmethod
    def mli_accept_weights(self, weights: Weights) -> None:
        """Replace the current weights by `weights`."""

    @abstractmethod
    def mli_get_current_weights(self) -> Weights:
        """Return the current weights."""

    @abstractmethod
    def mli_get_current_model(self) -> ColearnModel:
        """Return the current model in a format others can open."""
