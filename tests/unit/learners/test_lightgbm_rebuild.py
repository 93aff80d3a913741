"""LightGBM's boosters from arrays and back: what is rebuilt is what was grown, bit for bit."""

import lightgbm
import numpy as np
import pytest
from tests.boosters import LABELS, LEAFWISE, RNG, VALUES, X, current, grown

from colearn.errors import ColearnError
from colearn.learners._boosted_trees import NODES_MAX, class_pattern
from colearn.learners._lightgbm_rebuild import model_text, nodes_of, rebuilt
from colearn.learners._lightgbm_trees import ZERO, LightGBMTrees
from colearn.weights import DEFAULT_LIMITS, NO_NODE, freeze

KINDS = {
    "two classes": ("binary sigmoid:1", 1, (LABELS > 0).astype(int), {"objective": "binary"}),
    "many classes": (
        "multiclass num_class:3", 3, LABELS, {"objective": "multiclass", "num_class": 3},
    ),
    "regression": ("regression", 1, VALUES + 7, {"objective": "regression"}),
}  # fmt: skip
PARAMS = {
    "max_depth": 5, "min_data_in_leaf": 3, "num_threads": 1, "verbosity": -1, "seed": 3,
    "bagging_fraction": 0.8, "bagging_freq": 1, "boost_from_average": False, "use_missing": False,
}  # fmt: skip


@pytest.fixture(params=LEAFWISE)
def make(request):
    return LEAFWISE[request.param]


def walked(arrays, rows, outputs):
    """The margins of a booster, by hand: float64, one tree after the other."""
    margins = np.full((len(rows), outputs), float(arrays["base_score"][0]))
    start = 0
    for size, column in zip(arrays["sizes"], arrays["tree_info"], strict=True):
        for place, row in enumerate(rows):
            node = start
            while arrays["left"][node] != NO_NODE:
                goes_left = row[arrays["feature"][node]] <= arrays["threshold"][node]
                node = start + arrays["left" if goes_left else "right"][node]
            margins[place, column] += arrays["value"][node]
        start += size
    return margins if outputs > 1 else margins[:, 0]


def hard_rows(arrays, count=80):
    """Rows with values on thresholds, beside them, around 0, and missing."""
    inner = arrays["left"] != NO_NODE
    at = arrays["threshold"][inner]
    around = [at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf)]
    near = np.array([ZERO, -ZERO, 0.0, -0.0, 5e-36, -5e-36, 5e-324, 2 * ZERO, -2 * ZERO])
    values = np.concatenate([*around, near, np.nextafter(near, 1), [np.nan, 1e38, -1e38]])
    return RNG.choice(values, size=(count, 4))


