"""A learner's private rows, checked once so that nothing later meets a bad cell."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ColearnWarning, ConfigError
from colearn.learners._family import Features
from colearn.learners._row_weights import checked_row_weights
from colearn.learners._scoring import Floats, Targets
from colearn.preprocess import refuse_missing
from colearn.schema import Schema

__all__ = ["LabelledRows", "Rows", "as_matrix", "block_name", "check_disjoint", "labelled"]

Rows = tuple[npt.ArrayLike, npt.ArrayLike] | tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]
"""X of shape (rows, features), y of shape (rows,) and, if rows count unlike, their weights."""

VOTE_ROWS_MIN = 2
VOTE_ROWS_FEW = 8

_CHECK_ITEMS = 2**20
"""Values examined at a time, so that a check allocates a megabyte and not a quarter of the rows."""


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Checked rows.

    Attributes:
        X: What the model family reads, (rows, ...), finite.
        y: Class indices or finite values, (rows,).
        weights: How much each row counts, above 0, (rows,); None where all count alike.
    """

    X: Features
    y: Targets
    weights: Floats | None = None


def block_name(row_shape: tuple[int, ...]) -> str:
    """Return the one feature name of rows that are no plain list of columns.

    An image has no column names, and a hundred thousand of them would not fit a specification.
    One name that says the shape is enough for members to notice that theirs differ (6.1).

    Args:
        row_shape: The shape of one row, such as (1, 28, 28).
    """
    return f"x[{','.join(map(str, row_shape))}]"


def as_matrix(X: npt.ArrayLike) -> Features:
    """Return X as float64; nothing is copied that is float64 already.

    Raises:
        ConfigError: X is not made of numbers.
    """
    try:
        return np.asarray(X, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"X must be numbers: {error}.") from error


def labelled(
    X: Features,
    y: npt.ArrayLike,
    schema: Schema,
    *,
    weights: npt.ArrayLike | None = None,
    any_rank: bool = False,
) -> LabelledRows:
    """Check rows against the schema.

    Args:
        X: The features as the model family reads them.
        y: Labels of the schema's classes, or numbers; (rows,).
        schema: Columns and classes.
        weights: How much each row counts, (rows,); None for all alike.
        any_rank: Whether X may have more than two dimensions: one row's values are then as many
            as the schema has features, or the schema has the one feature of `block_name`.

    Raises:
        ConfigError: The shapes do not fit, a value is missing or infinite (names the columns and
            how many), a label is not among the classes, or a weight is not above 0.
    """
    targets = np.asarray(y)
    if not _fits(X.shape, schema, any_rank=any_rank) or targets.shape != (len(X),):
        form, names = f"(rows, {len(schema.features)})", schema.features
        if any_rank and len(names) == 1 and names[0].startswith("x["):
            form = f"(rows, {names[0][2:-1]})"
        raise ConfigError(
            f"expected X of shape {form} and y of shape (rows,), got {X.shape} and {targets.shape}."
        )
    _refuse_gaps(X, schema)
    checked = None if weights is None else checked_row_weights(weights, len(X))
    return LabelledRows(X, _targets(targets, schema), checked)


def check_disjoint(
    name: str, train: LabelledRows, vote: LabelledRows, given: tuple[npt.ArrayLike, npt.ArrayLike]
) -> None:
    """Refuse rows of learner `name` that cannot vote (section 4); warn of few.

    Args:
        name: The learner.
        train: Its training rows.
        vote: Its vote rows.
        given: X of the two as the user gave them, before they may have been copied.

    Raises:
        ConfigError: No row to train on, fewer than 2 to vote on, or vote rows that lie inside
            the training rows in memory.
    """
    if len(train.y) < 1 or len(vote.y) < VOTE_ROWS_MIN:
        raise ConfigError(
            f"Learner {name!r} needs at least 1 row to train on and {VOTE_ROWS_MIN} to vote on, "
            f"got {len(train.y)} and {len(vote.y)}."
        )
    if _overlap(*given):
        raise ConfigError(
            f"Learner {name!r}: the vote set lies inside the training set, so it would approve "
            "what it learned by heart.",
            hint="Give it rows of its own.",
        )
    if len(vote.y) < VOTE_ROWS_FEW:
        warnings.warn(
            f"Learner {name!r} votes on {len(vote.y)} rows; below {VOTE_ROWS_FEW} its vote is "
            "mostly noise.",
            ColearnWarning,
            stacklevel=4,
        )


def _fits(shape: tuple[int, ...], schema: Schema, *, any_rank: bool) -> bool:
    width = len(schema.features)
    if len(shape) == 2:
        return shape[1] == width
    if not any_rank or len(shape) < 2:
        return False
    if width == 1:
        # The one feature is the whole row, and its name says the shape.
        return schema.features == (block_name(shape[1:]),)
    return int(np.prod(shape[1:])) == width


def _refuse_gaps(X: Features, schema: Schema) -> None:
    if X.dtype.kind != "f":
        return
    bad = _rows_with_gaps(X)
    if not bad.size:
        return
    if X.ndim == 2:
        # Every gap lies in these rows, so the counts it names are those of all rows.
        refuse_missing(X[bad], schema.features)
    count = int(np.count_nonzero(~np.isfinite(X[bad])))
    raise ConfigError(
        f"Expected a finite number in every cell, and {count} values are missing or infinite, "
        f"the first in row {bad[0]}.",
        hint="Leave such rows out, or replace the values.",
    )


def _rows_with_gaps(X: Features) -> npt.NDArray[np.int64]:
    step = max(1, _CHECK_ITEMS // max(1, int(np.prod(X.shape[1:]))))
    axes = tuple(range(1, X.ndim))
    found = [
        begin + np.flatnonzero(~np.isfinite(X[begin : begin + step]).all(axis=axes))
        for begin in range(0, len(X), step)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _targets(y: npt.NDArray[Any], schema: Schema) -> Targets:
    if schema.classes is None:
        try:
            values = np.asarray(y, np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"Every target must be a number: {error}.") from error
        if not np.isfinite(values).all():
            raise ConfigError("Every target must be a finite number.")
        return values
    classes = np.asarray(schema.classes)
    unknown = np.setdiff1d(y, classes)
    if unknown.size:
        raise ConfigError(
            f"The label {unknown[0].item()!r} is not among the classes {schema.classes}."
        )
    return np.searchsorted(classes, y)


def _overlap(train: npt.ArrayLike, vote: npt.ArrayLike) -> bool:
    if not isinstance(train, np.ndarray) or not isinstance(vote, np.ndarray):
        return False
    try:
        # The stub knows two of the numbers that max_work may be.
        return bool(np.shares_memory(train, vote, max_work=1))  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return False
