"""Random forests: a proposal adds trees grown on the learner's rows to the global forest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from colearn.errors import ColearnError, ConfigError, WeightsError
from colearn.learners._family import Arrays, Features
from colearn.learners._forest_rebuild import nodes_of, rebuilt
from colearn.learners._private_forest import Bounds, PrivateGrowth
from colearn.learners._scoring import Floats, Predictions, Targets
from colearn.learners._template import Rows, TemplateLearner
from colearn.schema import Schema
from colearn.weights import NamedArrays, Trees

if TYPE_CHECKING:
    from colearn.interface import DiffPrivConfig
    from colearn.privacy import PrivateTraining

__all__ = ["RandomForestLearner"]

_ARRAYS = ("sizes", "left", "right", "feature", "threshold", "value")
_SHARE_ERROR = 1e-6
"""How far a leaf's class shares may be from adding up to 1: rounding, and no more."""


class ForestFamily:
    """A forest as the arrays of `Trees`; it grows, and what is there stays (P3.5)."""

    grows = True
    damping = 1.0
    weighs_rows = True
    trains_privately = True

    def __init__(
        self,
        schema: Schema,
        trees_count: int,
        settings: dict[str, Any],
        growth: PrivateGrowth | None = None,
    ) -> None:
        """Add `trees_count` trees a proposal, grown with scikit-learn's `settings`.

        `growth` takes the place of scikit-learn where training is private; None refuses that.

        Raises:
            ConfigError: scikit-learn does not know a setting.
        """
        self._schema = schema
        self._width = len(schema.features)
        self._classes_count = len(schema.classes or ())
        self._outputs = self._classes_count or 1
        self._trees_count = trees_count
        self._settings = settings
        self._growth = growth
        kind = RandomForestClassifier if self._classes_count else RandomForestRegressor
        try:
            self._grower = kind(n_estimators=trees_count, **settings)
        except TypeError as error:
            raise ConfigError(f"RandomForestLearner: {error}.") from error

    def initial(self) -> Arrays:
        """Return the empty forest."""
        empty = np.zeros(0, np.int32)
        return {
            "sizes": empty,
            "left": empty,
            "right": empty,
            "feature": empty,
            "threshold": np.zeros(0),
            "value": np.zeros((0, self._outputs)),
        }

    def check(self, proposed: NamedArrays, model: NamedArrays) -> None:
        """Refuse a forest that would harm who evaluates it, or lacks trees of the model (6.3).

        Raises:
            WeightsError: A malformed tree, class shares that are none, a tree taken away.
        """
        trees = _trees(proposed)
        trees.check(self._width)
        if self._classes_count and len(trees.value):
            shares = trees.value
            if (shares < 0).any() or (abs(shares.sum(axis=1) - 1) > _SHARE_ERROR).any():
                raise WeightsError("Array 'value' must hold class shares that add up to 1.")
        for name, before in model.items():
            if not np.array_equal(proposed[name][: len(before)], before):
                raise WeightsError(
                    f"Array {name!r} changes trees of the model; a proposal may only add some."
                )

    def fit(
        self, model: NamedArrays, X: Features, y: Targets, seed: int, weights: Floats | None = None
    ) -> Arrays:
        """Grow trees on the rows and put them behind those of the model."""
        forest = self._grower.set_params(random_state=seed).fit(X, y, weights)
        grown = [nodes_of(each.tree_, self._values(forest, each)) for each in forest.estimators_]
        return _longer(model, grown)

    def require_private(self, config: DiffPrivConfig) -> None:
        """Refuse what noised counts over public bounds cannot do.

        Raises:
            ConfigError: Numbers to predict, no bounds, scikit-learn's settings, or a step that is
                not one histogram of all rows.
        """
        if not self._classes_count:
            raise ConfigError(
                "A forest trains privately for classes alone, and this one predicts numbers.",
                hint="Use SklearnLearner on an SGDRegressor, or TorchLearner.",
            )
        if self._growth is None:
            raise ConfigError(
                "A private forest needs bounds: the least and the largest value of each feature.",
                hint="Write bounds=(low, high) or one pair for each feature, from what is known "
                "publicly; bounds taken from the rows would reveal some of them.",
            )
        if self._settings:
            raise ConfigError(
                f"Private trees do not take scikit-learn's settings, got {sorted(self._settings)}.",
                hint="Leave forest out, and set private_depth.",
            )
        if config.max_grad_norm != 1:
            raise ConfigError(
                f"A row counts 1 in each tree, so max_grad_norm must be 1, got "
                f"{config.max_grad_norm!r}.",
                hint="Write max_grad_norm = 1.",
            )
        if config.expected_batch_size is not None:
            raise ConfigError(
                "Every private tree counts all rows, so a forest takes no expected_batch_size.",
                hint="Leave it out; steps_per_proposal is the number of trees.",
            )

    def private_length(
        self,
        units_count: int,
        batch_size: int | None = None,  # noqa: ARG002  (a tree takes all)
    ) -> tuple[int, int, float | None]:
        """Return that a step takes all units, that there is one a tree, and the rate 1."""
        return units_count, self._trees_count, 1.0

    def fit_privately(
        self, model: NamedArrays, X: Features, y: Targets, training: PrivateTraining, seed: int
    ) -> Arrays:
        """Put trees with random splits and noised leaves behind those of the model."""
        assert self._growth is not None, "require_private comes first"
        return _longer(model, self._growth.grown(X, y, training, seed))

    def predict(self, model: NamedArrays, X: Features) -> Predictions:
        """Return the mean over the trees; the empty forest says 1 / C or the constant."""
        trees = rebuilt(_trees(model), self._width)
        rows = np.ascontiguousarray(X, np.float32)
        if trees:
            total = np.zeros((len(X), self._outputs))
            for tree in trees:
                total += tree.predict(rows).reshape(len(X), self._outputs)
            scores = total / len(trees)
        else:
            empty = 1 / self._outputs if self._classes_count else self._schema.constant
            scores = np.full((len(X), self._outputs), empty)
        if self._classes_count:
            return Predictions("probabilities", scores)
        return Predictions("values", scores[:, 0])

    def estimator(self, model: NamedArrays) -> Any:
        """Return a fitted scikit-learn forest that answers with the experiment's class labels.

        Raises:
            ColearnError: The forest is still empty, which scikit-learn cannot express.
        """
        trees = rebuilt(_trees(model), self._width)
        if not trees:
            raise ColearnError(
                "The forest is still empty.", hint="Let at least one proposal be accepted first."
            )
        is_classifier = bool(self._classes_count)
        forest = RandomForestClassifier() if is_classifier else RandomForestRegressor()
        forest.set_params(n_estimators=len(trees))
        each = DecisionTreeClassifier if is_classifier else DecisionTreeRegressor
        forest.estimators_ = [self._fitted(each(), tree, range(self._outputs)) for tree in trees]
        return self._fitted(forest, None, self._schema.classes)

    def _fitted(self, estimator: Any, tree: Any, classes: Iterable[object] | None) -> Any:
        estimator.n_features_in_ = self._width
        estimator.n_outputs_ = 1
        if tree is not None:
            estimator.tree_ = tree
            estimator.max_features_ = self._width
        if self._classes_count:
            estimator.classes_ = np.asarray(list(classes or ()))
            estimator.n_classes_ = self._classes_count
        return estimator

    def _values(self, forest: Any, tree: Any) -> npt.NDArray[np.float64]:
        """Return (nodes, outputs): each class in its own column, also those without a row."""
        raw = tree.tree_.value[:, 0, :]
        if not self._classes_count:
            return np.ascontiguousarray(raw)
        values = np.zeros((len(raw), self._outputs))
        values[:, forest.classes_] = raw / raw.sum(axis=1, keepdims=True)
        return values


