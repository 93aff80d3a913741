"""The small data sets that come with scikit-learn, with public scaling constants (6.2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from colearn.errors import MissingExtraError
from colearn.preprocess import Scaling
from colearn.schema import Schema
from colearn.tasks.base import Task

__all__ = ["DIABETES_CONSTANT", "breast_cancer", "diabetes", "digits", "iris", "wine"]

DIGITS_MAX = 16.0
"""The pixels of the digits go from 0 to 16: a public constant, known without looking at rows."""

DIABETES_CONSTANT = 150.0
"""What an empty forest predicts for diabetes: a round public number near the middle of the scale.

It is not computed from anybody's rows, so it gives nothing away.
"""


def digits() -> Task:
    """Return handwritten digits: 1797 rows, 64 pixels of 8 x 8 images, classes 0 to 9.

    The scaling divides by 16.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    return _classification("digits", "load_digits", Scaling.divide(DIGITS_MAX, 64))


def iris() -> Task:
    """Return iris flowers: 150 rows, 4 measurements in cm, classes 0 to 2.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    return _classification("iris", "load_iris")


def breast_cancer() -> Task:
    """Return breast cancer (Wisconsin): 569 rows, 30 features, classes 0 malignant and 1 benign.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    return _classification("breast_cancer", "load_breast_cancer")


def wine() -> Task:
    """Return wines: 178 rows, 13 chemical measurements, classes 0 to 2.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    return _classification("wine", "load_wine")


def diabetes() -> Task:
    """Return diabetes progression, a regression: 442 rows, 10 features.

    ``schema.constant`` is 150.0, see `DIABETES_CONSTANT`.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    data = _load("load_diabetes")
    schema = Schema.of(list(data.feature_names), constant=DIABETES_CONSTANT)
    return Task("diabetes", data.data, data.target, schema)


def _classification(name: str, loader: str, scaling: Scaling | None = None) -> Task:
    data = _load(loader)
    schema = Schema.of(list(data.feature_names), classes=np.unique(data.target))
    return Task(name, data.data, data.target, schema, scaling=scaling)


def _load(loader: str) -> Any:
    try:
        # Here and not above: importing colearn.tasks must load no framework.
        from sklearn import datasets  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("scikit-learn", extra="sklearn") from error
    return getattr(datasets, loader)()
