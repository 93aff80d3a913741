"""What every learner does, whatever it learns with (2, 3, 6): one suite over all adapters.

A further adapter adds its entries to `ADAPTERS` and nothing else: a function of the rows and the
seed, with the module that it needs and the extra that brings it. It imports inside.
"""

import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pytest

from colearn import ColearnModel, ProposedWeights, Weights
from colearn.errors import ColearnError
from colearn.interface import MachineLearningInterface
from colearn.testing import LearnerCheckError, learner_checks
from colearn.weights import form_of, freeze, require_like

PLACES = 3
RNG = np.random.default_rng(7)
X = RNG.normal(size=(PLACES * 130, 4))
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)
BINARY = (LABELS > 0).astype(int)
VALUES = X[:, 0] - 2 * X[:, 1]
SGD = {"learning_rate": "constant", "eta0": 0.05}


@dataclass
class Adapter:
    build: object
    y: np.ndarray
    needs: str = "sklearn"
    extra: str = "sklearn"


@cache
def rows(name):
    """X and y of the whole group, each adapter's its own, which nobody may write to."""
    dtype = np.float32 if name.startswith(("torch", "keras")) else np.float64
    return X.astype(dtype), ADAPTERS[name].y.copy()


def maker(name):
    adapter = ADAPTERS[name]
    features, y = rows(name)

    def make(place, seed):
        start = place * 130
        cuts = [slice(start, start + 80), slice(start + 80, start + 110)]
        train, vote = [(features[cut], y[cut]) for cut in cuts]
        return adapter.build({"train": train, "vote": vote}, seed)

    return make


class Plain(MachineLearningInterface):
    """Written against the interface alone: linear regression, a dict of numpy arrays."""

    def __init__(self, train, vote):
        self.train, self.vote = train, vote
        self.weights = {"w": np.zeros(4), "b": np.zeros(1)}

    def checked(self, weights):
        arrays = freeze(weights.weights)
        require_like(arrays.layout, form_of(self.weights))
        return arrays

    def loss(self, arrays):
        rows, y = self.vote
        return float(np.mean(np.square(rows @ arrays["w"] + arrays["b"] - y)))

    def mli_propose_weights(self):
        rows, y = self.train
        error = rows @ self.weights["w"] + self.weights["b"] - y
        return Weights(
            weights={
                "w": self.weights["w"] - 0.1 * rows.T @ error / len(y),
                "b": self.weights["b"] - 0.1 * error.mean(),
            }
        )

    def mli_test_weights(self, weights):
        with np.errstate(all="ignore"):
            now, then = self.loss(self.checked(weights)), self.loss(self.weights)
        score = -now if np.isfinite(now) else float("nan")
        return ProposedWeights(weights=weights, vote_score=score, vote=now < then)

    def mli_accept_weights(self, weights):
        self.weights = self.checked(weights)

    def mli_get_current_weights(self):
        return Weights(weights=dict(self.weights))

    def mli_get_current_model(self) -> ColearnModel:
        raise ColearnError("A plain class has no ONNX.")


def sklearn(module, name, classes=None, extra=None, **settings):
    def build(data, seed):
        from colearn import SklearnLearner

        estimator = getattr(importlib.import_module(module), name)(**settings)
        kind = {} if classes is None else {"classes": range(classes)}
        return SklearnLearner(estimator, **data, **kind, seed=seed, **(extra or {}))

    return build


def trees(learner, classes=None, **settings):
    def build(data, seed):
        from colearn import learners

        kind = None if classes is None else range(classes)
        return getattr(learners, learner)(**data, classes=kind, seed=seed, **settings)

    return build


def torch(factory, classes=None, **settings):
    def build(data, seed):
        from colearn.learners import TorchLearner

        kind = {} if classes is None else {"classes": range(classes)}
        module = normed if factory == "normed" else small
        return TorchLearner(module, **data, **kind, seed=seed, epochs=2, **settings)

    return build


def small(schema):
    from colearn.learners.torch_models import mlp

    return mlp(schema, hidden=(8,))


def normed():
    from torch import nn

    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
    )


def keras(factory, classes=None):
    def build(data, seed):
        from colearn.learners import keras_models
        from colearn.learners.keras import KerasLearner

        kind = {} if classes is None else {"classes": range(classes)}
        model = keras_normed if factory == "normed" else partial(keras_models.mlp, hidden=(8,))
        return KerasLearner(model, **data, **kind, seed=seed, batch_size=80, epochs=2)

    return build


