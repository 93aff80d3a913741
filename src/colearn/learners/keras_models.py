"""Small Keras models, to begin with and to copy.

Each function is a factory for `KerasLearner`: it builds a new model for a schema. They end
without softmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from colearn.learners._keras_backend import keras
from colearn.schema import Schema

__all__ = ["mlp", "small_cnn"]

IMAGE_SIDE = 28


def mlp(schema: Schema, hidden: Sequence[int] = (64,)) -> Any:
    """Return a multi-layer perceptron for rows of columns, (rows, features).

    Args:
        schema: Says how many columns and classes there are; without classes one value comes out.
        hidden: Units of each hidden layer.
    """
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((len(schema.features),)),
            *(layers.Dense(units, activation="relu") for units in hidden),
            layers.Dense(_outputs(schema)),
        ]
    )


def small_cnn(schema: Schema, side: int = IMAGE_SIDE) -> Any:
    """Return a small convolutional network for square grey images, flat as (rows, side * side).

    Args:
        schema: Says how many classes there are; without classes one value comes out.
        side: Pixels along an edge, at least 4.
    """
    layers, last = keras.layers, {"data_format": "channels_last"}
    return keras.Sequential(
        [
            keras.Input((side * side,)),
            layers.Reshape((side, side, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu", **last),
            layers.MaxPooling2D(2, **last),
            layers.Conv2D(32, 3, padding="same", activation="relu", **last),
            layers.MaxPooling2D(2, **last),
            layers.Flatten(**last),
            layers.Dense(64, activation="relu"),
            layers.Dense(_outputs(schema)),
        ]
    )


def _outputs(schema: Schema) -> int:
    return len(schema.classes) if schema.classes is not None else 1
