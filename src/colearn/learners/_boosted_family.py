"""A booster as a model family: it grows, and what is there stays (P3.5)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

from colearn.errors import ColearnError, ConfigError, WeightsError
from colearn.learners._boosted_settings import TreeSettings
from colearn.learners._boosted_trees import TREES_MAX, BoostedTrees
from colearn.learners._family import Arrays, Features
from colearn.learners._scoring import Floats, Predictions, Targets
from colearn.schema import Schema
from colearn.weights import NamedArrays

__all__ = ["FEATURE_MAX", "BoosterFamily", "FitRows"]

FEATURE_MAX = 1e38
"""The largest absolute value in the data: XGBoost, and whoever reads an exported model, computes
in float32 and doubles the largest."""

_Trees = TypeVar("_Trees", bound=BoostedTrees)


class FitRows(NamedTuple):
    """Rows to grow trees on, as `WeighingFamily.fit` takes them."""

    X: Features
    y: Targets
    weights: Floats | None


class BoosterFamily(ABC, Generic[_Trees]):
    """Gradient boosting as the arrays of `BoostedTrees`, whichever framework grows the trees."""

    grows = True
    damping = 1.0
    weighs_rows = True

    trees_kind: ClassVar[type[BoostedTrees]]
    """What the arrays of the framework's trees are."""

    def __init__(self, schema: Schema, settings: TreeSettings, base_score: float) -> None:
        """Learn what the schema says.

        Args:
            schema: Columns and classes.
            settings: How a proposal's trees are grown.
            base_score: What the empty booster predicts, as the framework counts it.

        Raises:
            ConfigError: The schema's constant does not fit into a float32.
        """
        if abs(schema.constant) > FEATURE_MAX:
            raise ConfigError(
                f"constant must be from {-FEATURE_MAX:g} to {FEATURE_MAX:g}, got "
                f"{schema.constant!r}."
            )
        self._classes = schema.classes
        self._width = len(schema.features)
        self._rounds = settings.trees_per_proposal
        self._base_score = base_score
        self._rebuilt: tuple[NamedArrays, Any] | None = None

    @property
    def trees_per_round(self) -> int:
        """How many trees one boosting round adds: one, or of many classes one for each."""
        count = len(self._classes or ())
        return count if count > 2 else 1

    def trees(self, model: NamedArrays) -> _Trees:
        """Return the arrays of `model` as the framework's trees."""
        return self.trees_kind.of(model)  # type: ignore[return-value]

    def initial(self) -> Arrays:
        """Return the booster without trees; its base score is fixed, not estimated from rows."""
        return self.trees_kind.empty(self._base_score).named()

    def check(self, proposed: NamedArrays, model: NamedArrays) -> None:
        """Refuse a booster that would harm who evaluates it, or lacks trees of the model (6.3).

        Raises:
            WeightsError: A malformed tree, another base score, a tree taken away.
        """
        if not np.array_equal(proposed["base_score"], model["base_score"]):
            raise WeightsError(
                f"Array 'base_score' must be {model['base_score']}, as in model 0, got "
                f"{proposed['base_score'][:3]}."
            )
        self.trees(proposed).check(self._width, self.trees_per_round)
        for name, before in model.items():
            if not np.array_equal(proposed[name][: len(before)], before):
                raise WeightsError(
                    f"Array {name!r} changes trees of the model; a proposal may only add some."
                )

    def fit(
        self, model: NamedArrays, X: Features, y: Targets, seed: int, weights: Floats | None = None
    ) -> Arrays:
        """Grow trees on the rows from what the model misses, and put them behind its own.

        Raises:
            ColearnError: There is no room for more trees, or none could be grown.
        """
        trees = self.trees(model)
        if len(trees.sizes) + self._rounds * self.trees_per_round > TREES_MAX:
            raise ColearnError(
                f"The booster has {len(trees.sizes)} of at most {TREES_MAX} trees.",
                hint="Finish the experiment.",
            )
        rounds_before = len(trees.sizes) // self.trees_per_round
        grown = self._grown(self._booster(model), rounds_before, FitRows(X, y, weights), seed)
        grown.check(self._width, self.trees_per_round)
        return trees.followed_by(grown).named()

    def predict(self, model: NamedArrays, X: Features) -> Predictions:
        """Return class probabilities or values; the empty booster says 1 / C or the constant."""
        margins = self._margins(self._booster(model), X)
        if self._classes is None:
            return Predictions("values", margins)
        if margins.ndim == 1:
            margins = np.column_stack([np.zeros_like(margins), margins])
        return Predictions("probabilities", _softmax(margins))

    @abstractmethod
    def estimator(self, model: NamedArrays) -> Any:
        """Return a fitted estimator of the framework that answers with the class labels."""

    @abstractmethod
    def _grown(self, booster: Any, rounds_before: int, rows: FitRows, seed: int) -> _Trees:
        """Train on from `booster`, which has that many rounds, and return the new trees alone."""

    @abstractmethod
    def _margins(self, booster: Any, X: Features) -> Floats:
        """Return float64 margins, (rows,) or of many classes (rows, classes)."""

    @abstractmethod
    def _built(self, trees: _Trees) -> Any:
        """Return the framework's booster of trees that have been checked."""

    def _booster(self, model: NamedArrays) -> Any:
        """Return the booster of `model`, which is asked for several times running."""
        last = self._rebuilt
        if last is None or last[0] is not model:
            last = self._rebuilt = (model, self._built(self.trees(model)))
        return last[1]


def _softmax(margins: Floats) -> Floats:
    # In float64, so that a sure and wrong class keeps its log loss above float32's smallest step.
    shifted = np.exp(margins - margins.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