def keras_normed():
    from colearn.learners.keras import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(3),
        ]
    )


LINEAR, NETWORK = "sklearn.linear_model", "sklearn.neural_network"
FEW_TREES = {"trees_per_proposal": 2, "forest": {"max_depth": 4}}
ADAPTERS = {
    "plain": Adapter(lambda data, _: Plain(**data), VALUES, "numpy", ""),
    "sgd log": Adapter(sklearn(LINEAR, "SGDClassifier", 3, loss="log_loss", **SGD), LABELS),
    "sgd hinge": Adapter(sklearn(LINEAR, "SGDClassifier", 3, loss="hinge", **SGD), LABELS),
    "sgd regressor": Adapter(
        sklearn(LINEAR, "SGDRegressor", learning_rate="constant", eta0=0.01), VALUES
    ),
    "mlp": Adapter(
        sklearn(NETWORK, "MLPClassifier", 3, hidden_layer_sizes=(8,), learning_rate_init=0.05),
        LABELS,
    ),
    "mlp regressor": Adapter(
        sklearn(NETWORK, "MLPRegressor", hidden_layer_sizes=(8,), learning_rate_init=0.05), VALUES
    ),
    "naive bayes": Adapter(
        sklearn("sklearn.naive_bayes", "GaussianNB", 3, {"rows_per_proposal": 10}),
        LABELS,
    ),
    "forest": Adapter(trees("RandomForestLearner", 3, **FEW_TREES), LABELS),
    "forest regressor": Adapter(trees("RandomForestLearner", **FEW_TREES), VALUES),
    "torch mlp": Adapter(torch("small", 3), LABELS, "torch", "torch"),
    "torch normed": Adapter(torch("normed", 3), LABELS, "torch", "torch"),
    "torch regression": Adapter(torch("small"), VALUES, "torch", "torch"),
    "keras normed": Adapter(keras("normed", 3), LABELS, "keras", "keras"),
    "keras regression": Adapter(keras("mlp"), VALUES, "keras", "keras"),
    "xgboost binary": Adapter(trees("XGBoostLearner", 2), BINARY, "xgboost", "xgboost"),
    "xgboost multi": Adapter(trees("XGBoostLearner", 3), LABELS, "xgboost", "xgboost"),
    "xgboost regression": Adapter(trees("XGBoostLearner"), VALUES, "xgboost", "xgboost"),
    "lightgbm binary": Adapter(trees("LightGBMLearner", 2), BINARY, "lightgbm", "lightgbm"),
    "lightgbm multi": Adapter(trees("LightGBMLearner", 3), LABELS, "lightgbm", "lightgbm"),
    "lightgbm regression": Adapter(trees("LightGBMLearner"), VALUES, "lightgbm", "lightgbm"),
}


@pytest.mark.parametrize("check", learner_checks(), ids=str)
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_learner_does_what_the_protocol_asks(name, check):
    adapter = ADAPTERS[name]
    if importlib.util.find_spec(adapter.needs) is None:
        pytest.skip(f'{adapter.needs} is missing. Run: pip install "colearn[{adapter.extra}]"')
    check(maker(name), rows=rows(name), members=PLACES)


@pytest.mark.parametrize("method", ["propose", "test"])
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_learner_that_restores_its_weights_only_in_the_end_is_caught(name, method):
    # So errors half-way do reach every adapter, and the checks of them mean something.
    place = "weights" if name == "plain" else "_model"
    make = maker(name)

    def careless(number, seed):
        learner, donor = make(number, seed), make(number, seed)
        donor.mli_accept_weights(donor.mli_propose_weights())
        whole = type(learner)

        def carelessly(self, *given):
            kept = getattr(self, place)
            setattr(self, place, getattr(donor, place))
            answer = getattr(whole, f"mli_{method}_weights")(self, *given)
            setattr(self, place, kept)
            return answer

        learner.__class__ = type("Careless", (whole,), {f"mli_{method}_weights": carelessly})
        return learner

    if importlib.util.find_spec(ADAPTERS[name].needs) is None:
        extra = ADAPTERS[name].extra
        pytest.skip(f'{ADAPTERS[name].needs} is missing. Run: pip install "colearn[{extra}]"')
    what = {"propose": "proposal", "test": "test"}[method]
    (check,) = [each for each in learner_checks() if f"a {what} that fails" in str(each)]
    with pytest.raises(LearnerCheckError, match="was interrupted"):
        check(careless)
