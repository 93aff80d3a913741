"""Multi-layer perceptrons of scikit-learn."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier, MLPRegressor

from colearn.errors import ConfigError
from colearn.learners._family import Arrays, Features
from colearn.learners._scoring import Floats, Predictions, Targets
from colearn.schema import Schema
from colearn.weights import NamedArrays

__all__ = ["MLPFamily"]


class MLPFamily:
    """MLPClassifier and MLPRegressor: arrays ``weight0``, ``bias0``, ``weight1``, ...

    Model 0 is drawn from a seed that every learner shares, since zeros would never leave their
    saddle. The optimizer starts anew with every proposal; momenta are not part of the model.
    """

    grows = False
    damping = 0.25
    weighs_rows = True

    def __init__(
        self,
        estimator: MLPClassifier | MLPRegressor,
        schema: Schema,
        epochs: int,
        model_seed: int,
    ) -> None:
        """Keep the settings of `estimator`; its fitted state, if any, is ignored.

        Raises:
            ConfigError: A setting that does not work one proposal at a time.
        """
        if estimator.solver == "lbfgs" or estimator.early_stopping:
            raise ConfigError(
                "solver lbfgs and early_stopping need the whole training in one piece.",
                hint='Use solver "adam" or "sgd" and early_stopping=False.',
            )
        self._estimator = clone(estimator)
        self._labels = schema.classes
        self._classes_count = len(schema.classes or ())
        self._epochs = epochs
        self._model_seed = model_seed
        self._sizes = self._layer_sizes(len(schema.features))
        self._shell = self._prepared(seed=0)

    def initial(self) -> Arrays:
        """Return layers drawn as in Glorot and Bengio (2010) from the experiment's model seed."""
        rng = np.random.default_rng(self._model_seed)
        factor = 2.0 if self._estimator.activation == "logistic" else 6.0
        arrays = {}
        for layer, (before, after) in enumerate(zip(self._sizes, self._sizes[1:], strict=False)):
            bound = np.sqrt(factor / (before + after))
            arrays[f"weight{layer}"] = rng.uniform(-bound, bound, (before, after))
            arrays[f"bias{layer}"] = rng.uniform(-bound, bound, after)
        return arrays

    def check(self, proposed: NamedArrays, model: NamedArrays) -> None:
        """Accept: finite arrays of the right shapes are a perceptron."""

    def fit(
        self, model: NamedArrays, X: Features, y: Targets, seed: int, weights: Floats | None = None
    ) -> Arrays:
        """Run `epochs` passes of mini-batches in an order that `seed` decides."""
        estimator = self._loaded(model, self._prepared(seed))
        for _ in range(self._epochs):
            estimator.partial_fit(X, y, weights)
        arrays = {}
        for layer, (weight, bias) in enumerate(
            zip(estimator.coefs_, estimator.intercepts_, strict=True)
        ):
            arrays[f"weight{layer}"], arrays[f"bias{layer}"] = weight, bias
        return arrays

    def predict(self, model: NamedArrays, X: Features) -> Predictions:
        """Return class probabilities, or values."""
        estimator = self._loaded(model, self._shell)
        if not self._classes_count:
            return Predictions("values", estimator.predict(X))
        return Predictions("probabilities", estimator.predict_proba(X))

    def estimator(self, model: NamedArrays) -> Any:
        """Return a fitted estimator that answers with the experiment's class labels."""
        estimator = self._loaded(model, copy.deepcopy(self._shell))
        if self._labels is not None:
            estimator.classes_ = np.asarray(self._labels)
            estimator._label_binarizer.fit(estimator.classes_)  # noqa: SLF001
        return estimator

    def _layer_sizes(self, features_count: int) -> list[int]:
        outputs = self._classes_count if self._classes_count > 2 else 1
        return [features_count, *np.atleast_1d(self._estimator.hidden_layer_sizes), outputs]

    def _prepared(self, seed: int) -> Any:
        """Return an estimator that has met one row, so that everything but weights is set up."""
        estimator = clone(self._estimator).set_params(random_state=seed)
        row = np.zeros((1, self._sizes[0]))
        if self._classes_count:
            estimator.partial_fit(row, [0], classes=np.arange(self._classes_count))
        else:
            estimator.partial_fit(row, [0.0])
        # Its optimizer remembers that row; without one, partial_fit makes a fresh one.
        del estimator._optimizer  # noqa: SLF001
        return estimator

    def _loaded(self, model: NamedArrays, estimator: Any) -> Any:
        layers = range(len(self._sizes) - 1)
        estimator.coefs_ = [np.array(model[f"weight{layer}"]) for layer in layers]
        estimator.intercepts_ = [np.array(model[f"bias{layer}"]) for layer in layers]
        return estimator
