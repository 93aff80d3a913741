"""Gradient boosting with LightGBM: a proposal adds trees that correct the global booster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from colearn.errors import ColearnError
from colearn.interface import ColearnModel, ModelFormat
from colearn.learners._boosted_learner import BoostedLearner, template_settings
from colearn.learners._boosted_settings import refuse_unknown
from colearn.learners._lightgbm_settings import FIXED, REFUSED, LeafwiseSettings
from colearn.learners._lightgbm_trees import LightGBMTrees
from colearn.learners._rows import Rows
from colearn.schema import Schema

try:
    from colearn.learners._lightgbm_family import LightGBMFamily
except OSError as error:
    raise ColearnError(
        f"LightGBM is installed and cannot be loaded: {error}.",
        hint="It needs OpenMP: libgomp1 of your Linux distribution, or libomp on macOS.",
    ) from error

__all__ = ["LightGBMLearner"]


class LightGBMLearner(BoostedLearner):
    """A learner whose model is a LightGBM booster, for classes or for numbers.

    Trees travel as plain arrays and every node is checked before LightGBM sees it (6.3); no file of
    LightGBM is ever taken from anybody. Nothing is kept from one proposal to the next.
    """

    _computes = "LightGBM's models are exported in float32"

    def __init__(
        self,
        *,
        train: Rows,
        vote: Rows,
        classes: Iterable[object] | None = None,
        features: Sequence[str] | None = None,
        constant: float = 0.0,
        trees_per_proposal: int = 2,
        num_leaves: int = 31,
        max_depth: int = 3,
        learning_rate: float = 0.1,
        subsample: float = 0.7,
        colsample_bytree: float = 1.0,
        reg_lambda: float = 1.0,
        min_child_samples: int = 5,
        min_child_weight: float = 1e-3,
        max_bin: int = 255,
        **settings: Any,
    ) -> None:
        """Build the learner.

        Args:
            train: X of shape (rows, features) and y of shape (rows,).
            vote: Private rows to vote on, disjoint from `train`.
            classes: Every class of the experiment; None for regression.
            features: Column names; None calls them x0, x1, ...
            constant: What the empty booster predicts in regression.
            trees_per_proposal: Boosting rounds in one proposal, 1 to 100; with more than two
                classes each adds one tree for each class.
            num_leaves: Leaves of one tree, 2 to 131,072; trees grow leaf by leaf.
            max_depth: Edges from a root to a leaf, 1 to 32.
            learning_rate: By which a tree's values are multiplied, above 0 up to 1.
            subsample: The share of the rows each tree is grown on, above 0 up to 1.
            colsample_bytree: The share of the features each tree may use, above 0 up to 1.
            reg_lambda: The L2 penalty on a leaf's value, 0 or more.
            min_child_samples: The least number of rows in a leaf; 1 or more.
            min_child_weight: The least sum of second derivatives in a leaf, 0 or more.
            max_bin: Bins of one feature's histogram, 2 to 65,536.
            **settings: Those of `TemplateLearner`, without damping: trees are added whole.

        Raises:
            ConfigError: A setting that cannot be used; rows that do not fit.
        """
        trees = LeafwiseSettings(
            trees_per_proposal=trees_per_proposal,
            num_leaves=num_leaves,
            max_depth=max_depth,
            learning_rate=learning_rate,
            subsample=subsample,
            colsample_bytree=colsample_bytree,
            reg_lambda=reg_lambda,
            min_child_samples=min_child_samples,
            min_child_weight=min_child_weight,
            max_bin=max_bin,
        )
        settings = refuse_unknown(
            "LightGBMLearner",
            settings,
            template_settings(),
            fixed=FIXED,
            refused=REFUSED,
            own=[each.name for each in fields(LeafwiseSettings)],
        )
        width = np.shape(train[0])[-1] if features is None else features
        schema = Schema.of(width, classes, constant)
        family = LightGBMFamily(schema, trees)
        super().__init__(family, schema, train=train, vote=vote, **settings)

    def mli_get_current_model(self) -> ColearnModel:
        """Return the current model as ONNX.

        Raises:
            MissingExtraError: The extra `onnx` is not installed.
            ColearnError: The booster is still empty.
        """
        from colearn.learners._boosted_onnx import (  # noqa: PLC0415  (needs its extra)
            Branches,
            onnx_of,
        )
        from colearn.learners._onnx_graph import rounded_down  # noqa: PLC0415

        trees = LightGBMTrees.of(self._model)
        # For float32 rows, at most the threshold is at most the threshold rounded down.
        goes_right = np.zeros(len(trees.left), np.uint8)
        branches = Branches("BRANCH_LEQ", rounded_down(trees.threshold), goes_right)
        model = onnx_of(trees, branches, len(self.schema.features), self.schema.classes)
        return ColearnModel(model_format=ModelFormat.ONNX, model=model)
