"""ONNX graphs under the names that every exported model has, and nothing hidden in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ColearnError, MissingExtraError

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "onnx", extra="onnx") from error

__all__ = [
    "describe",
    "exact_thresholds",
    "external_tensors",
    "rename_output",
    "rounded_down",
    "tell_labels",
]


def describe(model: Any, facts: Mapping[str, str]) -> None:
    """Write `facts` into the model's ``metadata_props``; what it had of these names goes."""
    kept = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, {**kept, **facts})


def rename_output(model: Any, before: str, after: str) -> None:
    """Give an output of the model's graph another name."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == before:
                    names[place] = after
    for output in model.graph.output:
        if output.name == before:
            output.name = after


def tell_labels(model: Any, classes: tuple[int | str, ...]) -> None:
    """Put the output ``label``, (rows,), before ``probabilities``: the likeliest class."""
    kind = TensorProto.STRING if isinstance(classes[0], str) else TensorProto.INT64
    labels: npt.NDArray[Any] = np.array(
        classes, object if isinstance(classes[0], str) else np.int64
    )
    model.graph.initializer.append(numpy_helper.from_array(labels, "labels"))
    model.graph.node.extend(
        [
            helper.make_node("ArgMax", ["probabilities"], ["best"], axis=1, keepdims=0),
            helper.make_node("Gather", ["labels", "best"], ["label"]),
        ]
    )
    found = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend([helper.make_tensor_value_info("label", kind, ["rows"]), *found])


def exact_thresholds(model: Any, trees: list[Any]) -> None:
    """Round the thresholds of scikit-learn's trees down to a float32, and never up.

    scikit-learn compares a float32 value with a float64 threshold, ONNX two float32. For every
    float32 x, x <= t is x <= (t rounded down), so no row takes another branch. Rounded to the
    nearest, a threshold half-way between two neighbours may become the upper one, and send the
    rows that have it to the wrong side.

    Args:
        model: The ``onnx.ModelProto`` that skl2onnx made of them.
        trees: The ``tree_`` of each, in the ensemble's order.

    Raises:
        ColearnError: The graph's nodes are not the trees'.
    """
    for node in model.graph.node:
        if not node.op_type.startswith("TreeEnsemble"):
            continue
        found = {attribute.name: attribute for attribute in node.attribute}
        ids = zip(found["nodes_treeids"].ints, found["nodes_nodeids"].ints, strict=True)
        values = []
        for place, (tree, each) in enumerate(ids):
            own = trees[tree]
            is_leaf = own.children_left[each] < 0
            if not is_leaf and own.feature[each] != found["nodes_featureids"].ints[place]:
                raise ColearnError("The converted trees have other nodes than the model's.")
            values.append(0.0 if is_leaf else float(rounded_down(own.threshold[each])))
        del found["nodes_values"].floats[:]
        found["nodes_values"].floats.extend(values)


def rounded_down(thresholds: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the largest float32 that is not above each threshold, of the same shape."""
    exact = np.asarray(thresholds, np.float64)
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
        below = np.nextafter(nearest, np.float32(-np.inf))
    # Compared as float64: else numpy would round the threshold too.
    return np.where(nearest.astype(np.float64) > exact, below, nearest)


def external_tensors(model: Any) -> list[str]:
    """Return the names of the tensors whose values the model wants to read from other files."""
    return [
        tensor.name
        for tensor in onnx.external_data_helper._get_all_tensors(model)  # noqa: SLF001
        if onnx.external_data_helper.uses_external_data(tensor)
    ]
