"""LightGBM as a model family: it grows, and what is there stays (P3.5)."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np

from colearn.errors import ColearnError
from colearn.learners._boosted_family import BoosterFamily, FitRows
from colearn.learners._family import Features
from colearn.learners._lightgbm_model import handed_out
from colearn.learners._lightgbm_rebuild import QUIET, nodes_of, rebuilt
from colearn.learners._lightgbm_settings import LeafwiseSettings, training_params
from colearn.learners._lightgbm_trees import LightGBMTrees
from colearn.learners._scoring import Floats
from colearn.schema import Schema
from colearn.weights import NamedArrays

__all__ = ["LightGBMFamily"]

_TARGET_MAX = float(np.finfo(np.float32).max)
"""The largest absolute value of a target: LightGBM keeps them as float32."""


class LightGBMFamily(BoosterFamily[LightGBMTrees]):
    """Gradient boosting as the arrays of `LightGBMTrees`; rows are float64 (rows, features)."""

    trees_kind = LightGBMTrees

    def __init__(self, schema: Schema, settings: LeafwiseSettings) -> None:
        """Learn what the schema says; a proposal's trees are grown with `settings`.

        Raises:
            ConfigError: The schema's constant does not fit into a float32.
        """
        classes = len(schema.classes or ())
        super().__init__(schema, settings, 0.0 if classes else float(schema.constant))
        self._objective, self._loss = _loss(classes)
        self._params = training_params(settings)

    def estimator(self, model: NamedArrays) -> Any:
        """Return a fitted LGBMClassifier or LGBMRegressor that answers with the class labels."""
        return handed_out(self._built(self.trees(model)), self._classes)

    def _grown(self, booster: Any, rounds_before: int, rows: FitRows, seed: int) -> LightGBMTrees:
        """Train on, see `BoosterFamily`.

        LightGBM grows nothing for a class of which `rows` has none, and ends before a round in
        which no tree would split.

        Raises:
            ColearnError: Targets or margins beyond what LightGBM computes with, or no split.
        """
        if not np.isfinite(self._margins(booster, rows.X)).all():
            # LightGBM would train on as if they were 1e300.
            raise ColearnError("the model's margins of the training rows are no numbers")
        if abs(rows.y).max(initial=0.0) > _TARGET_MAX:
            raise ColearnError(f"LightGBM takes targets up to {_TARGET_MAX:g} only")
        if int(self._params["bagging_fraction"] * len(rows.y)) < 1:
            raise ColearnError(
                f"subsample = {self._params['bagging_fraction']:g} of {len(rows.y)} training rows "
                "is no row"
            )
        # LightGBM's seeds have 31 bits.
        params = {**self._params, **self._loss, "seed": seed % 2**31}
        matrix = lightgbm.Dataset(rows.X, rows.y, weight=rows.weights, params=params)
        trained = lightgbm.train(
            params, matrix, self._rounds, init_model=booster, keep_training_booster=True
        )
        # The first round of a booster that was built is its base score.
        grown = nodes_of(trained, rounds_before + 1, self.trees_per_round)
        if not len(grown.sizes):
            raise ColearnError(
                f"LightGBM found no split of the {len(rows.y)} training rows.",
                hint="Lower min_child_samples or min_child_weight, or bring rows of more classes.",
            )
        return grown

    def _margins(self, booster: Any, X: Features) -> Floats:
        return np.asarray(booster.predict(X, raw_score=True, **QUIET), np.float64)

    def _built(self, trees: LightGBMTrees) -> Any:
        return rebuilt(trees, self._width, self._objective, self.trees_per_round)


def _loss(classes: int) -> tuple[str, dict[str, Any]]:
    """Return what is learned as LightGBM's models say it, and as training parameters."""
    if classes == 0:
        return "regression", {"objective": "regression"}
    if classes == 2:
        return "binary sigmoid:1", {"objective": "binary"}
    return f"multiclass num_class:{classes}", {"objective": "multiclass", "num_class": classes}
