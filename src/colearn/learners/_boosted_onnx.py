"""Boosters as ONNX, written from the arrays: the converters of scikit-learn do not know them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ColearnError, MissingExtraError
from colearn.learners._boosted_trees import BoostedTrees
from colearn.weights import NO_NODE

try:
    from onnx import TensorProto, helper, numpy_helper
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "onnx", extra="onnx") from error

__all__ = ["Branches", "onnx_of"]

_OPSETS = {"": 17, "ai.onnx.ml": 3}
_IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class Branches:
    """How float32 rows find the way that the framework sends them.

    Attributes:
        compare: What sends a row to the left: ``BRANCH_LT`` or ``BRANCH_LEQ`` the threshold.
        thresholds: (nodes,) float32.
        missing_left: (nodes,) uint8, 1 where a missing value goes left.
    """

    compare: str
    thresholds: npt.NDArray[np.float32]
    missing_left: npt.NDArray[np.uint8]


def onnx_of(
    trees: BoostedTrees,
    branches: Branches,
    feature_count: int,
    classes: tuple[int | str, ...] | None,
) -> Any:
    """Return a booster as an ``onnx.ModelProto``.

    Its input is called X, float32 of shape (rows, features). Its outputs are ``label`` (rows,) and
    ``probabilities`` (rows, classes), or in regression ``variable`` (rows, 1).

    Raises:
        ColearnError: The booster is still empty, which ONNX cannot express.
    """
    if not len(trees.sizes):
        raise ColearnError(
            "The booster is still empty.", hint="Let at least one proposal be accepted first."
        )
    rows = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", feature_count])
    if classes is None:
        nodes = [_ensemble(trees, branches, "variable", [float(trees.base_score[0])])]
        outputs = [helper.make_tensor_value_info("variable", TensorProto.FLOAT, ["rows", 1])]
        constants: list[Any] = []
    else:
        nodes, outputs, constants = _classifier(trees, branches, classes)
    graph = helper.make_graph(nodes, "booster", [rows], outputs, constants)
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="colearn"
    )


def _classifier(
    trees: BoostedTrees, branches: Branches, classes: tuple[int | str, ...]
) -> tuple[list[Any], list[Any], list[Any]]:
    """Return nodes, outputs and constants; both start from margin 0, even odds."""
    count = len(classes)
    constants = [numpy_helper.from_array(_labels(classes), "labels")]
    if count == 2:
        # One margin, that of the second class; the first one's is 0.
        constants.append(numpy_helper.from_array(np.zeros((1, 1), np.float32), "zero"))
        nodes = [
            _ensemble(trees, branches, "second", [0.0]),
            helper.make_node("Mul", ["second", "zero"], ["first"]),
            helper.make_node("Concat", ["first", "second"], ["margins"], axis=1),
        ]
    else:
        nodes = [_ensemble(trees, branches, "margins", [0.0] * count)]
    nodes += [
        helper.make_node("Softmax", ["margins"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["margins"], ["best"], axis=1, keepdims=0),
        helper.make_node("Gather", ["labels", "best"], ["label"]),
    ]
    kind = TensorProto.STRING if isinstance(classes[0], str) else TensorProto.INT64
    outputs = [
        helper.make_tensor_value_info("label", kind, ["rows"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", count]),
    ]
    return nodes, outputs, constants


def _labels(classes: tuple[int | str, ...]) -> npt.NDArray[Any]:
    return np.array(classes, object if isinstance(classes[0], str) else np.int64)


def _ensemble(
    trees: BoostedTrees, branches: Branches, output: str, base_values: list[float]
) -> Any:
    """Return the node that adds up the trees' values for each class."""
    count = len(trees.left)
    leaf = trees.left == NO_NODE
    tree = np.repeat(np.arange(len(trees.sizes)), trees.sizes)
    place = np.arange(count) - np.repeat(trees.starts, trees.sizes)
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["X"],
        [output],
        domain="ai.onnx.ml",
        n_targets=len(base_values),
        base_values=base_values,
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=tree.tolist(),
        nodes_nodeids=place.tolist(),
        nodes_featureids=np.where(leaf, 0, trees.feature).tolist(),
        nodes_modes=np.where(leaf, "LEAF", branches.compare).tolist(),
        nodes_values=branches.thresholds.tolist(),
        nodes_truenodeids=np.where(leaf, 0, trees.left).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, trees.right).tolist(),
        nodes_missing_value_tracks_true=branches.missing_left.tolist(),
        target_treeids=tree[leaf].tolist(),
        target_nodeids=place[leaf].tolist(),
        target_ids=trees.tree_info[tree[leaf]].tolist(),
        target_weights=trees.value[leaf].tolist(),
    )
