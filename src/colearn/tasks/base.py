"""What a task is: data, the schema all learners agree on, and the scaling they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError
from colearn.preprocess import Scaling, refuse_missing
from colearn.schema import Schema

__all__ = ["FloatArray", "IndexArray", "Task"]

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Rows to learn from, checked once so that nothing later meets a bad cell.

    Attributes:
        name: What the task is called in reports.
        X: Features before scaling, float64 (rows, features), finite, read-only.
        y: Targets (rows,), read-only: int64 or text labels, float64 for regression.
        schema: Column names and classes (protocol 6.1); no classes means regression.
        groups: One value per row, such as the site it came from, or None; read-only.
        scaling: The scaling every learner applies to X (6.2); the identity by default.

    Raises:
        ConfigError: Lengths or widths disagree, there are no rows or no features, values are
            missing or infinite, or a label is not in ``schema.classes``.
    """

    name: str
    X: FloatArray
    y: npt.NDArray[Any]
    schema: Schema
    groups: npt.NDArray[Any] | None = None
    scaling: Scaling | None = None

    def __post_init__(self) -> None:
        X = _frozen_features(self.X, self.schema)
        y = self._one_per_row(self.y, "y", len(X))
        classes = self.schema.classes
        y = _numbers(y, self.name) if classes is None else _labels(y, classes, self.name)
        y.setflags(write=False)
        width = X.shape[1]
        scaling = Scaling.identity(width) if self.scaling is None else self.scaling
        if scaling.offset.size != width:
            raise ConfigError(
                f"The scaling of task {self.name!r} is for {scaling.offset.size} features, and "
                f"the schema has {width}."
            )
        object.__setattr__(self, "X", X)
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "scaling", scaling)
        if self.groups is not None:
            groups = _group_values(self._one_per_row(self.groups, "groups", len(X)))
            groups.setflags(write=False)
            object.__setattr__(self, "groups", groups)

    @property
    def kind(self) -> Literal["classification", "regression"]:
        """``"classification"`` where the schema lists classes, else ``"regression"``."""
        return "regression" if self.schema.classes is None else "classification"

    def _one_per_row(self, values: npt.ArrayLike, what: str, rows: int) -> npt.NDArray[Any]:
        try:
            array = np.array(values)
        except ValueError as error:
            raise ConfigError(f"{what} of task {self.name!r} is no array: {error}.") from error
        if array.shape != (rows,):
            raise ConfigError(
                f"Task {self.name!r} has {rows} rows in X, and {what} has shape {array.shape}.",
                hint=f"Give {what} one value per row.",
            )
        return array


def _frozen_features(values: npt.ArrayLike, schema: Schema) -> FloatArray:
    try:
        X = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"X must be numbers: {error}.") from error
    if X.ndim != 2 or 0 in X.shape:
        raise ConfigError(
            f"X must be (rows, features) with at least one row and one feature, got {X.shape}."
        )
    refuse_missing(X, schema.features)
    # An array that owns its data and cannot be written is kept: a large task is not stored twice.
    if X.flags.writeable or X.base is not None:
        X = X.copy()
        X.setflags(write=False)
    return X


def _numbers(y: npt.NDArray[Any], name: str) -> FloatArray:
    if y.dtype.kind not in "iufb":
        raise ConfigError(
            f"The target of task {name!r} must be numbers for regression, got dtype {y.dtype}.",
            hint="List the labels in the schema's classes to classify.",
        )
    target = y.astype(np.float64)
    if not np.isfinite(target).all():
        row = int(np.flatnonzero(~np.isfinite(target))[0])
        raise ConfigError(
            f"The target of task {name!r} is missing or infinite in row {row}.",
            hint="Leave rows without a target out.",
        )
    return target


def _labels(y: npt.NDArray[Any], classes: tuple[int | str, ...], name: str) -> npt.NDArray[Any]:
    known = frozenset(classes)
    for row, label in enumerate(y.tolist()):
        if not isinstance(label, int | float | str) or label not in known:
            raise ConfigError(
                f"Row {row} of task {name!r} has the label {label!r}, which is not among the "
                f"schema's classes {list(classes[:10])}.",
                hint="List every class of the experiment in the schema.",
            )
    try:
        return y.astype(np.str_ if isinstance(classes[0], str) else np.int64)
    except OverflowError as error:
        raise ConfigError(f"A label of task {name!r} does not fit into int64.") from error


def _group_values(groups: npt.NDArray[Any]) -> npt.NDArray[Any]:
    values = groups.tolist()
    if len({type(value) for value in values}) > 1 or groups.dtype.kind not in "iubfUO":
        raise ConfigError("Groups must be all numbers or all text.")
    if any(value is None or value != value for value in values):  # noqa: PLR0124 - NaN
        raise ConfigError("A group is missing.", hint="Give every row a group, or leave it out.")
    # Objects become text or numbers, which sort the same way on every machine.
    return np.array(values)
