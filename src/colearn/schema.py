"""The schema of an experiment's data: what every learner must agree on (protocol 6.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from colearn.errors import ConfigError

__all__ = ["Schema"]

ClassLabel = int | str


@dataclass(frozen=True, slots=True)
class Schema:
    """Feature names, classes and the empty model's constant, equal on every learner (6.1).

    Attributes:
        features: One name per column of X, in order.
        classes: The sorted class labels of the whole experiment, whether or not a learner has
            rows of each; None for regression.
        constant: What an empty forest predicts in regression (section 4).
    """

    features: tuple[str, ...]
    classes: tuple[ClassLabel, ...] | None = None
    constant: float = 0.0

    @staticmethod
    def of(
        features: int | Sequence[str],
        classes: Iterable[object] | None = None,
        constant: float = 0.0,
    ) -> Schema:
        """Build a schema from a number of columns or their names, and the class labels.

        Args:
            features: Column names, or how many columns there are (named ``x0``, ``x1``, ...).
            classes: Class labels, all int or all str (numpy scalars count); None for regression.
            constant: What an empty forest predicts in regression.

        Raises:
            ConfigError: Names or classes repeat, fewer than two classes, labels of mixed kinds.
        """
        names = (
            tuple(f"x{i}" for i in range(features))
            if isinstance(features, int)
            else tuple(str(name) for name in features)
        )
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"Feature names must differ, and {twice!r} occurs twice.")
        return Schema(names, None if classes is None else _sorted_classes(classes), constant)

    def difference(self, other: Schema) -> str | None:
        """Return in words the first column, class or constant in which `other` differs, or None."""
        if len(self.features) != len(other.features):
            return f"expected {len(self.features)} features, got {len(other.features)}"
        for position, (mine, theirs) in enumerate(zip(self.features, other.features, strict=True)):
            if mine != theirs:
                return f"expected column {mine!r} at position {position}, got {theirs!r}"
        if self.classes != other.classes:
            return _class_difference(self.classes, other.classes)
        if self.constant != other.constant:
            return f"expected the constant {self.constant}, got {other.constant}"
        return None


def _class_difference(
    mine: tuple[ClassLabel, ...] | None, theirs: tuple[ClassLabel, ...] | None
) -> str:
    if mine is None or theirs is None:
        return f"expected classes {mine}, got {theirs}"
    missing = [label for label in mine if label not in theirs]
    if missing:
        return f"class {missing[0]!r} is missing"
    return f"class {next(label for label in theirs if label not in mine)!r} was not expected"


def _sorted_classes(classes: Iterable[object]) -> tuple[ClassLabel, ...]:
    labels = [_plain(label) for label in classes]
    if len({type(label) for label in labels}) > 1:
        raise ConfigError(f"Class labels must be all int or all str, got {labels[:10]}.")
    if len(set(labels)) != len(labels) or len(labels) < 2:
        raise ConfigError(f"Expected at least two different class labels, got {labels[:10]}.")
    return tuple(sorted(labels))


def _plain(label: object) -> ClassLabel:
    """Turn numpy scalars and whole floats into the Python value that is equal to them."""
    item = getattr(label, "item", None)
    value = item() if callable(item) else label
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool):
        value = int(value)
    if not isinstance(value, int | str):
        raise ConfigError(
            f"A class label must be int or str, got {value!r} ({type(value).__name__})."
        )
    return value
