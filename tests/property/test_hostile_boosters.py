"""No edited tree harms who evaluates it, whichever adapter reads it (P3.5, 6.3).

An edited node that gets through makes native code read foreign memory or walk for ever, so the
edits are judged in a process of their own. This file is also that process's program::

    python tests/property/test_hostile_boosters.py "boosted classes" 1 400
"""

import contextlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from colearn import RandomForestLearner, Weights
from colearn.errors import LearnerError, WeightsError
from colearn.learners import LightGBMLearner, XGBoostLearner
from colearn.weights import NO_NODE

SEED = int(os.environ.get("COLEARN_SEED", "1"))
EDITS = 400
PATIENCE_S = 90
ROWS = np.random.default_rng(3).normal(size=(90, 4))
LABELS = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(int) + (ROWS[:, 2] > 1)


def settings(y, classes):
    return {"train": (ROWS[:60], y[:60]), "vote": (ROWS[60:], y[60:]), "classes": classes}


ADAPTERS = {
    "forest classes": lambda: RandomForestLearner(**settings(LABELS, range(3))),
    "forest values": lambda: RandomForestLearner(**settings(ROWS[:, 0], None)),
    "boosted two": lambda: XGBoostLearner(**settings(LABELS % 2, [0, 1])),
    "boosted classes": lambda: XGBoostLearner(**settings(LABELS, range(3))),
    "boosted values": lambda: XGBoostLearner(**settings(ROWS[:, 0], None)),
    "leafwise two": lambda: LightGBMLearner(**settings(LABELS % 2, [0, 1])),
    "leafwise classes": lambda: LightGBMLearner(**settings(LABELS, range(3))),
    "leafwise values": lambda: LightGBMLearner(**settings(ROWS[:, 0], None)),
}


def honest(adapter):
    """A learner with a model and a proposal that adds to it, as a dict of writable arrays."""
    learner = ADAPTERS[adapter]()
    learner.mli_accept_weights(learner.mli_propose_weights())
    return learner, learner.mli_propose_weights().weights.copy()


# Edits: each changes a dict of arrays in place; most break a rule, some keep to all of them.


def an_array(arrays, rng, kinds="iuf"):
    names = sorted(
        name for name, array in arrays.items() if array.dtype.kind in kinds and array.size
    )
    return names[rng.integers(len(names))]


def put_a_number(arrays, rng):
    name = an_array(arrays, rng)
    flat = arrays[name].reshape(-1)
    if flat.dtype.kind == "f":
        big = np.finfo(flat.dtype).max
        choices = [np.nan, np.inf, -np.inf, big, -big, np.finfo(flat.dtype).tiny, -0.0, 0, 1, 1e30]
    else:
        info = np.iinfo(flat.dtype)
        near = rng.integers(-3, 40, 4).clip(info.min, info.max).tolist()
        far = [info.max, info.min, info.max - 1, min(10**8, info.max), -1 if info.min else 255]
        choices = near + far
    with np.errstate(over="ignore"):
        flat[rng.integers(flat.size)] = choices[rng.integers(len(choices))]


def copy_a_number(arrays, rng):
    flat = arrays[an_array(arrays, rng)].reshape(-1)
    flat[rng.integers(flat.size)] = flat[rng.integers(flat.size)]


def swap_numbers(arrays, rng):
    flat = arrays[an_array(arrays, rng)].reshape(-1)
    one, two = rng.integers(flat.size, size=2)
    flat[[one, two]] = flat[[two, one]]


def flip_a_bit(arrays, rng):
    raw = arrays[an_array(arrays, rng)].reshape(-1).view(np.uint8)
    raw[rng.integers(raw.size)] ^= 1 << rng.integers(8)


def another_length(arrays, rng):
    name = an_array(arrays, rng)
    array, count = arrays[name], int(rng.integers(1, 4))
    arrays[name] = array[:-count] if rng.random() < 0.5 else np.concatenate([array, array[:count]])


def another_dtype(arrays, rng):
    name = an_array(arrays, rng)
    kinds = [np.int64, np.int8, np.float16, np.float64, bool]
    with np.errstate(over="ignore", invalid="ignore"):
        arrays[name] = arrays[name].astype(kinds[rng.integers(len(kinds))])


def move_a_boundary(arrays, rng):
    sizes = arrays["sizes"]
    tree, step = rng.integers(sizes.size), rng.integers(1, 4)
    sizes[tree] += step
    sizes[(tree + 1) % sizes.size] -= step


def exchange_children(arrays, rng):
    inner = np.flatnonzero(arrays["left"] != NO_NODE)
    node = inner[rng.integers(inner.size)]
    left, right = arrays["left"][node], arrays["right"][node]
    arrays["left"][node], arrays["right"][node] = right, left


def graft(arrays, rng):
    """Exchange two subtrees, most often into a cycle or before their parents."""
    inner = np.flatnonzero(arrays["left"] != NO_NODE)
    one, two = inner[rng.integers(inner.size, size=2)]
    left = arrays["left"]
    left[one], left[two] = left[two], left[one]


def repeat_the_last_trees(arrays, rng):
    """Append copies of whole trees, as many as a proposal adds to a booster of three classes."""
    trees = 3
    nodes = int(arrays["sizes"][-trees:].sum())
    for name, array in arrays.items():
        count = trees if name in ("sizes", "tree_info") else nodes
        if name != "base_score":
            arrays[name] = np.concatenate([array, array[-count:]])


