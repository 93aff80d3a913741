"""Scaling that every learner shares, and missing values (protocol 6.2).

Scaling is part of an experiment's specification: public constants, or computed from every
member's moments. A learner that scales by its own data trains a model nobody else can use.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError

__all__ = ["Moments", "Scaling", "impute", "local_moments", "refuse_missing", "shared_scaling"]

FloatArray = npt.NDArray[np.float64]

VARIANCE_MIN = 1e-12
"""The smallest variance a feature is scaled by, so that a constant column divides by 1e-6 (6.2)."""

MOMENTS_COUNT_MAX = 2**53
"""The most rows a site may claim: the largest range in which float64 counts exactly."""

TRIM_SITES_MIN = 4
"""From this many sites on, the lowest and the highest are dropped (6.2)."""

ROUNDING_SLACK = 1e-9
"""How far, relative to mean ** 2, summing in float64 may push a mean of squares below it."""

NAMED_COLUMNS_MAX = 5
"""How many columns with missing values an error names."""


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """One linear map per feature, equal on every learner (6.2).

    Attributes:
        offset: What is subtracted; float64 (features,), read-only.
        divisor: What the difference is divided by; float64 (features,), read-only, never 0.

    Raises:
        ConfigError: The widths differ, a value is not finite, or a divisor is 0.
    """

    offset: FloatArray
    divisor: FloatArray

    def __post_init__(self) -> None:
        offset = _frozen_row(self.offset, "A scaling's offset")
        divisor = _frozen_row(self.divisor, "A scaling's divisor")
        if offset.shape != divisor.shape:
            raise ConfigError(f"Expected a divisor per offset, {offset.size}, got {divisor.size}.")
        bad = ~np.isfinite(offset) | ~np.isfinite(divisor) | (divisor == 0)
        if bad.any():
            at = _first(bad)
            raise ConfigError(
                f"A scaling needs finite numbers and no divisor 0, got offset {offset[at]} and "
                f"divisor {divisor[at]} at feature {at}.",
                hint="Divide a constant feature by 1.",
            )
        object.__setattr__(self, "offset", offset)
        object.__setattr__(self, "divisor", divisor)

    @staticmethod
    def identity(feature_count: int) -> Scaling:
        """Return the scaling that changes nothing, for `feature_count` features."""
        return Scaling(np.zeros(feature_count), np.ones(feature_count))

    @staticmethod
    def divide(by: float, feature_count: int) -> Scaling:
        """Return the scaling that divides every one of `feature_count` features by `by`."""
        return Scaling(np.zeros(feature_count), np.full(feature_count, by))

    def apply(self, X: npt.ArrayLike) -> FloatArray:
        """Return ``(X - offset) / divisor`` as a new float64 array (rows, features).

        Raises:
            ConfigError: X has not two dimensions, or another number of columns.
        """
        return (_matrix(X, self.offset.size) - self.offset) / self.divisor

    def to_dict(self) -> dict[str, list[float]]:
        """Return plain lists for the specification: ``{"offset": [...], "divisor": [...]}``."""
        return {"offset": self.offset.tolist(), "divisor": self.divisor.tolist()}

    @staticmethod
    def from_dict(document: Mapping[str, object]) -> Scaling:
        """Rebuild what `to_dict` returned: exactly these two keys.

        Raises:
            ConfigError: Other keys, something that is no list of numbers, or a bad scaling.
        """
        if set(document) != {"offset", "divisor"}:
            keys = sorted(map(str, document))[:NAMED_COLUMNS_MAX]
            raise ConfigError(f"A scaling needs the keys 'offset' and 'divisor', got {keys}.")
        return Scaling(*(_numbers(document[key], key) for key in ("offset", "divisor")))


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What one site publishes about its features (6.2); checked by `shared_scaling`.

    Attributes:
        count: Rows at the site.
        mean: Mean per feature; float64 (features,), read-only.
        mean_square: Mean of the squares per feature; float64 (features,), read-only.

    Raises:
        ConfigError: `mean` or `mean_square` is no row of numbers.
    """

    count: int
    mean: FloatArray
    mean_square: FloatArray

    def __post_init__(self) -> None:
        for name in ("mean", "mean_square"):
            object.__setattr__(self, name, _frozen_row(getattr(self, name), f"The moments' {name}"))


def local_moments(X: npt.ArrayLike) -> Moments:
    """Compute a site's moments from its own rows (6.2).

    Args:
        X: Features of the site, (rows, features), without missing values.

    Raises:
        ConfigError: X has not two dimensions, no rows, or values whose squares are not finite.
    """
    matrix = _floats(X, "X", 2)
    if not len(matrix):
        raise ConfigError("Moments need at least one row, got none.")
    with np.errstate(over="ignore", invalid="ignore"):
        mean = matrix.mean(axis=0)
        mean_square = np.square(matrix).mean(axis=0)
    bad = ~(np.isfinite(mean) & np.isfinite(mean_square))
    if bad.any():
        raise ConfigError(
            f"Moments must be finite, and those of feature {_first(bad)} are not.",
            hint="Impute missing values first, and look for values beyond 1e150.",
        )
    return Moments(len(matrix), mean, mean_square)


