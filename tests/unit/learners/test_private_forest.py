import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from colearn import RandomForestLearner
from colearn.errors import ConfigError
from colearn.interface import DiffPrivConfig
from colearn.learners._private_forest import PrivateGrowth
from colearn.learners.forest import ForestFamily
from colearn.privacy.randomness import SecureSource, SimulationSource
from colearn.privacy.training import PrivateTraining
from colearn.schema import Schema
from colearn.weights import NO_NODE, Trees, freeze

CONFIG = DiffPrivConfig(target_epsilon=8, target_delta=1e-5, max_grad_norm=1.0)
ARRAYS = ("sizes", "left", "right", "feature", "threshold", "value")
LOW, HIGH = np.array([-3.0, 0.0, 10.0]), np.array([3.0, 1.0, 50.0])
BOUNDS = np.column_stack([LOW, HIGH]).tolist()


def family_of(trees=3, bounds=BOUNDS, depth=3, classes=3, features=3):
    growth = PrivateGrowth.of(bounds, depth, features, classes)
    return ForestFamily(Schema.of(features, range(classes)), trees, {}, growth)


def training_of(rows_count, trees=3, noise=0.0, source=None, **users):
    return PrivateTraining(
        rows_count=rows_count, max_grad_norm=1.0, noise_multiplier=noise, sampling_rate=1.0,
        steps=trees, source=source or SimulationSource(3), **users,
    )  # fmt: skip


