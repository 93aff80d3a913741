"""Weights of classes and of rows: how much each row counts in training, votes and scores."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError
from colearn.learners._scoring import Floats, Targets

__all__ = ["ClassWeight", "checked_class_weight", "checked_row_weights", "weighed"]

ClassWeight = str | Mapping[object, float] | None
"""None, "balanced", or a weight above 0 for each class; classes not named have 1."""


def checked_row_weights(weights: npt.ArrayLike, rows_count: int) -> Floats:
    """Return weights of rows as float64, (rows,).

    Raises:
        ConfigError: Not one finite number above 0 for each row.
    """
    try:
        array = np.asarray(weights, np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Weights of rows must be numbers: {error}.") from error
    if array.shape != (rows_count,):
        raise ConfigError(f"expected weights of shape ({rows_count},), got {array.shape}.")
    if not (np.isfinite(array) & (array > 0)).all():
        raise ConfigError(
            "Weights of rows must be finite and above 0.", hint="Leave rows out that do not count."
        )
    return array


def checked_class_weight(
    class_weight: ClassWeight, classes: tuple[object, ...] | None
) -> Floats | str | None:
    """Return None, "balanced", or one weight for each class, (classes,).

    A class of an experiment file is named by its text, as TOML has no other keys.

    Raises:
        ConfigError: There are no classes, a class is unknown, or a weight is not above 0.
    """
    if class_weight is None:
        return None
    if classes is None:
        raise ConfigError("class_weight needs a classifier.", hint="Give each row a weight.")
    if isinstance(class_weight, str) and class_weight == "balanced":
        return class_weight
    if not isinstance(class_weight, Mapping):
        raise ConfigError(
            f'class_weight must be "balanced" or a weight for each class, got {class_weight!r}.'
        )
    places = {str(label): place for place, label in enumerate(classes)}
    weights = np.ones(len(classes))
    for label, weight in class_weight.items():
        if str(label) not in places:
            raise ConfigError(f"class_weight: {label!r} is not among the classes {classes}.")
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not 0 < weight < math.inf:
            raise ConfigError(f"class_weight of {label!r} must be above 0, got {weight!r}.")
        weights[places[str(label)]] = weight
    return weights


def weighed(
    targets: Targets, weights: Floats | None, class_weight: Floats | str | None
) -> Floats | None:
    """Return how much each row counts, (rows,): its own weight times its class's; None for alike.

    "balanced" gives a class the weight rows / (classes that occur * rows of the class), rows
    counted by their weights, so that every class that occurs counts alike.
    """
    if class_weight is None:
        return weights
    own = np.ones(len(targets)) if weights is None else weights
    if isinstance(class_weight, str):
        count = np.bincount(targets, own)
        occur = np.count_nonzero(count)
        return np.asarray(own * (own.sum() / (occur * count[targets])))
    return np.asarray(own * class_weight[targets])