def shared_scaling(sites: Sequence[Moments]) -> Scaling:
    """Merge the sites' moments into the scaling all of them use (6.2).

    Per feature both means are averaged over the sites, weighted by count; with four sites or more
    the lowest and the highest are dropped before, by each mean's own order. The divisor is the
    root of ``max(mean_square - mean ** 2, 1e-12)``.

    Args:
        sites: One `Moments` per site, in the order of the roster.

    Raises:
        ConfigError: No sites, or a site's moments are not finite, of another width than the first
            site's, of fewer than one row, or impossible; the text names the site's position.
    """
    if not sites:
        raise ConfigError("A shared scaling needs the moments of at least one site, got none.")
    for position, moments in enumerate(sites):
        _check_moments(moments, position, sites[0].mean.size)
    counts = np.array([site.count for site in sites], dtype=np.float64)
    # A mean of squares near the largest float may still round to inf: Scaling refuses it.
    with np.errstate(over="ignore"):
        mean = _trimmed_mean(np.stack([site.mean for site in sites]), counts)
        mean_square = _trimmed_mean(np.stack([site.mean_square for site in sites]), counts)
        variance = np.maximum(mean_square - np.square(mean), VARIANCE_MIN)
    return Scaling(mean, np.sqrt(variance))


def refuse_missing(X: npt.ArrayLike, features: Sequence[str]) -> None:
    """Refuse NaN and infinite values (6.2).

    Args:
        X: Features, (rows, features).
        features: The columns' names.

    Raises:
        ConfigError: Names the columns (the first five) and how many values each one lacks.
    """
    matrix = _matrix(X, len(features))
    counts = np.count_nonzero(~np.isfinite(matrix), axis=0)
    columns = np.flatnonzero(counts)
    if columns.size == 0:
        return
    named = ", ".join(f"{features[i]!r} ({counts[i]})" for i in columns[:NAMED_COLUMNS_MAX])
    more = columns.size - NAMED_COLUMNS_MAX
    raise ConfigError(
        f"Expected a finite number in every cell, and values are missing or infinite in "
        f"{named}{f' and {more} more columns' if more > 0 else ''}.",
        hint="Declare an imputation for a column with missing values; correct infinite ones.",
    )


def impute(X: npt.ArrayLike, values: Mapping[str, float], features: Sequence[str]) -> FloatArray:
    """Fill the missing values of the columns that declare an imputation (6.2).

    Args:
        X: Features, (rows, features); not changed.
        values: Column name to the finite value that stands in for NaN.
        features: The columns' names.

    Returns:
        A float64 copy, (rows, features).

    Raises:
        ConfigError: X has an infinite value (a fault, no gap), or `values` an unknown column or a
            value that is not finite.
    """
    filled = _matrix(X, len(features)).copy()
    infinite = np.flatnonzero(np.isinf(filled).any(axis=0))
    if infinite.size:
        raise ConfigError(f"{features[infinite[0]]!r} has infinite values.", hint="Correct them.")
    for name, value in values.items():
        if name not in features:
            hint = f"The first features are {list(features[:NAMED_COLUMNS_MAX])}."
            raise ConfigError(f"{name!r} has an imputation, and is not a feature.", hint=hint)
        if not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            raise ConfigError(f"The imputation of {name!r} must be a finite number, got {value!r}.")
        column = filled[:, list(features).index(name)]
        column[np.isnan(column)] = value
    return filled


def _check_moments(moments: Moments, position: int, width: int) -> None:
    def hostile(what: str) -> ConfigError:
        text = f"The moments of the site at position {position} are refused: {what}."
        return ConfigError(text, hint="Leave it out, or ask it to compute its moments again.")

    count: object = moments.count
    if isinstance(count, bool) or not isinstance(count, int):
        raise hostile(f"expected a whole number of rows, got {type(count).__name__}")
    if not 1 <= count <= MOMENTS_COUNT_MAX:
        raise hostile(f"expected from 1 to 2**53 rows, got {'fewer' if count < 1 else 'more'}")
    for name, row in (("mean", moments.mean), ("mean_square", moments.mean_square)):
        if row.size != width:
            raise hostile(f"expected {width} features, got {row.size} in {name}")
        if not np.isfinite(row).all():
            raise hostile(f"{name} is not finite at feature {_first(~np.isfinite(row))}")
    with np.errstate(over="ignore"):
        impossible = moments.mean_square < np.square(moments.mean) * (1 - ROUNDING_SLACK)
    if impossible.any():
        raise hostile(f"mean_square is below mean ** 2 at feature {_first(impossible)}")


def _trimmed_mean(values: FloatArray, counts: FloatArray) -> FloatArray:
    """Average (sites, features) over the sites, without the lowest and highest of each feature."""
    order = np.argsort(values, axis=0, kind="stable")
    if len(values) >= TRIM_SITES_MIN:
        order = order[1:-1]
    kept = np.take_along_axis(values, order, axis=0)
    weights = counts[order]
    # Python's sum, row by row: every member must get the same bits, however its numpy adds. The
    # weights are divided first, so that no hostile count can overflow the sum.
    total = sum(weights, np.zeros(values.shape[1]))
    return sum(kept * (weights / total), np.zeros(values.shape[1]))


def _matrix(X: npt.ArrayLike, width: int) -> FloatArray:
    matrix = _floats(X, "X", 2)
    if matrix.shape[1] != width:
        raise ConfigError(f"Expected {width} features, got {matrix.shape[1]}.")
    return matrix


def _frozen_row(values: npt.ArrayLike, name: str) -> FloatArray:
    row = _floats(values, name, 1).copy()
    row.setflags(write=False)
    return row


def _floats(values: npt.ArrayLike, name: str, rank: int) -> FloatArray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{name} must be numbers: {error}.") from error
    if array.ndim != rank:
        form = "(features,)" if rank == 1 else "(rows, features)"
        raise ConfigError(f"{name} must be {form}, got shape {array.shape}.")
    return array


def _numbers(values: object, key: str) -> FloatArray:
    # numpy would take "1" and True for numbers; a specification says what it means.
    if not isinstance(values, list | tuple) or not all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    ):
        raise ConfigError(f"A scaling's {key} must be a list of numbers.")
    return _frozen_row(values, f"A scaling's {key}")


def _first(mask: npt.NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(mask)[0])
