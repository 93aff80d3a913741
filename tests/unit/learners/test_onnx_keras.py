import numpy as np
import pytest

pytest.importorskip("colearn.learners.keras")

from colearn.errors import ColearnError
from colearn.learners._keras_backend import keras, undisturbed
from colearn.learners._keras_onnx import onnx_of_keras
from colearn.learners._onnx_check import agreement, sample_around
from colearn.learners.keras import KerasLearner
from colearn.learners.keras_models import mlp

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 4))
WORDS = np.array(["one", "two", "three"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.3)]


def shares():
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(3, "softmax")]
    )


def share():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])


@pytest.mark.parametrize(
    ("model", "y", "classes", "from_logits"),
    [
        (mlp, WORDS, set(WORDS), True),
        (mlp, X[:, 0], None, True),
        (shares, WORDS, set(WORDS), False),
    ],
)
def test_a_keras_model_says_the_same_as_onnx(model, y, classes, from_logits, capfd):
    one = KerasLearner(
        model,
        train=(X[:40], y[:40]),
        vote=(X[40:], y[40:]),
        classes=classes,
        from_logits=from_logits,
    )
    one.mli_accept_weights(one.mli_propose_weights())
    rows = sample_around(X)
    capfd.readouterr()
    with undisturbed(0):
        graph = onnx_of_keras(one.model_, rows[:2], one.schema.classes, from_logits=from_logits)
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")
    found = agreement(graph, rows, one.predictions(rows), one.schema.classes, 1e-4)
    assert found.difference < 1e-5


def test_a_model_of_another_backend_is_refused():
    with pytest.raises(ColearnError, match="another backend"):
        onnx_of_keras(object(), X[:2], None, from_logits=True)
