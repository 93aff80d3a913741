"""Learners on scikit-learn's incremental estimators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import signature
from typing import Any

import numpy as np
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor

from colearn.errors import ConfigError
from colearn.learners._family import ModelFamily
from colearn.learners._linear import LinearFamily
from colearn.learners._mlp import MLPFamily
from colearn.learners._naive_bayes import NaiveBayesFamily
from colearn.learners._template import Rows, TemplateLearner
from colearn.learners._threads import one_thread
from colearn.schema import Schema

__all__ = ["SklearnLearner"]


class SklearnLearner(TemplateLearner):
    """A learner on SGDClassifier, SGDRegressor, MLPClassifier, MLPRegressor or GaussianNB.

    A proposal is `epochs` passes of ``partial_fit`` over the training rows, starting from the
    global model; that of GaussianNB adds `rows_per_proposal` rows not used before. The same seed,
    data and model give the same proposal.
    """

    def __init__(
        self,
        estimator: Any,
        *,
        train: Rows,
        vote: Rows,
        classes: Iterable[object] | None = None,
        features: Sequence[str] | None = None,
        epochs: int = 1,
        rows_per_proposal: int = 20,
        model_seed: int = 0,
        **settings: Any,
    ) -> None:
        """Build the learner.

        Args:
            estimator: An unfitted estimator with the settings to use.
            train: X of shape (rows, features) and y of shape (rows,).
            vote: Private rows to vote on, disjoint from `train`.
            classes: Every class of the experiment, also those this learner has no row of;
                needed for a classifier, None for a regressor.
            features: Column names; None calls them x0, x1, ...
            epochs: Passes over the training rows in one proposal.
            rows_per_proposal: Rows a proposal of GaussianNB adds.
            model_seed: The experiment's seed of model 0, the same on every learner (6.1).
            **settings: Those of `TemplateLearner`: test, name, seed, mode, z, balanced, damping,
                metric.

        Raises:
            ConfigError: An estimator or a setting that cannot be used; rows that do not fit.
        """
        is_classifier = isinstance(estimator, SGDClassifier | MLPClassifier | GaussianNB)
        if is_classifier and classes is None:
            raise ConfigError(
                "A classifier must be told every class of the experiment.",
                hint="Write for example classes=range(10).",
            )
        if epochs < 1:
            raise ConfigError(f"epochs must be at least 1, got {epochs!r}.")
        if rows_per_proposal < 1:
            raise ConfigError(f"rows_per_proposal must be at least 1, got {rows_per_proposal!r}.")
        if isinstance(estimator, GaussianNB) and settings.get("damping") not in (None, 1.0):
            raise ConfigError("GaussianNB adds whole rows, so damping must be 1.")
        if isinstance(estimator, GaussianNB):
            # Which rows are used up is known to this process alone.
            self.local_state = "restarted"
        width = np.shape(train[0])[-1] if features is None else features
        schema = Schema.of(width, classes if is_classifier else None)
        with one_thread():
            family = _family(estimator, schema, epochs, rows_per_proposal, model_seed)
        super().__init__(family, schema, train=train, vote=vote, **settings)

    @classmethod
    def from_settings(cls, schema: Schema, **settings: Any) -> SklearnLearner:
        """Build the learner an experiment file describes.

        ``estimator`` names the class as ``module:name``. Of the other settings, those this
        class does not know are passed on to the estimator.

        Raises:
            ConfigError: No estimator, or a setting it does not know.
        """
        known = set(signature(cls).parameters) | set(signature(TemplateLearner).parameters)
        mine = {key: settings.pop(key) for key in known & settings.keys() - {"estimator"}}
        use = settings.pop("estimator", None)
        estimators = {each.__name__: each for each in _ESTIMATORS}
        chosen = estimators.get(str(use).rpartition(":")[2])
        if chosen is None:
            raise ConfigError(
                f"[learner.with.estimator] is unknown: {use!r}.",
                hint=f"Write sklearn.linear_model:SGDClassifier or one of {sorted(estimators)}.",
            )
        try:
            estimator = chosen(**settings)
        except TypeError as error:
            raise ConfigError(f"[learner.with] {error}.") from error
        return cls(estimator, classes=schema.classes, features=schema.features, **mine)


_ESTIMATORS = (SGDClassifier, SGDRegressor, MLPClassifier, MLPRegressor, GaussianNB)


def _family(
    estimator: Any, schema: Schema, epochs: int, rows_per_proposal: int, model_seed: int
) -> ModelFamily:
    if isinstance(estimator, SGDClassifier | SGDRegressor):
        return LinearFamily(estimator, schema, epochs)
    if isinstance(estimator, MLPClassifier | MLPRegressor):
        return MLPFamily(estimator, schema, epochs, model_seed)
    if isinstance(estimator, GaussianNB):
        return NaiveBayesFamily(estimator, schema, rows_per_proposal)
    raise ConfigError(
        f"SklearnLearner does not know how to share a {type(estimator).__name__}.",
        hint="Use SGDClassifier, SGDRegressor, MLPClassifier, MLPRegressor or GaussianNB, or a "
        "learner of your own against MachineLearningInterface.",
    )
