import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from colearn.errors import WeightsError
from colearn.weights import NO_NODE, Trees

FEATURES = 3
ARRAYS = ["sizes", "left", "right", "feature", "threshold"]


@st.composite
def honest_trees(draw):
    left, right = [NO_NODE], [NO_NODE]
    for _ in range(draw(st.integers(0, 6))):
        leaves = [node for node, child in enumerate(left) if child == NO_NODE]
        node = draw(st.sampled_from(leaves))
        first, second = draw(st.permutations([len(left), len(left) + 1]))
        left[node], right[node] = first, second
        left += [NO_NODE, NO_NODE]
        right += [NO_NODE, NO_NODE]
    feature = [NO_NODE if c == NO_NODE else draw(st.integers(0, FEATURES - 1)) for c in left]
    threshold = [0.0 if c == NO_NODE else draw(st.floats(-9, 9)) for c in left]
    return left, right, feature, threshold


@st.composite
def forests(draw):
    trees = draw(st.lists(honest_trees(), max_size=4))
    columns = [[item for tree in trees for item in tree[place]] for place in range(4)]
    left, right, feature = (np.array(column, np.int32) for column in columns[:3])
    return Trees(
        sizes=np.array([len(tree[0]) for tree in trees], np.int32),
        left=left,
        right=right,
        feature=feature,
        threshold=np.array(columns[3], np.float64),
        value=np.zeros((len(left), 2)),
    )


def walk(trees):
    """Visit every node as a predictor would; raises if one is missing or met twice."""
    start = 0
    for size in trees.sizes.tolist():
        unvisited = set(range(size))
        waiting = [0]
        while waiting:
            node = waiting.pop()
            unvisited.remove(node)
            left = int(trees.left[start + node])
            if left != NO_NODE:
                assert 0 <= trees.feature[start + node] < FEATURES
                waiting += [left, int(trees.right[start + node])]
        assert not unvisited
        start += size
    assert start == len(trees.left)


@given(forests())
def test_honest_forests_pass_and_can_be_walked(trees):
    trees.check(FEATURES)
    walk(trees)


edits = st.tuples(
    st.sampled_from(ARRAYS),
    st.integers(0, 40),
    st.one_of(st.integers(-3, 8), st.sampled_from([2**31 - 1, -(2**31), 10**8])),
)


@given(forests(), st.lists(edits, min_size=1, max_size=4))
def test_any_edit_is_refused_or_leaves_a_forest_that_can_be_walked(trees, changes):
    arrays = {name: getattr(trees, name).copy() for name in ARRAYS}
    for name, place, value in changes:
        if len(arrays[name]):
            arrays[name][place % len(arrays[name])] = value
    changed = dataclasses.replace(trees, **arrays)
    try:
        changed.check(FEATURES)
    except WeightsError:
        return
    walk(changed)
