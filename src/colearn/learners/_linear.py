"""Linear models of scikit-learn, trained by stochastic gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier, SGDRegressor

from colearn.errors import ConfigError
from colearn.learners._family import Arrays, Features
from colearn.learners._linear_private import descent_of, private_length
from colearn.learners._scoring import Floats, Predictions, Targets
from colearn.schema import Schema
from colearn.weights import NamedArrays

if TYPE_CHECKING:
    from colearn.interface import DiffPrivConfig
    from colearn.privacy import PrivateTraining

__all__ = ["LinearFamily"]


class LinearFamily:
    """SGDClassifier and SGDRegressor: arrays ``coef`` and ``intercept``; model 0 is zeros.

    Every proposal starts the estimator's learning-rate schedule anew. With scikit-learn's default
    schedule that first step is so large that poison gets in; a constant rate is recommended.
    """

    grows = False
    damping = 0.25
    weighs_rows = True
    trains_privately = True

    def __init__(
        self, estimator: SGDClassifier | SGDRegressor, schema: Schema, epochs: int
    ) -> None:
        """Keep the settings of `estimator`; its fitted state, if any, is ignored.

        Raises:
            ConfigError: A setting that does not work one proposal at a time.
        """
        if estimator.average or estimator.early_stopping:
            raise ConfigError(
                "average and early_stopping need the whole training in one piece.",
                hint="Leave both at False.",
            )
        self._estimator = clone(estimator)
        self._classes_count = len(schema.classes or ())
        self._labels = schema.classes
        self._features_count = len(schema.features)
        self._epochs = epochs

    def initial(self) -> Arrays:
        """Return zeros."""
        rows = 1 if self._classes_count <= 2 else self._classes_count
        return {"coef": np.zeros((rows, self._features_count)), "intercept": np.zeros(rows)}

    def check(self, proposed: NamedArrays, model: NamedArrays) -> None:
        """Accept: finite arrays of the right shape are a linear model."""

    def fit(
        self, model: NamedArrays, X: Features, y: Targets, seed: int, weights: Floats | None = None
    ) -> Arrays:
        """Run `epochs` passes over the rows in an order that `seed` decides."""
        estimator = self._loaded(model, clone(self._estimator).set_params(random_state=seed))
        if self._classes_count:
            for _ in range(self._epochs):
                estimator.partial_fit(X, y, np.arange(self._classes_count), weights)
        else:
            for _ in range(self._epochs):
                estimator.partial_fit(X, y, weights)
        return {"coef": np.atleast_2d(estimator.coef_), "intercept": estimator.intercept_}

    def require_private(self, config: DiffPrivConfig) -> None:  # noqa: ARG002  (any will do)
        """Refuse settings of the estimator that have no private form.

        Raises:
            ConfigError: The loss, the penalty, the learning rate, or class_weight.
        """
        descent_of(self._estimator, is_classifier=bool(self._classes_count))

    def private_length(
        self, units_count: int, batch_size: int | None = None
    ) -> tuple[int, int, float | None]:
        """Return the batch size and the steps of `epochs` passes; the rate is not fixed."""
        return private_length(units_count, self._epochs, batch_size)

    def fit_privately(
        self,
        model: NamedArrays,
        X: Features,
        y: Targets,
        training: PrivateTraining,
        seed: int,  # noqa: ARG002  (`training` draws everything)
    ) -> Arrays:
        """Take the steps of `training` from the model on; each class has its own binary loss."""
        targets = self._signs(y) if self._classes_count else np.asarray(y[:, np.newaxis])
        descent = descent_of(self._estimator, is_classifier=bool(self._classes_count))
        return descent.trained(model, X, targets, training)

    def predict(self, model: NamedArrays, X: Features) -> Predictions:
        """Return probabilities where the loss has them, else decision values; or values."""
        estimator = self._fitted(model, np.arange(self._classes_count))
        if not self._classes_count:
            return Predictions("values", estimator.predict(X))
        if hasattr(estimator, "predict_proba"):
            return Predictions("probabilities", estimator.predict_proba(X))
        margins = estimator.decision_function(X)
        if margins.ndim == 1:
            # Half each way, so that the margin f_y - f_other is y f (section 4).
            margins = np.column_stack([-margins / 2, margins / 2])
        return Predictions("margins", margins)

    def estimator(self, model: NamedArrays) -> Any:
        """Return a fitted estimator that answers with the experiment's class labels."""
        return self._fitted(model, np.asarray(self._labels or ()))

    def _signs(self, y: Targets) -> Floats:
        """Return 1 for the class an output speaks for and -1 for any other, (rows, outputs)."""
        own = np.arange(self._classes_count) if self._classes_count > 2 else np.ones(1, np.int64)
        return np.where(y[:, np.newaxis] == own, 1.0, -1.0)

    def _fitted(self, model: NamedArrays, classes: Targets) -> Any:
        estimator = self._loaded(model, clone(self._estimator))
        if self._classes_count:
            estimator.classes_ = classes
        return estimator

    def _loaded(self, model: NamedArrays, estimator: Any) -> Any:
        coef = np.array(model["coef"])
        estimator.coef_ = coef if self._classes_count else coef[0]
        estimator.intercept_ = np.array(model["intercept"])
        estimator.n_features_in_ = self._features_count
        return estimator
