"""What a model family must do to take part: the part of a learner that differs by framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

import numpy.typing as npt

from colearn.learners._scoring import Floats, Predictions, Targets
from colearn.weights import NamedArrays

__all__ = ["Arrays", "Features", "ModelFamily", "WeighingFamily", "weighs_rows"]

Arrays = Mapping[str, npt.NDArray[Any]]
Features = npt.NDArray[Any]
"""float64 (rows, features); of families that read more, any shape (rows, ...) and their dtype."""


class ModelFamily(Protocol):
    """Named arrays in, named arrays out; a family keeps no weights of its own."""

    grows: bool
    """Whether a proposal may add to the arrays (P3.5)."""

    damping: float
    """The share of a training step that is proposed, unless the learner says otherwise."""

    def initial(self) -> Arrays:
        """Return model 0, which is the same for every learner of an experiment (6.1)."""

    def check(self, proposed: NamedArrays, model: NamedArrays) -> None:
        """Refuse what is of the right form and still no model of this family.

        Raises:
            WeightsError: It is not.
        """

    def fit(self, model: NamedArrays, X: Features, y: Targets, seed: int) -> Arrays:
        """Train from `model` on the given rows and return the result; the same seed repeats it."""

    def predict(self, model: NamedArrays, X: Features) -> Predictions:
        """Return what the model says about the rows of X."""

    def estimator(self, model: NamedArrays) -> Any:
        """Return the model as its framework knows it, fitted."""


class WeighingFamily(ModelFamily, Protocol):
    """A family whose training takes weights of rows; says so by ``weighs_rows = True``."""

    weighs_rows: bool
    """Whether `fit` takes weights with the settings it was made with."""

    def fit(
        self, model: NamedArrays, X: Features, y: Targets, seed: int, weights: Floats | None = None
    ) -> Arrays:
        """Train as `ModelFamily.fit`; `weights` have mean 1, shape (rows,), or are None."""


def weighs_rows(family: ModelFamily) -> TypeGuard[WeighingFamily]:
    """Say whether the family's training takes weights of rows."""
    return getattr(family, "weighs_rows", False) is True