def _longer(model: NamedArrays, grown: Sequence[Trees]) -> Arrays:
    return {
        name: np.concatenate([model[name], *[getattr(tree, name) for tree in grown]])
        for name in _ARRAYS
    }


def _trees(model: NamedArrays) -> Trees:
    return Trees(**{name: model[name] for name in _ARRAYS})


class RandomForestLearner(TemplateLearner):
    """A learner whose model is a random forest, for classes or for numbers.

    Trees travel as plain arrays and every node is checked before scikit-learn sees it (6.3).
    """

    def __init__(
        self,
        *,
        train: Rows,
        vote: Rows,
        classes: Iterable[object] | None = None,
        features: Sequence[str] | None = None,
        trees_per_proposal: int = 5,
        constant: float = 0.0,
        forest: dict[str, Any] | None = None,
        bounds: Bounds | None = None,
        private_depth: int = 4,
        **settings: Any,
    ) -> None:
        """Build the learner.

        Args:
            train: X of shape (rows, features) and y of shape (rows,).
            vote: Private rows to vote on, disjoint from `train`.
            classes: Every class of the experiment; None for regression.
            features: Column names; None calls them x0, x1, ...
            trees_per_proposal: How many trees a proposal adds.
            constant: What the empty forest predicts in regression.
            forest: Settings of scikit-learn's forest, such as ``{"max_depth": 8}``.
            bounds: For private training: the (low, high) of all features, or one such pair for
                each, from public knowledge and never from the rows. Values beyond are allowed.
            private_depth: Of the trees of private training, which split at random over `bounds`.
            **settings: Those of `TemplateLearner`, without damping: trees are added whole.

        Raises:
            ConfigError: A setting that cannot be used; rows that do not fit.
        """
        if trees_per_proposal < 1:
            raise ConfigError(f"trees_per_proposal must be at least 1, got {trees_per_proposal!r}.")
        if settings.get("damping") not in (None, 1.0):
            raise ConfigError("A forest adds whole trees, so damping must be 1.")
        width = np.shape(train[0])[-1] if features is None else features
        schema = Schema.of(width, classes, constant)
        growth = None
        if bounds is not None:
            classes_count = len(schema.classes or ())
            growth = PrivateGrowth.of(bounds, private_depth, len(schema.features), classes_count)
        family = ForestFamily(schema, trees_per_proposal, dict(forest or {}), growth)
        super().__init__(family, schema, train=train, vote=vote, **settings)

    @classmethod
    def from_settings(cls, schema: Schema, **settings: Any) -> RandomForestLearner:
        """Build the learner an experiment file describes; settings as the constructor's."""
        settings.pop("model_seed", None)
        return cls(
            classes=schema.classes, features=schema.features, constant=schema.constant, **settings
        )
