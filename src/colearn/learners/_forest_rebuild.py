"""scikit-learn trees from checked arrays and back (protocol 6.3).

scikit-learn builds a tree from outside only through the state it would be unpickled from. That
state is believed by native code without a look, so nothing reaches this module before
`Trees.check` has seen every node.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

from colearn.weights import NO_NODE, Trees

__all__ = ["nodes_of", "rebuilt"]


def nodes_of(tree: Any, value: npt.NDArray[np.float64]) -> Trees:
    """Return one fitted scikit-learn tree as arrays; `value` is (nodes, outputs)."""
    leaf = tree.children_left < 0
    return Trees(
        sizes=np.array([tree.node_count], np.int32),
        left=np.where(leaf, NO_NODE, tree.children_left).astype(np.int32),
        right=np.where(leaf, NO_NODE, tree.children_right).astype(np.int32),
        feature=np.where(leaf, NO_NODE, tree.feature).astype(np.int32),
        threshold=np.where(leaf, 0.0, tree.threshold),
        value=value,
    )


def rebuilt(trees: Trees, feature_count: int) -> list[Any]:
    """Return one scikit-learn tree per tree of a forest that has been checked."""
    ends = np.cumsum(trees.sizes)
    return [
        _tree(trees, slice(int(end) - int(size), int(end)), feature_count)
        for size, end in zip(trees.sizes, ends, strict=True)
    ]


def _tree(trees: Trees, nodes: slice, feature_count: int) -> Any:
    size, outputs = nodes.stop - nodes.start, trees.value.shape[1]
    leaf = trees.left[nodes] == NO_NODE
    state = np.zeros(size, _node_dtype())
    state["left_child"] = trees.left[nodes]
    state["right_child"] = trees.right[nodes]
    # scikit-learn marks the comparison of a leaf by -2.
    state["feature"] = np.where(leaf, -2, trees.feature[nodes])
    state["threshold"] = np.where(leaf, -2.0, trees.threshold[nodes])
    state["n_node_samples"] = 1
    state["weighted_n_node_samples"] = 1.0
    tree = Tree(feature_count, np.array([outputs], np.intp), 1)
    values = np.ascontiguousarray(trees.value[nodes])[:, np.newaxis, :]
    depth = _depth(trees.left[nodes], trees.right[nodes])
    tree.__setstate__({"max_depth": depth, "node_count": size, "nodes": state, "values": values})
    return tree


def _depth(left: npt.NDArray[np.int32], right: npt.NDArray[np.int32]) -> int:
    depth = 0
    level = np.zeros(1, np.int64)
    while True:
        children = np.concatenate([left[level], right[level]])
        level = children[children != NO_NODE]
        if not level.size:
            return depth
        depth += 1


@cache
def _node_dtype() -> np.dtype[Any]:
    """Return the node record of the installed scikit-learn; its fields vary by version."""
    state = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1]).tree_.__getstate__()
    return state["nodes"].dtype  # type: ignore[no-any-return]
