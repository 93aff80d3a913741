"""Trees as arrays, checked before anything rebuilds them (protocol 6.3).

One edited node (a child out of range, a cycle, a feature that does not exist) makes the native
code of scikit-learn read foreign memory or run for ever, so a forest is never handed over before
every node was looked at here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import WeightsError

__all__ = ["NO_NODE", "Trees"]

NO_NODE = -1
"""The child of a leaf, and the feature a leaf compares."""


@dataclass(frozen=True, slots=True)
class Trees:
    """A forest as flat arrays; the nodes of one tree stand together, its root first.

    Attributes:
        sizes: (trees,) int32, how many nodes each tree has.
        left: (nodes,) int32, the left child's place within its tree; NO_NODE in a leaf.
        right: (nodes,) int32, as `left`.
        feature: (nodes,) int32, the column compared; NO_NODE in a leaf.
        threshold: (nodes,) float64; rows with a value at most this go left; 0 in a leaf.
        value: (nodes, outputs) float64, class shares of a classifier, the mean of a regressor.
    """

    sizes: npt.NDArray[np.int32]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    threshold: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]

    def check(self, feature_count: int) -> None:
        """Refuse a forest that is not well formed.

        Every child is in range and after its parent, every node but the root has exactly one
        parent, every compared feature exists, and a leaf compares nothing. Values are finite
        because weights are (P3.5).

        Raises:
            WeightsError: A node is not; names the array, the tree and the node.
        """
        size_of, place = self._places()
        is_leaf = self.left == NO_NODE
        self._refuse(is_leaf != (self.right == NO_NODE), "right", "two children or none", place)
        for name, child in (("left", self.left), ("right", self.right)):
            wrong = ~is_leaf & ((child <= place) | (child >= size_of))
            self._refuse(wrong, name, "a child after its parent and in its tree", place)
        self._check_parents(is_leaf, place)
        wrong = np.where(
            is_leaf, self.feature != NO_NODE, (self.feature < 0) | (self.feature >= feature_count)
        )
        self._refuse(wrong, "feature", f"a feature from 0 to {feature_count - 1}", place)
        self._refuse(is_leaf & (self.threshold != 0), "threshold", "0 in a leaf", place)

    def _places(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return, for every node, its tree's size and its place in the tree."""
        nodes = len(self.left)
        for name in ("right", "feature", "threshold", "value"):
            if len(getattr(self, name)) != nodes:
                raise WeightsError(
                    f"Array {name!r} must have {nodes} nodes, got {len(getattr(self, name))}."
                )
        sizes = self.sizes.astype(np.int64)
        if (sizes < 1).any() or int(sizes.sum()) != nodes:
            raise WeightsError(f"Array 'sizes' must be positive and add up to {nodes} nodes.")
        starts = np.cumsum(sizes) - sizes
        return np.repeat(sizes, sizes), np.arange(nodes) - np.repeat(starts, sizes)

    def _check_parents(self, is_leaf: npt.NDArray[np.bool_], place: npt.NDArray[np.int64]) -> None:
        starts = np.arange(len(place)) - place
        inner = ~is_leaf
        children = np.concatenate([(starts + child)[inner] for child in (self.left, self.right)])
        parents = np.bincount(children, minlength=len(place))
        self._refuse(parents != (place > 0), "left", "one parent a node and none for a root", place)

    def _refuse(
        self, wrong: npt.NDArray[Any], name: str, expected: str, place: npt.NDArray[np.int64]
    ) -> None:
        if not wrong.any():
            return
        node = int(wrong.argmax())
        tree = int(np.searchsorted(np.cumsum(self.sizes), node, side="right"))
        raise WeightsError(
            f"Array {name!r}, tree {tree}, node {int(place[node])}: expected {expected}, "
            f"got {getattr(self, name)[node]}."
        )
