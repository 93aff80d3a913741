import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colearn.errors import WeightsError
from colearn.weights import Trees

GOOD = Trees(
    sizes=np.array([3, 1, 5], np.int32),
    left=np.array([1, -1, -1, -1, 1, -1, 3, -1, -1], np.int32),
    right=np.array([2, -1, -1, -1, 2, -1, 4, -1, -1], np.int32),
    feature=np.array([0, -1, -1, -1, 1, -1, 0, -1, -1], np.int32),
    threshold=np.array([0.5, 0, 0, 0, 0.1, 0, 0.2, 0, 0]),
    value=np.ones((9, 1)),
)


def edited(**places):
    changes = {}
    for name, (place, value) in places.items():
        array = getattr(GOOD, name).copy()
        array[place] = value
        changes[name] = array
    return dataclasses.replace(GOOD, **changes)


def test_a_well_formed_forest_passes():
    GOOD.check(2)


@pytest.mark.parametrize(
    ("trees", "message"),
    [
        (edited(left=(0, 10**8)), "'left', tree 0, node 0"),
        (edited(left=(0, 3)), "'left', tree 0, node 0"),
        (edited(left=(0, 0)), "'left', tree 0, node 0"),
        (edited(left=(6, 1)), "'left', tree 2, node 2"),
        (edited(left=(4, -2)), "'left', tree 2, node 0"),
        (edited(right=(0, 1)), "one parent"),
        (edited(left=(0, -1)), "two children or none"),
        (edited(left=(0, -1), right=(0, -1), feature=(0, -1), threshold=(0, 0)), "one parent"),
        (edited(feature=(0, 2)), "feature from 0 to 1"),
        (edited(feature=(0, -2)), "feature from 0 to 1"),
        (edited(feature=(1, 0)), "feature"),
        (edited(threshold=(1, 0.5)), "0 in a leaf"),
        (edited(sizes=(0, 2)), "add up to 9"),
        (edited(sizes=(1, 0)), "positive"),
        (dataclasses.replace(GOOD, value=np.ones((8, 1))), "'value' must have 9 nodes"),
    ],
)
def test_a_node_that_would_harm_a_voter_is_refused(trees, message):
    with pytest.raises(WeightsError, match=message):
        trees.check(2)


def walk(trees):
    start = 0
    for size in trees.sizes:
        seen, stack = set(), [0]
        while stack:
            node = stack.pop()
            assert 0 <= node < size
            assert node not in seen
            seen.add(node)
            if trees.left[start + node] >= 0:
                assert 0 <= trees.feature[start + node] < 2
                stack += [int(trees.left[start + node]), int(trees.right[start + node])]
        assert len(seen) == size
        start += size


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sizes", "left", "right", "feature"]),
            st.integers(0, 8),
            st.integers(-3, 10),
        ),
        max_size=4,
    )
)
def test_fuzzed_forests_are_refused_or_can_be_walked(edits):
    arrays = {name: getattr(GOOD, name).copy() for name in ("sizes", "left", "right", "feature")}
    for name, place, value in edits:
        arrays[name][place % len(arrays[name])] = value
    trees = dataclasses.replace(GOOD, **arrays)
    try:
        trees.check(2)
    except WeightsError:
        return
    walk(trees)
