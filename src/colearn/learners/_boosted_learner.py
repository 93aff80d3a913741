"""What learners of boosted trees share, whichever framework grows the trees."""

from __future__ import annotations

from collections.abc import Collection
from inspect import signature
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError, WeightsError
from colearn.interface import ProposedWeights, Weights
from colearn.learners._boosted_family import FEATURE_MAX, BoosterFamily
from colearn.learners._boosted_settings import ROUNDS_MAX
from colearn.learners._family import Features
from colearn.learners._rows import as_matrix
from colearn.learners._template import TemplateLearner
from colearn.schema import Schema

__all__ = ["BoostedLearner", "template_settings"]


def template_settings() -> Collection[str]:
    """Return the names of the settings of `TemplateLearner` that the user of a booster gives."""
    return signature(TemplateLearner).parameters.keys() - {"family", "schema"}


class BoostedLearner(TemplateLearner):
    """A learner whose proposals add whole trees to a booster."""

    _computes: ClassVar[str]
    """Why a value may be too large, as a sentence's beginning."""

    def __init__(self, family: BoosterFamily[Any], schema: Schema, **settings: Any) -> None:
        """Build the learner from its family and the settings of `TemplateLearner`.

        Raises:
            ConfigError: A setting that cannot be used; rows that do not fit.
        """
        if settings.get("damping") not in (None, 1.0):
            raise ConfigError("A booster adds whole trees, so damping must be 1.")
        super().__init__(family, schema, **settings)
        self._trees_max = ROUNDS_MAX * family.trees_per_round

    @classmethod
    def from_settings(cls, schema: Schema, **settings: Any) -> Self:
        """Build the learner an experiment file describes; settings as the constructor's."""
        settings.pop("model_seed", None)
        own: dict[str, Any] = {"features": schema.features, "constant": schema.constant}
        return cls(classes=schema.classes, **own, **settings)

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        """Judge `weights` on the private vote set, and vote (section 4).

        Raises:
            WeightsError: They are no weights of this model, or add more trees than any honest
                proposal: a booster that is full of trees without effect would learn no more.
        """
        judged = super().mli_test_weights(weights)
        added = len(weights.weights["sizes"]) - len(self._model["sizes"])
        if added > self._trees_max:
            raise WeightsError(f"A proposal may add {self._trees_max} trees, got {added}.")
        return judged

    def _features(self, X: npt.ArrayLike) -> Features:
        """Return X as float64, no value beyond what float32 holds.

        Raises:
            ConfigError: A value that has no place in it.
        """
        matrix = as_matrix(X)
        large = np.argwhere(abs(matrix) > FEATURE_MAX)
        if len(large):
            place = tuple(large[0].tolist())
            raise ConfigError(
                f"{self._computes}: expected values from {-FEATURE_MAX:g} to "
                f"{FEATURE_MAX:g}, got {matrix[place]:g} at {place}."
            )
        return matrix
