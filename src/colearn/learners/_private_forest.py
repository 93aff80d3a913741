"""Trees that show no row: random splits over public bounds, and noised class counts in the leaves.

Splits look at no row (Geurts, Ernst and Wehenkel, 2006), so a tree reveals its
leaves' counts alone. A row lies in one leaf of each tree, so it moves a tree's histogram by 1
(Fletcher and Islam, 2017), and a tree is one step of the Gaussian mechanism without sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError
from colearn.learners._family import Features
from colearn.learners._scoring import Floats, Targets
from colearn.weights import NO_NODE, Trees

if TYPE_CHECKING:
    from colearn.privacy import PrivateTraining

__all__ = ["Bounds", "PrivateGrowth"]

Bounds = Sequence[float] | Sequence[Sequence[float]]
"""(low, high) of all features, or one such pair for each."""

_DEPTH_MAX = 12
"""8,191 nodes a tree; far below it the rows of any leaf drown in noise."""

_BOUND_MAX = float(np.finfo(np.float32).max)
"""scikit-learn compares features as float32."""


@dataclass(frozen=True, slots=True)
class PrivateGrowth:
    """How trees are grown without a look at the rows.

    Attributes:
        low: (features,) float64, the public lower bound of each feature.
        high: (features,) float64, each above its `low`.
        depth: Of every leaf.
        classes_count: How many classes there are.
    """

    low: Floats
    high: Floats
    depth: int
    classes_count: int

    @staticmethod
    def of(bounds: Bounds, depth: int, features_count: int, classes_count: int) -> PrivateGrowth:
        """Check the settings.

        Raises:
            ConfigError: Bounds or a depth that no tree can be grown with.
        """
        if not isinstance(depth, int) or isinstance(depth, bool) or not 1 <= depth <= _DEPTH_MAX:
            raise ConfigError(
                f"private_depth must be a whole number from 1 to {_DEPTH_MAX}, got {depth!r}."
            )
        low, high = _checked_bounds(bounds, features_count)
        return PrivateGrowth(low, high, depth, classes_count)

    def grown(self, X: Features, y: Targets, training: PrivateTraining, seed: int) -> list[Trees]:
        """Return one tree a step of `training`.

        Args:
            X: (rows, features).
            y: (rows,) class indices.
            training: Draws all rows in every step, and adds the noise.
            seed: Decides the splits, which are no secret.

        Raises:
            PrivacyError: A bound does not hold; nothing is released of that tree.
        """
        rng = np.random.default_rng(seed)
        with np.errstate(over="ignore"):
            # As scikit-learn reads them when it predicts; what is too large lies beyond any split.
            rows = np.asarray(X, np.float32)
        trees = []
        for batch in training.batches():
            feature, threshold = self._splits(rng)
            leaves = _leaves(feature, threshold, rows[batch.rows], self.depth)
            cells = leaves * self.classes_count + y[batch.rows]
            counts, norms = _histogram(
                cells, batch.units, batch.units_count, 2**self.depth * self.classes_count
            )
            released = training.released({"counts": counts}, norms)["counts"]
            trees.append(self._tree(feature, threshold, released))
        training.finish()
        return trees

    def _splits(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], Floats]:
        """Return the feature and the threshold of each inner node, the root first, (inner,).

        A threshold lies in the middle half of what the node's ancestors leave of the feature: one
        near an end would spend a level on a leaf that hardly a row reaches.
        """
        inner = 2**self.depth - 1
        feature = rng.integers(len(self.low), size=inner)
        share = rng.uniform(0.25, 0.75, inner)
        threshold = np.zeros(inner)
        cells = {0: (self.low, self.high)}
        for node in range(inner):
            low, high = cells.pop(node)
            column = feature[node]
            cut = low[column] + share[node] * (high[column] - low[column])
            threshold[node] = cut
            below, above = high.copy(), low.copy()
            below[column] = above[column] = cut
            cells[2 * node + 1], cells[2 * node + 2] = (low, below), (above, high)
        return feature, threshold

    def _tree(self, feature: npt.NDArray[np.int64], threshold: Floats, counts: Floats) -> Trees:
        inner, leaves = len(feature), len(feature) + 1
        children = np.arange(inner, dtype=np.int32)
        ends = np.full(leaves, NO_NODE, np.int32)
        # What inner nodes say is never asked; the shares of no knowledge pass the check.
        value = np.full((inner + leaves, self.classes_count), 1 / self.classes_count)
        value[inner:] = _shares(counts.reshape(leaves, self.classes_count))
        return Trees(
            sizes=np.array([inner + leaves], np.int32),
            left=np.concatenate([2 * children + 1, ends]),
            right=np.concatenate([2 * children + 2, ends]),
            feature=np.concatenate([feature.astype(np.int32), ends]),
            threshold=np.concatenate([threshold, np.zeros(leaves)]),
            value=value,
        )


def _leaves(
    feature: npt.NDArray[np.int64], threshold: Floats, rows: Features, depth: int
) -> npt.NDArray[np.int64]:
    """Return which leaf each row reaches, from the left, (rows,)."""
    node = np.zeros(len(rows), np.int64)
    every = np.arange(len(rows))
    for _ in range(depth):
        node = 2 * node + 1 + (rows[every, feature[node]] > threshold[node])
    return node - len(feature)


def _histogram(
    cells: npt.NDArray[np.int64],
    units: npt.NDArray[np.int64],
    units_count: int,
    cells_count: int,
) -> tuple[Floats, Floats]:
    """Return how many rows each cell has, (cells,), and each unit's part in it, (units,).

    A unit of several rows is scaled down until the norm of its own counts is 1.
    """
    pairs, counts = np.unique(units * cells_count + cells, return_counts=True)
    unit, cell = np.divmod(pairs, cells_count)
    norms = np.sqrt(np.bincount(unit, counts.astype(np.float64) ** 2, units_count))
    scale = 1 / np.maximum(norms, 1.0)
    histogram = np.bincount(cell, counts * scale[unit], cells_count)
    return np.asarray(histogram, np.float64), np.asarray(norms * scale)


def _shares(counts: Floats) -> Floats:
    """Return class shares of noised counts, (leaves, classes): the uniform ones where none is."""
    positive = np.maximum(counts, 0.0)
    total = positive.sum(axis=1, keepdims=True)
    empty = total <= 0
    return np.where(empty, 1 / counts.shape[1], positive / np.where(empty, 1.0, total))


def _checked_bounds(bounds: Bounds, features_count: int) -> tuple[Floats, Floats]:
    try:
        pairs = np.asarray(bounds, np.float64)
    except (TypeError, ValueError) as error:
        raise _bounds_error(bounds, features_count) from error
    if pairs.shape == (2,):
        pairs = np.tile(pairs, (features_count, 1))
    # Written so that NaN fails as well.
    if pairs.shape != (features_count, 2) or not (abs(pairs) <= _BOUND_MAX).all():
        raise _bounds_error(bounds, features_count)
    low, high = pairs[:, 0], pairs[:, 1]
    if not (low < high).all():
        raise _bounds_error(pairs[int((low >= high).argmax())].tolist(), features_count)
    return low, high


def _bounds_error(got: object, features_count: int) -> ConfigError:
    return ConfigError(
        f"bounds must be (low, high) with low < high, finite, for all features or one such pair "
        f"for each of {features_count}, got {got!r:.200}."
    )
