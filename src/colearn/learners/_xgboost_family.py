"""A booster as a model family: it grows, and what is there stays (P3.5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost

from colearn.errors import ColearnError, ConfigError, WeightsError
from colearn.learners._family import Arrays, Features
from colearn.learners._scoring import Floats, Predictions, Targets
from colearn.learners._xgboost_model import handed_out
from colearn.learners._xgboost_rebuild import Objective, model_bytes, nodes_of, rebuilt
from colearn.learners._xgboost_settings import TreeSettings
from colearn.learners._xgboost_trees import TREES_MAX, BoostedTrees
from colearn.schema import Schema
from colearn.weights import NamedArrays

__all__ = ["FEATURE_MAX", "BoosterFamily"]

FEATURE_MAX = 1e38
"""The largest absolute value in the data: XGBoost computes in float32 and doubles the largest."""


class BoosterFamily:
    """Gradient boosting as the arrays of `BoostedTrees`; rows are float32 (rows, features)."""

    grows = True
    damping = 1.0
    weighs_rows = True

    def __init__(self, schema: Schema, settings: TreeSettings) -> None:
        """Learn what the schema says; a proposal's trees are grown with `settings`.

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
        self._objective = _objective(len(schema.classes or ()))
        self._base_score = _base_score(schema)
        self._settings = settings
        self._rebuilt: tuple[NamedArrays, Any] | None = None

    @property
    def trees_per_round(self) -> int:
        """How many trees one boosting round adds."""
        return self._objective.trees_per_round

    def initial(self) -> Arrays:
        """Return the booster without trees; its base score is fixed, not estimated from rows."""
        return BoostedTrees.empty(self._base_score).named()

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
        BoostedTrees.of(proposed).check(self._width, self.trees_per_round)
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
            ColearnError: There is no room for more trees.
        """
        trees = BoostedTrees.of(model)
        rounds = self._settings.trees_per_proposal
        width = self.trees_per_round
        if len(trees.sizes) + rounds * width > TREES_MAX:
            raise ColearnError(
                f"The booster has {len(trees.sizes)} of at most {TREES_MAX} trees.",
                hint="Finish the experiment.",
            )
        params = {
            **self._settings.params,
            **self._objective.params,
            "base_score": self._base_score,
            "seed": seed,
            # The generator behind `seed` is one for the whole process; other boosters draw too.
            "seed_per_iteration": True,
        }
        rows = xgboost.DMatrix(X, y, weight=weights, nthread=1)
        # A copy of `xgb_model` is trained; the booster itself stays as it is.
        booster = xgboost.train(params, rows, rounds, xgb_model=self._booster(model))
        grown = nodes_of(booster, len(trees.sizes) // width)
        grown.check(self._width, width)
        return trees.followed_by(grown).named()

    def predict(self, model: NamedArrays, X: Features) -> Predictions:
        """Return class probabilities or values; the empty booster says 1 / C or the constant."""
        margins = self._booster(model).inplace_predict(X, predict_type="margin")
        if self._classes is None:
            return Predictions("values", margins.astype(np.float64))
        if margins.ndim == 1:
            margins = np.column_stack([np.zeros_like(margins), margins])
        return Predictions("probabilities", _softmax(margins.astype(np.float64)))

    def estimator(self, model: NamedArrays) -> Any:
        """Return a fitted XGBClassifier or XGBRegressor that answers with the class labels."""
        data = model_bytes(BoostedTrees.of(model), self._width, self._objective)
        return handed_out(data, self._classes)

    def _booster(self, model: NamedArrays) -> Any:
        """Return the booster of `model`, which is asked for several times running."""
        last = self._rebuilt
        if last is None or last[0] is not model:
            trees = BoostedTrees.of(model)
            last = self._rebuilt = (model, rebuilt(trees, self._width, self._objective))
        return last[1]


def _objective(classes: int) -> Objective:
    if classes == 0:
        return Objective("reg:squarederror", 1)
    if classes == 2:
        return Objective("binary:logistic", 1)
    return Objective("multi:softprob", classes)


def _base_score(schema: Schema) -> float:
    """Return what the empty booster predicts: even odds, or the constant (section 4)."""
    if schema.classes is None:
        return float(np.float32(schema.constant))
    return 0.5 if len(schema.classes) == 2 else 0.0


def _softmax(margins: Floats) -> Floats:
    # In float64, so that a sure and wrong class keeps its log loss above float32's smallest step.
    shifted = np.exp(margins - margins.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
