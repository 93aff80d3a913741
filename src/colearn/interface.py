"""The Machine Learning Interface: what a learner is, and the values that pass (protocol 2).

The names are fixed. A learner written against them alone, a plain class whose weights are a dict
of numpy arrays, runs unchanged. Scores: larger is better, always.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, field_validator

from colearn.errors import ConfigError

__all__ = [
    "ColearnModel",
    "DiffPrivBudget",
    "DiffPrivConfig",
    "ErrorCodes",
    "MachineLearningInterface",
    "ModelFormat",
    "ProposedWeights",
    "TrainingSummary",
    "Vote",
    "Weights",
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


class DiffPrivConfig(_Value):
    """The privacy a learner asks of its training.

    NaN, infinity, a negative epsilon and a delta outside (0, 1) raise.

    Attributes:
        target_epsilon: The epsilon of the whole training, at least 0.
        target_delta: The delta of the whole training, strictly between 0 and 1.
        max_grad_norm: The L2 norm to which each example's gradient is clipped.
        noise_multiplier: The noise's standard deviation in units of `max_grad_norm`.
    """

    target_epsilon: _Positive
    target_delta: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    max_grad_norm: _Positive
    noise_multiplier: _Positive


class TrainingSummary(_Value):
    """What a learner says of the training behind a proposal.

    Attributes:
        dp_budget: The privacy budget after the training.
        error_code: Set when there is no proposal (P3.6).
    """

    dp_budget: DiffPrivBudget | None = None
    error_code: ErrorCodes | None = None


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