def trees_of(text):
    return [block.strip() for block in text.partition("end of trees")[0].split("\nTree=")[1:]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_rebuilt_booster_is_trained_on_and_its_trees_stay_bit_for_bit(kind):
    objective, width, y, loss = KINDS[kind]
    params = {**PARAMS, **loss}
    trees = LightGBMTrees.empty(7.25 if kind == "regression" else 0.0)
    for rounds in (1, 3, 7):
        before = rebuilt(trees, 4, objective, width)
        rows = lightgbm.Dataset(X, y, params=params)
        merged = lightgbm.train(params, rows, rounds, init_model=before)
        old, new = before.model_to_string(), merged.model_to_string()
        count = len(trees.sizes) + width
        assert trees_of(new)[:count] == trees_of(old)
        assert len(trees_of(new)) == count + rounds * width
        # The same as growing trees on what the margins of the old ones miss.
        alone = lightgbm.Dataset(X, y, params=params, init_score=before.predict(X, raw_score=True))
        alone = nodes_of(lightgbm.train(params, alone, rounds), 0, width)
        grown_on = nodes_of(merged, count // width, width)
        assert freeze(alone.named()).data == freeze(grown_on.named()).data
        trees = trees.followed_by(grown_on)
        trees.check(4, width)
        again = rebuilt(trees, 4, objective, width)
        for raw in (True, False):
            mine, theirs = (each.predict(X, raw_score=raw) for each in (again, merged))
            assert mine.tobytes() == theirs.tobytes()
        margins = walked(trees.named(), X, width)
        assert again.predict(X, raw_score=True).tobytes() == margins.tobytes()


def test_lightgbm_and_the_arrays_agree_bit_for_bit_on_every_value(make):
    one = grown(make(subsample=1.0), 5)
    arrays = current(one)
    outputs = len(one.schema.classes or ()) if len(one.schema.classes or ()) > 2 else 1
    rows = hard_rows(arrays)
    mine = one._family._margins(one._family._booster(arrays), rows)
    assert mine.tobytes() == walked(arrays, rows, outputs).tobytes()


def test_splits_beside_0_are_moved_off_what_lightgbm_reads_as_0():
    sparse = np.where(X > 0.2, X, 0.0) - np.where(X < -0.8, 1.0, 0.0)
    y = (sparse[:, 0] < 0) * 2.0 + (sparse[:, 1] > 0)
    params = {**PARAMS, "objective": "regression", "bagging_freq": 0}
    booster = lightgbm.train(params, lightgbm.Dataset(sparse, y, params=params), 2)
    assert f"{-ZERO:.17g}" in booster.model_to_string()
    trees = nodes_of(booster, 0, 1)
    trees.check(4, 1)
    arrays = trees.named()
    near = abs(trees.threshold) < 2 * ZERO
    assert (trees.threshold[near & (trees.threshold < 0)] < -ZERO).any()
    rows = hard_rows(arrays)
    rows[np.isnan(rows)] = 0.0
    assert booster.predict(rows).tobytes() == walked(arrays, rows, 1).tobytes()


def test_any_order_of_nodes_and_any_number_is_kept():
    # Leaves between inner nodes, as another framework might number them.
    left = [1, -1, 3, 5, -1, -1, -1]
    right = [2, -1, 4, 6, -1, -1, -1]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        bits = rng.integers(0, 2**64, 400, dtype=np.uint64).view(np.float64)
        bits = bits[np.isfinite(bits) & (abs(bits) > ZERO)]
        leaf = np.array(left * 3) == NO_NODE
        tiny = np.array([5e-324, -0.0, 1e-310, np.finfo(float).max, 0.1])
        trees = LightGBMTrees(
            sizes=np.array([7, 7, 7], np.int32),
            left=np.array(left * 3, np.int32),
            right=np.array(right * 3, np.int32),
            feature=np.where(leaf, NO_NODE, rng.integers(0, 4, 21)).astype(np.int32),
            threshold=np.where(leaf, 0.0, rng.choice(bits, 21)),
            value=np.where(leaf, rng.choice(np.concatenate([bits, tiny]), 21), 0.0),
            tree_info=class_pattern(3, 1),
            base_score=np.array([rng.normal()]),
        )
        trees.check(4, 1)
        booster = rebuilt(trees, 4, "regression", 1)
        back = nodes_of(booster, 1, 1)
        assert np.sort(back.value).tobytes() == np.sort(trees.value).tobytes()
        assert np.sort(back.threshold).tobytes() == np.sort(trees.threshold).tobytes()
        rows = rng.choice(bits, (50, 4))
        with np.errstate(over="ignore", invalid="ignore"):
            margins = walked(trees.named(), rows, 1)
        found = booster.predict(rows, raw_score=True)
        assert np.array_equal(found, margins, equal_nan=True)


def test_the_arrays_of_a_learner_come_back_from_the_text_as_they_were(make):
    one = grown(make())
    arrays = current(one)
    family = one._family
    width = family.trees_per_round
    back = nodes_of(family._booster(arrays), 1, width)
    for name, array in back.named().items():
        if name != "base_score":
            assert array.tobytes() == arrays[name].tobytes()


def test_the_text_holds_nothing_of_the_rows(make):
    one = grown(make())
    family = one._family
    width = family.trees_per_round
    text = model_text(family.trees(current(one)), 4, family._objective, width)
    names = {line.partition("=")[0] for line in text.splitlines() if "=" in line}
    assert names == {
        "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx",
        "objective", "feature_names", "feature_infos", "Tree", "num_leaves", "num_cat",
        "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
        "leaf_value", "is_linear", "shrinkage",
    }  # fmt: skip


class Writes:
    """A booster of another version of LightGBM, which writes `text`."""

    def __init__(self, text):
        self.text = text

    def model_to_string(self, **_):
        return self.text


TREE = (
    "\nTree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=0\nthreshold=1\nleft_child=-1\n"
    "right_child=-2\nleaf_value=1 2\nis_linear=0\n\nend of trees\n"
)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("num_cat=0", "num_cat=1", "categorical splits or linear leaves"),
        ("is_linear=0", "is_linear=1", "categorical splits or linear leaves"),
        ("threshold=1", "threshold=one", "in another way"),
        ("threshold=1", "limit=1", "in another way"),
        ("leaf_value=1 2", "leaf_value=1", "in another way"),
    ],
)
def test_a_model_written_in_another_way_is_said_to_be(before, after, said):
    assert nodes_of(Writes(TREE), 0, 1).value.tolist() == [0, 1, 2]
    with pytest.raises(ColearnError, match=said):
        nodes_of(Writes(TREE.replace(before, after)), 0, 1)


def test_a_thousand_trees_of_depth_6_are_a_fraction_of_the_limits():
    rows = RNG.normal(size=(1000, 10))
    params = {**PARAMS, "objective": "regression", "max_depth": 6, "num_leaves": 64}
    noise = lightgbm.Dataset(rows, RNG.normal(size=1000), params=params)
    trees = nodes_of(lightgbm.train(params, noise, 1000), 0, 1)
    trees.check(10, 1)
    weights = freeze(trees.named())
    assert len(trees.sizes) == 1000
    assert len(weights.data) < DEFAULT_LIMITS.proposal_bytes / 100
    assert len(trees.left) < NODES_MAX / 10
