"""Small Keras learners on made-up rows."""

import numpy as np

from colearn.learners._keras_backend import keras
from colearn.learners.keras import KerasLearner
from tests.torch_learners import CLASSES, LABELS, VALUES, X, changed, current, data, step

layers = keras.layers


def normed():
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.3),
            layers.Dense(3),
        ]
    )


def linear(units=3, activation=None):
    return keras.Sequential([keras.Input((4,)), layers.Dense(units, activation=activation)])


def learner(model=normed, rows=None, **settings):
    return KerasLearner(model, **(data() if rows is None else rows), **settings)


def digest(one):
    return one.mli_propose_weights().weights.digest


__all__ = [
    "CLASSES", "LABELS", "VALUES", "X", "changed", "current", "data", "digest", "keras", "layers",
    "learner", "linear", "normed", "np", "step",
]  # fmt: skip
