"""XGBoost boosters from checked arrays and back (protocol 6.3).

What XGBoost loads it believes: one wrong child and it reads foreign memory. So nobody's bytes are
loaded here but those this module writes, from arrays of which `XGBoostTrees.check` has seen every
node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from colearn.errors import ColearnError
from colearn.learners._xgboost_trees import XGBoostTrees
from colearn.learners._xgboost_ubjson import decoded, encoded
from colearn.weights import NO_NODE

__all__ = ["Objective", "model_bytes", "nodes_of", "rebuilt"]

_FORMAT = [3, 2, 0]
"""The version of XGBoost's model format that is written; later versions read it too."""

_NO_PARENT = 2**31 - 1
"""How XGBoost marks the parent of a root."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What is learned, as XGBoost calls it.

    Attributes:
        name: ``binary:logistic``, ``multi:softprob`` or ``reg:squarederror``.
        trees_per_round: 1, or one for each class where there are more than two.
    """

    name: str
    trees_per_round: int

    @property
    def params(self) -> dict[str, Any]:
        """The same as training parameters."""
        many = {"num_class": self.trees_per_round} if self.trees_per_round > 1 else {}
        return {"objective": self.name, **many}


def nodes_of(booster: Any, first_round: int) -> XGBoostTrees:
    """Return the trees a booster trained in this process has from `first_round` (from 0) on.

    Raises:
        ColearnError: XGBoost writes something into its models that these arrays cannot say.
    """
    model = decoded(bytes(booster[first_round:].save_raw("ubj")))["learner"]
    trees = model["gradient_booster"]["model"]["trees"]
    if any(tree["tree_param"]["num_deleted"] != "0" or tree["categories"].size for tree in trees):
        raise ColearnError("XGBoost trained trees with deleted nodes or categorical splits.")

    def joined(name: str) -> npt.NDArray[Any]:
        return np.concatenate([tree[name] for tree in trees])

    left, condition = joined("left_children"), joined("split_conditions")
    leaf = left == NO_NODE
    return XGBoostTrees(
        sizes=np.array([len(tree["left_children"]) for tree in trees], np.int32),
        left=left,
        right=joined("right_children"),
        feature=np.where(leaf, NO_NODE, joined("split_indices")).astype(np.int32),
        threshold=np.where(leaf, np.float32(0), condition),
        default_left=np.where(leaf, np.uint8(0), joined("default_left")),
        value=np.where(leaf, condition, np.float32(0)),
        tree_info=np.array(model["gradient_booster"]["model"]["tree_info"], np.int32),
        base_score=np.zeros(1, np.float32),
    )


def rebuilt(trees: XGBoostTrees, feature_count: int, objective: Objective) -> Any:
    """Return a booster, to be used by one thread, of trees that have been checked."""
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(model_bytes(trees, feature_count, objective)))
    return booster


def model_bytes(trees: XGBoostTrees, feature_count: int, objective: Objective) -> bytes:
    """Return the model file that XGBoost would write for trees that have been checked.

    What only describes the training (gains, covers, the weights of inner nodes) is zero: it does
    not travel, since it would tell how many rows a learner has where.
    """
    count, width = len(trees.sizes), objective.trees_per_round
    many = objective.name.startswith("multi:")
    classes = str(width if many else 0)
    kind = {"softmax_multiclass_param": {"num_class": classes}} if many else {"reg_loss_param": {}}
    document = {
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {
                "model": {
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(count)},
                    "iteration_indptr": list(range(0, count + 1, width)),
                    "tree_info": trees.tree_info.tolist(),
                    "trees": list(_trees(trees, feature_count)),
                },
                "name": "gbtree",
            },
            "learner_model_param": {
                "base_score": np.format_float_scientific(trees.base_score[0]),
                "boost_from_average": "0",
                "num_class": classes,
                "num_feature": str(feature_count),
                "num_target": "1",
            },
            "objective": {"name": objective.name, **kind},
        },
        "version": _FORMAT,
    }
    return encoded(document)


def _trees(trees: XGBoostTrees, feature_count: int) -> Iterator[dict[str, Any]]:
    leaf = trees.left == NO_NODE
    condition = np.where(leaf, trees.value, trees.threshold)
    column = np.where(leaf, np.int32(0), trees.feature)
    parents = _parents(trees, leaf)
    none, no_sizes = np.zeros(0, np.int32), np.zeros(0, np.int64)
    for place, (start, size) in enumerate(zip(trees.starts, trees.sizes, strict=True)):
        nodes = slice(int(start), int(start) + int(size))
        unknown = np.zeros(int(size), np.float32)
        yield {
            "base_weights": trees.value[nodes],
            "categories": none,
            "categories_nodes": none,
            "categories_segments": no_sizes,
            "categories_sizes": no_sizes,
            "default_left": trees.default_left[nodes],
            "id": place,
            "left_children": trees.left[nodes],
            "loss_changes": unknown,
            "parents": parents[nodes],
            "right_children": trees.right[nodes],
            "split_conditions": condition[nodes],
            "split_indices": column[nodes],
            "split_type": np.zeros(int(size), np.uint8),
            "sum_hessian": unknown,
            "tree_param": {
                "num_deleted": "0",
                "num_feature": str(feature_count),
                "num_nodes": str(int(size)),
                "size_leaf_vector": "1",
            },
        }


def _parents(trees: XGBoostTrees, leaf: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Return each node's parent, as a place within its tree."""
    offset = np.repeat(trees.starts, trees.sizes)
    inner = np.flatnonzero(~leaf)
    place = (inner - offset[inner]).astype(np.int32)
    parents = np.full(len(leaf), _NO_PARENT, np.int32)
    for child in (trees.left, trees.right):
        parents[offset[inner] + child[inner]] = place
    return parents