def scatter_numbers(arrays, rng):
    """New thresholds, columns and leaves everywhere: a tree that nobody trained and all is well."""
    leaf = arrays["left"] == NO_NODE
    size = leaf.size
    columns = rng.integers(0, 4, size).astype(np.int32)
    arrays["feature"][:] = np.where(leaf, NO_NODE, columns)
    arrays["threshold"][:] = np.where(
        leaf, 0, rng.normal(size=size) * 10.0 ** rng.integers(-30, 30)
    )
    if arrays["value"].ndim == 1:
        arrays["value"][:] = np.where(leaf, rng.normal(size=size) * 1e30, 0)
    if "default_left" in arrays:
        arrays["default_left"][:] = ~leaf & (rng.random(size) < 0.5)


EDITS_KNOWN = [
    put_a_number, put_a_number, copy_a_number, swap_numbers, flip_a_bit, another_length,
    another_dtype, move_a_boundary, exchange_children, graft, repeat_the_last_trees,
    scatter_numbers,
]  # fmt: skip


def edited(arrays, rng):
    changed = {name: array.copy() for name, array in arrays.items()}
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        # An edit may not fit any more on what another one left.
        with contextlib.suppress(IndexError, OverflowError, ValueError):
            EDITS_KNOWN[rng.integers(len(EDITS_KNOWN))](changed, rng)
    return changed


# The process that is to survive.


def judge(adapter, seed, count):
    learner, arrays = honest(adapter)
    seen = {"refused": 0, "evaluated": 0, "trained on": 0, "overflowed": 0}
    for place in range(count):
        print(place, flush=True)
        weights = Weights(weights=edited(arrays, np.random.default_rng([seed, place])))
        # Half of them as what a newcomer accepts, whose model has no trees that must stay.
        reader = learner if place % 2 else ADAPTERS[adapter]()
        try:
            reader.mli_test_weights(weights)
        except WeightsError:
            seen["refused"] += 1
            continue
        seen["evaluated"] += 1
        if reader is not learner:
            reader.mli_accept_weights(weights)
            reader.model_.predict(ROWS)
            try:
                reader.mli_propose_weights()
                seen["trained on"] += 1
            except LearnerError:
                # Leaves of 1e30 are numbers; what follows from them need not be.
                seen["overflowed"] += 1
    print(json.dumps(seen))


def unchecked(adapter, name, value):
    """What would happen without the checks: the edited tree goes straight to native code."""
    learner, arrays = honest(adapter)
    arrays[name][0] = value
    learner._family.check = lambda proposed, model: None
    learner.mli_test_weights(Weights(weights=arrays))


def run(*arguments, patience_s=PATIENCE_S):
    command = [sys.executable, "-X", "faulthandler", str(Path(__file__)), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=patience_s, check=False)


# The tests.


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_edited_trees_are_refused_or_evaluated_and_the_process_lives(adapter):
    done = run(adapter, SEED, EDITS)
    lines = done.stdout.splitlines()
    last = lines[-1] if lines else "none"
    assert done.returncode == 0, f"seed {SEED}, edit {last}: {done.stderr[-3000:]}"
    seen = json.loads(last)
    assert seen["refused"] > EDITS / 3
    # Enough gets through for native code to be what is tested, and not the checks alone.
    assert seen["evaluated"] > EDITS / 20
    assert seen["trained on"] > EDITS / 50


SIX = [
    ("left", 10**9),
    ("left", 10**8),
    ("left", 0),
    ("feature", 10**8),
    ("feature", 10**7),
    ("right", 0),
]


@pytest.mark.parametrize(("name", "value"), SIX)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_six_edits_that_kill_a_voter_are_refused(adapter, name, value):
    learner, arrays = cached(adapter)
    for tree in (0, len(arrays["sizes"]) - 1):
        changed = {each: array.copy() for each, array in arrays.items()}
        root = int(arrays["sizes"][:tree].sum())
        changed[name][root] = value
        with pytest.raises(WeightsError, match=f"tree {tree}, node 0"):
            learner.mli_test_weights(Weights(weights=changed))
        with pytest.raises(WeightsError, match=f"tree {tree}, node 0"):
            ADAPTERS[adapter]().mli_accept_weights(Weights(weights=changed))


@cache
def cached(adapter):
    return honest(adapter)


@pytest.mark.parametrize(
    ("adapter", "name", "value"),
    [
        ("forest classes", "feature", 10**8),
        ("boosted classes", "feature", 10**7),
        ("boosted classes", "left", 0),
        ("leafwise classes", "feature", 10**7),
        ("leafwise classes", "left", 0),
    ],
)
def test_without_the_checks_the_same_process_dies_or_hangs(adapter, name, value):
    # So the tests above would see it.
    try:
        done = run("unchecked", adapter, name, value, patience_s=30)
    except subprocess.TimeoutExpired:
        return
    assert done.returncode not in (0, 1), done.stderr[-3000:]


if __name__ == "__main__":
    if sys.argv[1] == "unchecked":
        unchecked(*sys.argv[2:4], int(sys.argv[4]))
    else:
        judge(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
