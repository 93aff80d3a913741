"""Boosted trees as arrays, checked before anything rebuilds them (protocol 6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from colearn.errors import WeightsError
from colearn.weights import NO_NODE, NamedArrays, Trees

__all__ = ["DEPTH_MAX", "NODES_MAX", "TREES_MAX", "BoostedTrees", "class_pattern"]

TREES_MAX = 50_000
"""Trees in one booster: native code needs some kilobytes for each, however few nodes it has."""

NODES_MAX = 2**22
"""Nodes in one booster, all trees together: native code needs some hundred bytes for each."""

DEPTH_MAX = 32
"""Edges from a root to a leaf: native code walks some of its trees by recursion."""


@dataclass(frozen=True, slots=True)
class BoostedTrees:
    """A booster as flat arrays; the nodes of one tree stand together, its root first.

    What a comparison means, and what else a node has, says the class of each framework.

    Attributes:
        sizes: (trees,) int32, how many nodes each tree has.
        left: (nodes,) int32, the left child's place within its tree; NO_NODE in a leaf.
        right: (nodes,) int32, as `left`.
        feature: (nodes,) int32, the column compared; NO_NODE in a leaf.
        threshold: (nodes,) real, what it is compared with; 0 in a leaf.
        value: (nodes,) real, what a leaf adds to the margin; 0 elsewhere.
        tree_info: (trees,) int32, the class each tree speaks of: 0, 1, ..., 0, 1, ...
        base_score: (1,) real, the prediction before any tree.
    """

    dtypes: ClassVar[Mapping[str, npt.DTypeLike]]
    """The dtypes of the arrays that are not int32, by name."""

    sizes: npt.NDArray[np.int32]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    threshold: npt.NDArray[np.floating]
    value: npt.NDArray[np.floating]
    tree_info: npt.NDArray[np.int32]
    base_score: npt.NDArray[np.floating]

    @classmethod
    def empty(cls, base_score: float) -> Self:
        """Return the booster without trees, which predicts `base_score`."""
        arrays = {
            each.name: np.zeros(0, cls.dtypes.get(each.name, np.int32)) for each in fields(cls)
        }
        return cls(**{**arrays, "base_score": np.array([base_score], cls.dtypes["base_score"])})

    @classmethod
    def of(cls, model: NamedArrays) -> Self:
        """Return the arrays of `model` by name; their dtypes and ranks are those of model 0."""
        return cls(**dict(model))

    def named(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def followed_by(self, others: Self) -> Self:
        """Return these trees, and behind them those of `others`."""
        theirs = others.named()
        grown = {
            name: np.concatenate([mine, theirs[name]])
            for name, mine in self.named().items()
            if name != "base_score"
        }
        return type(self)(**grown, base_score=self.base_score)

    def check(self, feature_count: int, trees_per_round: int) -> None:
        """Refuse a booster that could not be evaluated in safety and in bounded time.

        Numbers are finite because weights are (P3.5), and of the dtypes of model 0.

        Args:
            feature_count: Columns of the experiment's data.
            trees_per_round: 1, or one for each class where there are more than two.

        Raises:
            WeightsError: Too many trees or nodes, or one that is not well formed; names the
                array, and where one node is wrong the tree and the node.
        """
        self._check_counts(trees_per_round)
        self._as_trees().check(feature_count)
        is_leaf = self.left == NO_NODE
        self._check_nodes(is_leaf)
        self._refuse(~is_leaf & (self.value != 0), "value", "0 in a node with children")
        self._check_depth()

    def _check_nodes(self, is_leaf: npt.NDArray[np.bool_]) -> None:
        """Check what the framework asks of nodes beyond that; their links have been checked."""

    def _check_counts(self, trees_per_round: int) -> None:
        trees, nodes = len(self.sizes), len(self.left)
        if trees > TREES_MAX or nodes > NODES_MAX:
            raise WeightsError(
                f"A booster may have {TREES_MAX} trees and {NODES_MAX} nodes, got {trees} and "
                f"{nodes}."
            )
        if trees % trees_per_round:
            raise WeightsError(
                f"Array 'sizes' must have a multiple of {trees_per_round} trees, one for each "
                f"class, got {trees}."
            )
        if not np.array_equal(self.tree_info, class_pattern(trees, trees_per_round)):
            raise WeightsError(
                f"Array 'tree_info' must run through the classes 0 to {trees_per_round - 1} in "
                f"turn, once for each of {trees} trees."
            )

    def _as_trees(self) -> Trees:
        return Trees(
            sizes=self.sizes,
            left=self.left,
            right=self.right,
            feature=self.feature,
            # The check of a forest compares thresholds and counts values, whatever their width.
            threshold=self.threshold,  # type: ignore[arg-type]
            value=self.value,  # type: ignore[arg-type]
        )

    def _check_depth(self) -> None:
        """Walk all trees at once, a level at a time; their links have been checked."""
        starts = self.starts
        offset = np.repeat(starts, self.sizes)
        level = starts
        for _ in range(DEPTH_MAX + 1):
            inner = level[self.left[level] != NO_NODE]
            if not inner.size:
                return
            children = [offset[inner] + self.left[inner], offset[inner] + self.right[inner]]
            level = np.concatenate(children)
        raise WeightsError(
            f"Array 'left', tree {self._tree_of(int(level[0]))}: expected at most {DEPTH_MAX} "
            "nodes above each node, got more."
        )

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """The place of each tree's root among all nodes."""
        sizes = self.sizes.astype(np.int64)
        return np.asarray(np.cumsum(sizes) - sizes)

    def _refuse(self, wrong: npt.NDArray[Any], name: str, expected: str) -> None:
        if not wrong.any():
            return
        node = int(wrong.argmax())
        tree = self._tree_of(node)
        raise WeightsError(
            f"Array {name!r}, tree {tree}, node {node - int(self.starts[tree])}: expected "
            f"{expected}, got {getattr(self, name)[node]}."
        )

    def _tree_of(self, node: int) -> int:
        return int(np.searchsorted(np.cumsum(self.sizes), node, side="right"))


def class_pattern(trees: int, trees_per_round: int) -> npt.NDArray[np.int32]:
    """Return the class of each of `trees` trees: 0, 1, ... in turn, (trees,)."""
    return np.asarray(np.arange(trees, dtype=np.int32) % np.int32(trees_per_round))
