"""XGBoost as a model family: it grows, and what is there stays (P3.5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost

from colearn.learners._boosted_family import BoosterFamily, FitRows
from colearn.learners._boosted_settings import TreeSettings
from colearn.learners._family import Features
from colearn.learners._scoring import Floats
from colearn.learners._xgboost_model import handed_out
from colearn.learners._xgboost_rebuild import Objective, model_bytes, nodes_of, rebuilt
from colearn.learners._xgboost_settings import training_params
from colearn.learners._xgboost_trees import XGBoostTrees
from colearn.schema import Schema
from colearn.weights import NamedArrays

__all__ = ["XGBoostFamily"]


class XGBoostFamily(BoosterFamily[XGBoostTrees]):
    """Gradient boosting as the arrays of `XGBoostTrees`; rows are float32 (rows, features)."""

    trees_kind = XGBoostTrees

    def __init__(self, schema: Schema, settings: TreeSettings) -> None:
        """Learn what the schema says; a proposal's trees are grown with `settings`.

        Raises:
            ConfigError: The schema's constant does not fit into a float32.
        """
        super().__init__(schema, settings, _base_score(schema))
        self._objective = _objective(len(schema.classes or ()))
        self._params = training_params(settings)

    def estimator(self, model: NamedArrays) -> Any:
        """Return a fitted XGBClassifier or XGBRegressor that answers with the class labels."""
        data = model_bytes(self.trees(model), self._width, self._objective)
        return handed_out(data, self._classes)

    def _grown(self, booster: Any, rounds_before: int, rows: FitRows, seed: int) -> XGBoostTrees:
        params = {
            **self._params,
            **self._objective.params,
            "base_score": self._base_score,
            "seed": seed,
            # The generator behind `seed` is one for the whole process; other boosters draw too.
            "seed_per_iteration": True,
        }
        matrix = xgboost.DMatrix(rows.X, rows.y, weight=rows.weights, nthread=1)
        # A copy of `xgb_model` is trained; the booster itself stays as it is.
        trained = xgboost.train(params, matrix, self._rounds, xgb_model=booster)
        return nodes_of(trained, rounds_before)

    def _margins(self, booster: Any, X: Features) -> Floats:
        return np.asarray(booster.inplace_predict(X, predict_type="margin"), np.float64)

    def _built(self, trees: XGBoostTrees) -> Any:
        return rebuilt(trees, self._width, self._objective)


def _objective(classes: int) -> Objective:
    if classes == 0:
        return Objective("reg:squarederror", 1)
    if classes == 2:
        return Objective("binary:logistic", 1)
    return Objective("multi:softprob", classes)


def _base_score(schema: Schema) -> float:
    """Return what the empty booster predicts: even odds, or the constant (section 4)."""
    if schema.classes is None:
        with np.errstate(over="ignore"):
            # One that does not fit is refused by the shared part, which says why.
            return float(np.float32(schema.constant))
    return 0.5 if len(schema.classes) == 2 else 0.0