def rows_of(rows=60, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    return rng.uniform(LOW - 1, HIGH + 1, (rows, 3)), rng.integers(classes, size=rows)


def grown(family, X, y, seed=5, model=None, **how):
    model = freeze(family.initial()) if model is None else model
    return freeze(family.fit_privately(model, X, y, training_of(len(y), **how), seed))


def trees_of(model):
    return Trees(**{name: model[name] for name in ARRAYS})


def walk(tree, x):
    """Return the leaf that a row reaches, by the words of `Trees`."""
    node = 0
    while tree.left[node] != NO_NODE:
        goes_left = np.float32(x[tree.feature[node]]) <= tree.threshold[node]
        node = tree.left[node] if goes_left else tree.right[node]
    return node


@pytest.mark.parametrize("depth", [1, 3, 5])
@pytest.mark.parametrize("noise", [0.0, 5.0])
def test_private_trees_pass_the_checks_of_any_forest(depth, noise):
    family = family_of(depth=depth)
    empty = freeze(family.initial())
    model = grown(family, *rows_of(), noise=noise)
    trees_of(model).check(3)
    family.check(model, empty)
    assert model["sizes"].tolist() == [2 ** (depth + 1) - 1] * 3
    assert abs(model["value"].sum(axis=1) - 1).max() < 1e-12
    assert {name: each.dtype for name, each in model.items()} == {
        name: each.dtype for name, each in empty.items()
    }


def test_trees_are_put_behind_those_of_the_model():
    family = family_of()
    first = grown(family, *rows_of())
    second = grown(family, *rows_of(), seed=6, model=first)
    family.check(second, first)
    assert len(second["sizes"]) == 6
    assert (second["threshold"][:45] != second["threshold"][45:]).any()


@pytest.mark.parametrize("seed", range(5))
def test_splits_lie_within_the_public_bounds_and_look_at_no_row(seed):
    family = family_of(depth=4)
    one = grown(family, *rows_of(seed=1), seed=seed)
    other = grown(family, *rows_of(rows=9, seed=2), seed=seed)
    inner = one["left"] != NO_NODE
    column, threshold = one["feature"][inner], one["threshold"][inner]
    assert ((threshold > LOW[column]) & (threshold < HIGH[column])).all()
    for name in ("sizes", "left", "right", "feature", "threshold"):
        assert (one[name] == other[name]).all()
    assert (one["value"] != other["value"]).any()


def test_a_split_cuts_what_its_ancestors_left():
    tree = trees_of(grown(family_of(trees=1, depth=6), *rows_of(), trees=1))
    cells = {0: (LOW, HIGH)}
    for node in range(2**6 - 1):
        low, high = cells[node]
        column, cut = tree.feature[node], tree.threshold[node]
        assert low[column] < cut < high[column]
        below, above = high.copy(), low.copy()
        below[column] = above[column] = cut
        cells[tree.left[node]], cells[tree.right[node]] = (low, below), (above, high)


def test_without_noise_a_leaf_says_the_share_of_each_class_and_an_empty_one_that_of_none():
    family = family_of(trees=1, depth=4)
    X, y = rows_of(rows=15)
    model = grown(family, X, y, trees=1)
    tree = trees_of(model)
    reached = np.array([walk(tree, x) for x in X])
    for leaf in np.flatnonzero(tree.left == NO_NODE):
        own = np.bincount(y[reached == leaf], minlength=3)
        expected = own / own.sum() if own.sum() else np.full(3, 1 / 3)
        assert tree.value[leaf] == pytest.approx(expected)
    # scikit-learn finds the same leaves.
    assert family.predict(model, X).scores == pytest.approx(tree.value[reached])


class Watched(PrivateTraining):
    """Keeps what was to be released."""

    def released(self, sums, norms):
        self.seen = [*getattr(self, "seen", []), (sums["counts"].copy(), norms.copy())]
        return super().released(sums, norms)


def watched(X, y, users=None, most=1):
    family = family_of()
    training = Watched(
        rows_count=len(y), max_grad_norm=1.0, noise_multiplier=0.0, sampling_rate=1.0, steps=3,
        source=SimulationSource(0), users=users, max_records_per_user=most,
    )  # fmt: skip
    family.fit_privately(freeze(family.initial()), X, y, training, 5)
    return training.seen


def test_one_row_more_moves_the_histogram_of_each_tree_by_one():
    X, y = rows_of()
    for (more, norms), (less, _) in zip(watched(X, y), watched(X[1:], y[1:]), strict=True):
        assert np.linalg.norm(more - less) == pytest.approx(1.0)
        assert more.sum() == 60
        assert norms.tolist() == [1.0] * 60


def test_one_user_more_moves_the_histogram_of_each_tree_by_at_most_one():
    X, y = rows_of()
    X[:7], y[:7] = X[0], y[0]  # all rows of user 0 in one cell: a part of 7, cut to 1
    users = np.array([0] * 7 + [1 + i // 3 for i in range(53)])
    for (more, norms), (less, _) in zip(
        watched(X, y, users, 7), watched(X[7:], y[7:], users[7:], 7), strict=True
    ):
        assert np.linalg.norm(more - less) == pytest.approx(1.0)
        assert norms == pytest.approx(np.ones(len(norms)))


def test_noise_without_a_seed_enters_every_tree():
    family, rows = family_of(), rows_of()
    one, other = (grown(family, *rows, noise=2.0, source=SecureSource()) for _ in range(2))
    assert (one["threshold"] == other["threshold"]).all()
    differs = (one["value"] != other["value"]).any(axis=1).reshape(3, -1)
    # A leaf of about 7 rows under noise of deviation 2: all 8 of a tree agree with no chance.
    assert differs.any(axis=1).all()


def test_rows_beyond_the_bounds_fall_into_the_outer_leaves():
    family = family_of()
    model = grown(family, np.array([[1e30, -1e30, 0.0], [-1e30, 1e300, 1e9]]), np.array([0, 1]))
    family.check(model, freeze(family.initial()))


@pytest.mark.parametrize(("bounds", "says"), [
    ((0, 1, 2), "for each of 3"),
    ([[0, 1], [0, 1]], "for each of 3"),
    ((1, 1), r"got \[1.0, 1.0\]"),
    ([[0, 1], [2, 1], [0, 1]], r"got \[2.0, 1.0\]"),
    ((0, float("nan")), "finite"),
    ((0, float("inf")), "finite"),
    ((0, 1e39), "finite"),
    ("ab", "got 'ab'"),
    ([[0, 1], [0], [0, 1]], "for each of 3"),
])  # fmt: skip
def test_bounds_that_are_none_are_refused(bounds, says):
    with pytest.raises(ConfigError, match=says):
        PrivateGrowth.of(bounds, 4, 3, 2)


@pytest.mark.parametrize("depth", [0, 13, 2.5, True, "4"])
def test_a_depth_that_is_none_is_refused(depth):
    with pytest.raises(ConfigError, match="private_depth"):
        PrivateGrowth.of((0, 1), depth, 3, 2)


def test_one_pair_of_bounds_serves_all_features():
    both = [PrivateGrowth.of(each, 2, 3, 2) for each in ((0, 1), [[0, 1]] * 3)]
    assert np.array_equal(*[each.low for each in both])
    assert np.array_equal(*[each.high for each in both])


def test_what_has_no_private_form_is_refused():
    schema = Schema.of(3, range(3))
    growth = PrivateGrowth.of(BOUNDS, 3, 3, 3)
    family_of().require_private(CONFIG)
    with pytest.raises(ConfigError, match="needs bounds.*publicly"):
        ForestFamily(schema, 3, {}).require_private(CONFIG)
    with pytest.raises(ConfigError, match=r"\['max_depth'\].*private_depth"):
        ForestFamily(schema, 3, {"max_depth": 3}, growth).require_private(CONFIG)
    with pytest.raises(ConfigError, match="max_grad_norm must be 1, got 2.0"):
        family_of().require_private(CONFIG.model_copy(update={"max_grad_norm": 2.0}))
    with pytest.raises(ConfigError, match="expected_batch_size"):
        family_of().require_private(CONFIG.model_copy(update={"expected_batch_size": 9}))
    with pytest.raises(ConfigError, match="numbers.*SGDRegressor"):
        ForestFamily(Schema.of(3), 3, {}).require_private(CONFIG)


def test_a_step_is_a_tree_on_all_units():
    assert family_of(trees=7).private_length(120) == (120, 7, 1.0)


def test_a_learner_takes_the_settings_of_an_experiment_file():
    X, y = rows_of()
    learner = RandomForestLearner.from_settings(
        Schema.of(3, range(3)), train=(X[:30], y[:30]), vote=(X[30:], y[30:]),
        bounds=BOUNDS, private_depth=2, privacy=None,
    )  # fmt: skip
    assert len(learner.mli_propose_weights().weights["sizes"]) == 5
    with pytest.raises(ConfigError, match="bounds"):
        RandomForestLearner(train=(X, y), vote=(X, y), classes=range(3), bounds=(1, 0))


def test_private_forests_learn():
    # NOT PRIVATE: simulated noise, so that the number repeats. 50 trees at epsilon 8, delta 1e-5
    # need the multiplier 4.244.
    X, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order], y[order]
    bounds = np.column_stack([X.min(axis=0), X.max(axis=0)])
    family = family_of(trees=50, bounds=bounds.tolist(), depth=4, classes=2, features=30)
    scores = []
    for seed in range(3):
        model = grown(
            family, X[:400], y[:400], seed, trees=50, noise=4.244, source=SimulationSource(seed)
        )
        scores.append((family.predict(model, X[400:]).best == y[400:]).mean())
    assert np.mean(scores) > 0.83
