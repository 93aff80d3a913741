import dataclasses

import numpy as np
import pytest

from colearn.errors import WeightsError
from colearn.weights import NO_NODE, Trees


def forest(*trees, outputs=2):
    """Each tree is a list of nodes: None for a leaf, or (left, right, feature)."""
    nodes = [node for tree in trees for node in tree]
    inner = [node or (NO_NODE, NO_NODE, NO_NODE) for node in nodes]
    return Trees(
        sizes=np.array([len(tree) for tree in trees], np.int32),
        left=np.array([node[0] for node in inner], np.int32),
        right=np.array([node[1] for node in inner], np.int32),
        feature=np.array([node[2] for node in inner], np.int32),
        threshold=np.array([0.0 if node is None else 0.5 for node in nodes]),
        value=np.full((len(nodes), outputs), 1 / outputs),
    )


STUMP = [(1, 2, 0), None, None]
DEEP = [(1, 4, 1), (2, 3, 0), None, None, None]


def honest():
    return forest(STUMP, DEEP, [None])


def edited(**edits):
    trees = honest()
    arrays = {field.name: getattr(trees, field.name).copy() for field in dataclasses.fields(Trees)}
    for name, (node, value) in edits.items():
        arrays[name][node] = value
    return Trees(**arrays)


def test_honest_forests_pass():
    honest().check(2)
    forest([None]).check(1)
    forest(STUMP, outputs=1).check(1)
    forest().check(1)


def test_leaves_in_any_order_and_preorder_both_pass():
    forest([(2, 1, 0), None, None]).check(1)
    forest([(1, 2, 0), (3, 4, 0), None, None, None]).check(1)


# Node 3 is the root of tree 1, whose nodes are 3 to 7; node 4 its inner child.
@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"left": (3, 10**9)}, "Array 'left', tree 1, node 0: .*after its parent.* got 1000000000"),
        ({"right": (3, 5)}, "Array 'right', tree 1, node 0: .*in its tree, got 5"),
        ({"left": (0, 3)}, "Array 'left', tree 0, node 0: .*in its tree, got 3"),
        ({"left": (3, -2)}, "Array 'left', tree 1, node 0: .*got -2"),
        ({"left": (3, 0)}, "Array 'left', tree 1, node 0: .*after its parent.*got 0"),
        ({"left": (4, 1)}, "Array 'left', tree 1, node 1: .*after its parent.*got 1"),
        ({"right": (4, 0)}, "Array 'right', tree 1, node 1: .*after its parent.*got 0"),
        ({"left": (3, 4)}, "Array 'left', tree 1, node 1: expected one parent"),
        ({"right": (4, 4)}, "Array 'left', tree 1, node 3: expected one parent"),
        ({"left": (4, NO_NODE)}, "Array 'right', tree 1, node 1: expected two children or none"),
        ({"right": (4, NO_NODE)}, "Array 'right', tree 1, node 1: expected two children or none"),
        ({"right": (8, 1)}, "Array 'right', tree 2, node 0: expected two children or none, got 1"),
        ({"feature": (4, 2)}, "Array 'feature', tree 1, node 1: expected a feature from 0 to 1"),
        ({"feature": (4, 10**8)}, "Array 'feature', tree 1, node 1: .*got 100000000"),
        ({"feature": (4, NO_NODE)}, "Array 'feature', tree 1, node 1: .*got -1"),
        ({"feature": (4, -5)}, "Array 'feature', tree 1, node 1: .*got -5"),
        ({"feature": (8, 0)}, "Array 'feature', tree 2, node 0: .*got 0"),
        ({"threshold": (8, 0.25)}, "Array 'threshold', tree 2, node 0: expected 0 in a leaf"),
        ({"sizes": (0, 4)}, "'sizes' must be positive and add up to 9 nodes"),
        ({"sizes": (0, 2)}, "'sizes' must be positive and add up to 9 nodes"),
        ({"sizes": (2, 0)}, "'sizes' must be positive and add up to 9 nodes"),
        ({"sizes": (2, -1)}, "'sizes' must be positive and add up to 9 nodes"),
        ({"sizes": (0, 2**31 - 1)}, "'sizes' must be positive and add up to 9 nodes"),
    ],
    ids=[
        *("child_out_of_range", "right_child_out_of_range", "child_in_another_tree"),
        *("negative_child", "own_child", "own_child_below_the_root", "cycle_to_the_root"),
        *("two_parents", "orphan", "half_leaf_left", "half_leaf_right", "leaf_with_a_child"),
        *("feature_out_of_range", "feature_far_out", "inner_node_without_a_feature"),
        *("negative_feature", "leaf_with_a_feature", "leaf_with_a_threshold"),
        *(
            "sizes_too_large",
            "sizes_too_small",
            "empty_tree",
            "negative_size",
            "sizes_that_overflow",
        ),
    ],
)
def test_one_edit_is_refused_with_tree_and_node(edits, said):
    with pytest.raises(WeightsError, match=said):
        edited(**edits).check(2)


def test_a_node_with_two_parents_is_refused_where_nobody_is_an_orphan():
    with pytest.raises(WeightsError, match="tree 0, node 2: expected one parent"):
        forest([(1, 2, 0), (2, 3, 0), None, None]).check(1)


def test_a_child_before_its_parent_is_refused():
    # A well-formed tree in another order: root 0, inner node 2, whose left child is 1.
    with pytest.raises(WeightsError, match="tree 0, node 2: expected a child after its parent"):
        forest([(2, 4, 0), None, (1, 3, 0), None, None]).check(1)


def test_sizes_that_sum_right_and_cut_trees_wrong_are_refused():
    trees = dataclasses.replace(honest(), sizes=np.array([1, 7, 1], np.int32))
    with pytest.raises(WeightsError, match="tree 0, node 0"):
        trees.check(2)


def test_a_second_root_inside_a_tree_is_refused():
    trees = dataclasses.replace(forest(STUMP, [None]), sizes=np.array([4], np.int32))
    with pytest.raises(WeightsError, match="tree 0, node 3: expected one parent"):
        trees.check(1)


@pytest.mark.parametrize("name", ["right", "feature", "threshold", "value"])
def test_arrays_of_another_length_are_refused(name):
    trees = honest()
    shorter = dataclasses.replace(trees, **{name: getattr(trees, name)[:-1]})
    with pytest.raises(WeightsError, match=f"'{name}' must have 9 nodes, got 8"):
        shorter.check(2)


def test_no_feature_exists_when_there_are_none():
    forest([None]).check(0)
    with pytest.raises(WeightsError, match="feature"):
        forest(STUMP).check(0)
