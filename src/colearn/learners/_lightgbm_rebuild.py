"""LightGBM boosters from checked arrays and back (protocol 6.3).

What LightGBM loads it believes: one wrong child and it reads foreign memory. So no text is loaded
here but what this module writes, from arrays of which `LightGBMTrees.check` has seen every node.
Numbers are written with 17 digits, which give back every float64 bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

from colearn.errors import ColearnError
from colearn.learners._lightgbm_trees import LightGBMTrees, beside_zero
from colearn.weights import NO_NODE

__all__ = ["QUIET", "model_text", "nodes_of", "rebuilt"]

QUIET = {"num_threads": 1, "verbosity": -1}
"""With these LightGBM computes on one thread and prints nothing."""

_NUMERICAL_RIGHT = 8
"""A decision ``value <= threshold`` that sends a missing value to the right."""


def rebuilt(trees: LightGBMTrees, feature_count: int, objective: str, width: int) -> Any:
    """Return a booster of trees that have been checked, see `model_text`."""
    return lightgbm.Booster(model_str=model_text(trees, feature_count, objective, width))


def model_text(trees: LightGBMTrees, feature_count: int, objective: str, width: int) -> str:
    """Return the model file of trees that have been checked.

    Its first round is the base score: LightGBM has no place for one, and a tree that is a single
    leaf adds the same number. A margin is then the sum of float64 from the first tree to the last.
    What only describes the training (gains, counts, the values of inner nodes) is left out or 1: it
    does not travel, since it would tell how many rows a learner has where. How many bytes a tree
    has is left out too, so that trees are read in turn and by one thread.

    Args:
        trees: The trees.
        feature_count: Columns of the data.
        objective: LightGBM's name and parameters of the loss, such as ``binary sigmoid:1``.
        width: How many trees one boosting round adds.
    """
    columns = range(feature_count)
    head = {
        "version": "v4",
        "num_class": width,
        "num_tree_per_iteration": width,
        "label_index": 0,
        "max_feature_idx": feature_count - 1,
        "objective": objective,
        "feature_names": " ".join(f"Column_{column}" for column in columns),
        "feature_infos": " ".join("none" for _ in columns),
    }
    base = {"num_leaves": 1, "leaf_value": _numbers(trees.base_score)}
    blocks = [base] * width + list(_trees(trees))
    parts = ["tree", _lines(head)]
    for place, block in enumerate(blocks):
        parts.append(f"Tree={place}")
        parts.append(_lines({**block, "num_cat": 0, "is_linear": 0, "shrinkage": 1}))
    return "\n".join([*parts, "end of trees", ""])


def _lines(fields: dict[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in fields.items())


def _numbers(values: npt.NDArray[np.floating]) -> str:
    return " ".join([f"{value:.17g}" for value in values.tolist()])


def _whole(values: npt.NDArray[np.integer]) -> str:
    return " ".join(map(str, values.tolist()))


def _trees(trees: LightGBMTrees) -> Iterator[dict[str, object]]:
    """Yield each tree as LightGBM's fields: inner nodes and leaves are counted apart."""
    leaf = trees.left == NO_NODE
    for start, size in zip(trees.starts.tolist(), trees.sizes.tolist(), strict=True):
        nodes = slice(start, start + size)
        is_leaf = leaf[nodes]
        inner = ~is_leaf
        # A child is an inner node's number, or -1, -2, ... for the first leaf, the second, ...
        number = np.where(is_leaf, -np.cumsum(is_leaf), np.cumsum(inner) - 1)
        fields: dict[str, object] = {
            "num_leaves": int(is_leaf.sum()),
            "leaf_value": _numbers(trees.value[nodes][is_leaf]),
        }
        if size > 1:
            fields |= {
                "split_feature": _whole(trees.feature[nodes][inner]),
                # Importances count the splits with a gain.
                "split_gain": " ".join(["1"] * int(inner.sum())),
                "threshold": _numbers(trees.threshold[nodes][inner]),
                "decision_type": " ".join([str(_NUMERICAL_RIGHT)] * int(inner.sum())),
                "left_child": _whole(number[trees.left[nodes][inner]]),
                "right_child": _whole(number[trees.right[nodes][inner]]),
            }
        yield fields


def nodes_of(booster: Any, first_round: int, width: int) -> LightGBMTrees:
    """Return the trees a booster trained in this process has from `first_round` (from 0) on.

    Raises:
        ColearnError: LightGBM writes something into its models that these arrays cannot say.
    """
    text = booster.model_to_string(num_iteration=-1, start_iteration=first_round)
    blocks = text.partition("\nend of trees")[0].split("\nTree=")[1:]
    try:
        trees = [_tree(_fields(block)) for block in blocks]
    except (KeyError, ValueError) as error:
        raise ColearnError(
            f"This version of LightGBM writes its models in another way: {error!r}.",
            hint="Install a version that the extra `lightgbm` names.",
        ) from error
    empty = LightGBMTrees.empty(0.0).named()
    joined = {
        name: np.concatenate([tree[name] for tree in trees] or [empty[name]])
        for name in empty
        if name not in ("tree_info", "base_score")
    }
    return LightGBMTrees(
        **joined,
        tree_info=(np.arange(len(trees)) % width).astype(np.int32),
        base_score=np.zeros(1),
    )


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _tree(fields: dict[str, str]) -> dict[str, npt.NDArray[Any]]:
    """Return one tree's arrays: its inner nodes, then its leaves, in the order they were grown."""
    if fields["num_cat"] != "0" or fields["is_linear"] != "0":
        raise ColearnError("LightGBM grew a tree with categorical splits or linear leaves.")
    leaves = int(fields["num_leaves"])
    inner = leaves - 1
    size = inner + leaves
    tree: dict[str, npt.NDArray[Any]] = {
        "sizes": np.array([size], np.int32),
        "threshold": np.zeros(size),
        "value": np.zeros(size),
        **{name: np.full(size, NO_NODE, np.int32) for name in ("left", "right", "feature")},
    }
    tree["value"][inner:] = _read(fields, "leaf_value", leaves)
    tree["threshold"][:inner] = beside_zero(_read(fields, "threshold", inner))
    tree["feature"][:inner] = _read(fields, "split_feature", inner)
    for name in ("left", "right"):
        child = _read(fields, f"{name}_child", inner).astype(np.int32)
        tree[name][:inner] = np.where(child < 0, inner - 1 - child, child)
    return tree


def _read(fields: dict[str, str], name: str, count: int) -> npt.NDArray[np.float64]:
    """Return `count` numbers; Python reads every float64 as it was written."""
    values = np.array([float(word) for word in fields[name].split()] if count else [], np.float64)
    if len(values) != count:
        raise ValueError(f"{len(values)} of {count} values of {name}")
    return values
