"""The learners under test, and how the checks read and ask them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import WeightsError
from colearn.interface import MachineLearningInterface, ProposedWeights, Weights
from colearn.testing.failure import LearnerCheckError
from colearn.weights import NamedArrays, freeze

__all__ = [
    "MakeLearner",
    "Sabotage",
    "Subject",
    "answer",
    "current",
    "frozen",
    "proposal",
    "read_only",
    "rounds_decide",
]

MakeLearner = Callable[[int, int], MachineLearningInterface]
"""``make(place, seed)``: a fresh learner of one group, with the rows of that place; 0, 1, 2."""

Sabotage = Callable[[int], AbstractContextManager[Any]]
"""``sabotage(point)``: inside the context the learner raises, at another place for each point."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What the checks work on.

    Attributes:
        make: Builds a learner.
        grows: Whether proposals add to the arrays (P3.5); None asks the learner.
        members: How many places `make` knows, at least 2.
        rounds: In how many rounds of its own a learner's score must improve.
        seed: The seed given to `make`.
        rows: The arrays `make` builds learners of; checked to stay as they are.
        sabotage: Makes `mli_propose_weights` and `mli_test_weights` raise half-way; None raises
            at several Python calls inside them.
    """

    make: MakeLearner
    grows: bool | None = None
    members: int = 3
    rounds: int = 5
    seed: int = 1
    rows: tuple[npt.NDArray[Any], ...] = ()
    sabotage: Sabotage | None = None

    def fresh(self, place: int = 0) -> MachineLearningInterface:
        """Return a new learner; every member has a seed of its own."""
        return self.make(place, self.seed + place)

    @property
    def is_growing(self) -> bool:
        """Whether the learners' proposals add to the arrays."""
        if self.grows is not None:
            return self.grows
        return getattr(self.fresh(), "grows", False) is True

    def proposed(self) -> tuple[MachineLearningInterface, NamedArrays]:
        """Return a fresh learner, and a good proposal by another one like it."""
        return self.fresh(), proposal(self.fresh())


def frozen(weights: object, what: str) -> NamedArrays:
    """Return a copy of the arrays that cannot change, as the drivers make it (P3.7).

    Raises:
        LearnerCheckError: `weights` is no `Weights` of named arrays.
    """
    if not isinstance(weights, Weights):
        raise LearnerCheckError(
            f"{what} must return Weights, got {type(weights).__name__}.",
            hint="Return colearn.Weights(weights={name: array, ...}).",
        )
    try:
        return freeze(weights.weights)
    except WeightsError as error:
        raise LearnerCheckError(
            f"{what} must return a dict of finite numpy arrays: {error}",
            hint="Only named arrays can cross a ledger (6.3).",
        ) from error


def current(learner: MachineLearningInterface) -> NamedArrays:
    """Return a copy of the current weights."""
    return frozen(learner.mli_get_current_weights(), "mli_get_current_weights")


def proposal(learner: MachineLearningInterface) -> NamedArrays:
    """Let the learner propose, and return a copy of what it says."""
    return frozen(learner.mli_propose_weights(), "mli_propose_weights")


def answer(learner: MachineLearningInterface, arrays: Any) -> ProposedWeights | None:
    """Return what the learner says of `arrays`; None where it raises, which one check reports."""
    try:
        return learner.mli_test_weights(Weights(weights=arrays))
    except Exception:  # noqa: BLE001  (a learner may raise what it likes)
        return None


def rounds_decide(learner: MachineLearningInterface) -> bool:
    """Say whether a learner's proposal is a matter of its model, seed and round alone.

    So it is with `begin_round`, unless `local_state` says that more is kept than weights.
    """
    return hasattr(learner, "begin_round") and getattr(learner, "local_state", "none") == "none"


@contextmanager
def read_only(arrays: tuple[npt.NDArray[Any], ...]) -> Iterator[None]:
    """Mark arrays as not writeable inside, and put the marks back."""
    marked = [array for array in arrays if isinstance(array, np.ndarray) and array.flags.writeable]
    for array in marked:
        array.setflags(write=False)
    try:
        yield
    finally:
        for array in marked:
            array.setflags(write=True)
