"""Gradient boosting: a proposal adds trees that correct the global booster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.interface import ColearnModel, ModelFormat
from colearn.learners._boosted_learner import BoostedLearner, template_settings
from colearn.learners._boosted_settings import TreeSettings, refuse_unknown
from colearn.learners._family import Features
from colearn.learners._rows import Rows
from colearn.learners._xgboost_family import XGBoostFamily
from colearn.learners._xgboost_settings import FIXED, REFUSED
from colearn.learners._xgboost_trees import XGBoostTrees
from colearn.schema import Schema

__all__ = ["XGBoostLearner"]


class XGBoostLearner(BoostedLearner):
    """A learner whose model is an XGBoost booster, for classes or for numbers.

    Trees travel as plain arrays and every node is checked before XGBoost sees it (6.3); no file of
    XGBoost is ever taken from anybody. Nothing is kept from one proposal to the next.
    """

    _computes = "XGBoost computes in float32"

    def __init__(
        self,
        *,
        train: Rows,
        vote: Rows,
        classes: Iterable[object] | None = None,
        features: Sequence[str] | None = None,
        constant: float = 0.0,
        trees_per_proposal: int = 2,
        max_depth: int = 3,
        learning_rate: float = 0.1,
        subsample: float = 0.7,
        colsample_bytree: float = 1.0,
        reg_lambda: float = 1.0,
        min_child_weight: float = 1.0,
        max_bin: int = 256,
        **settings: Any,
    ) -> None:
        """Build the learner.

        Args:
            train: X of shape (rows, features) and y of shape (rows,).
            vote: Private rows to vote on, disjoint from `train`.
            classes: Every class of the experiment; None for regression.
            features: Column names; None calls them x0, x1, ...
            constant: What the empty booster predicts in regression, rounded to a float32.
            trees_per_proposal: Boosting rounds in one proposal, 1 to 100; with more than two
                classes each adds one tree for each class.
            max_depth: Edges from a root to a leaf, 1 to 32.
            learning_rate: By which a tree's values are multiplied, above 0 up to 1.
            subsample: The share of the rows each tree is grown on, above 0 up to 1.
            colsample_bytree: The share of the features each tree may use, above 0 up to 1.
            reg_lambda: The L2 penalty on a leaf's value, 0 or more.
            min_child_weight: The least sum of second derivatives in a node, 0 or more.
            max_bin: Bins of one feature's histogram, 2 to 65,536.
            **settings: Those of `TemplateLearner`, without damping: trees are added whole.

        Raises:
            ConfigError: A setting that cannot be used; rows that do not fit.
        """
        trees = TreeSettings(
            trees_per_proposal=trees_per_proposal,
            max_depth=max_depth,
            learning_rate=learning_rate,
            subsample=subsample,
            colsample_bytree=colsample_bytree,
            reg_lambda=reg_lambda,
            min_child_weight=min_child_weight,
            max_bin=max_bin,
        )
        settings = refuse_unknown(
            "XGBoostLearner",
            settings,
            template_settings(),
            fixed=FIXED,
            refused=REFUSED,
            own=[each.name for each in fields(TreeSettings)],
        )
        width = np.shape(train[0])[-1] if features is None else features
        schema = Schema.of(width, classes, constant)
        family = XGBoostFamily(schema, trees)
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

        trees = XGBoostTrees.of(self._model)
        branches = Branches("BRANCH_LT", trees.threshold, trees.default_left)
        model = onnx_of(trees, branches, len(self.schema.features), self.schema.classes)
        return ColearnModel(model_format=ModelFormat.ONNX, model=model)

    def _features(self, X: npt.ArrayLike) -> Features:
        """Return X as XGBoost reads it: float32.

        Raises:
            ConfigError: A value that has no place in it.
        """
        return np.ascontiguousarray(super()._features(X), np.float32)
