import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.tasks import Split, partition
from colearn.tasks.partition import ALPHA_MAX

Y = np.repeat(np.arange(10), 100)


def sizes(parts):
    return [len(part) for part in parts]


def test_an_even_split_differs_by_at_most_one_row():
    assert sizes(partition(Y[:998], None, Split("iid", learners=5), 0)) == [200, 200, 200, 199, 199]


@pytest.mark.parametrize("by", ["iid", "quantity", "dirichlet", "pathological"])
def test_another_seed_gives_another_split(by):
    first, second = (partition(Y, None, Split(by), seed) for seed in (0, 1))
    assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_quantity_split_keeps_the_labels_mixed_and_the_sizes_uneven():
    parts = partition(Y, None, Split("quantity", alpha=0.5), 3)
    assert max(sizes(parts)) > 2 * min(sizes(parts))
    largest = max(parts, key=len)
    assert len(np.unique(Y[largest])) == 10


def test_a_smaller_alpha_skews_the_labels_more():
    def largest_share(alpha):
        parts = partition(Y, None, Split("dirichlet", alpha=alpha, min_rows=1), 0)
        return np.mean([np.bincount(Y[part], minlength=10).max() / len(part) for part in parts])

    assert largest_share(0.1) > largest_share(1.0) > largest_share(100.0)


@pytest.mark.parametrize(("learners", "classes"), [(5, 2), (10, 2), (4, 3), (3, 10), (10, 1)])
def test_a_pathological_learner_has_few_classes(learners, classes):
    split = Split("pathological", learners=learners, classes_per_learner=classes, min_rows=1)
    for part in partition(Y, None, split, 0):
        assert len(np.unique(Y[part])) == classes


@pytest.mark.parametrize(("learners", "classes"), [(4, 2), (1, 9), (3, 11)])
def test_classes_that_cannot_be_dealt_are_refused(learners, classes):
    split = Split("pathological", learners=learners, classes_per_learner=classes)
    with pytest.raises(ConfigError, match=r"task\.split\.classes_per_learner.*there are 10"):
        partition(Y, None, split, 0)


def test_groups_are_balanced_by_rows():
    groups = np.repeat(["a", "b", "c", "d", "e", "f"], [60, 50, 40, 30, 20, 10])
    parts = partition(np.zeros(210), groups, Split("group", learners=3), 0)
    assert sizes(parts) == [70, 70, 70]


def test_groups_of_equal_size_are_dealt_by_the_seed():
    groups = np.repeat(np.arange(20), 5)
    split = Split("group", learners=4)
    first, again, other = (partition(np.zeros(100), groups, split, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (None, "the task has none"),
        (np.repeat(["a", "b", "c"], 100)[:300], "as many groups, and there are 3"),
        (np.repeat(["a", "b"], 5), "each of 300 rows, got 10"),
    ],
)
def test_groups_that_cannot_be_dealt_are_refused(groups, message):
    with pytest.raises(ConfigError, match=message):
        partition(np.zeros(300), groups, Split("group", learners=5), 0)


@pytest.mark.parametrize("by", ["dirichlet", "pathological"])
def test_a_regression_target_has_no_classes_to_deal(by):
    with pytest.raises(ConfigError, match="deals by class, and the target is numbers") as caught:
        partition(np.linspace(0, 1, 200), None, Split(by), 0)
    assert "quantity" in caught.value.hint


@pytest.mark.parametrize("by", ["iid", "quantity", "group"])
def test_a_regression_target_can_be_dealt_otherwise(by):
    parts = partition(np.linspace(0, 1, 500), np.arange(500) % 7, Split(by), 0)
    assert sum(sizes(parts)) == 500


def test_text_labels_can_be_dealt():
    y = np.repeat(["no", "yes"], 100)
    assert sum(sizes(partition(y, None, Split("dirichlet", alpha=5.0, learners=3), 0))) == 200


@pytest.mark.parametrize("by", ["iid", "quantity", "dirichlet", "pathological", "group"])
def test_too_few_rows_are_refused_before_anything_is_drawn(by):
    with pytest.raises(ConfigError, match=r"1000000000 learners .* need 20000000000 rows"):
        partition(Y, Y, Split(by, learners=10**9), 0)


@pytest.mark.parametrize("by", ["quantity", "dirichlet"])
@pytest.mark.parametrize("alpha", [1e-300, 1e-3])
def test_a_skew_that_never_leaves_enough_rows_is_refused_with_counts(by, alpha):
    # Each of the two classes goes to one learner nearly whole, so three have next to nothing.
    with pytest.raises(ConfigError, match=r"min_rows = 20 rows: the parts have \[") as caught:
        partition(Y % 2, None, Split(by, alpha=alpha), 0)
    assert "Raise task.split.alpha" in caught.value.hint


def test_uneven_groups_that_leave_too_few_rows_are_refused():
    groups = np.repeat(["a", "b"], [95, 5])
    with pytest.raises(ConfigError, match=r"the parts have \[") as caught:
        partition(np.zeros(100), groups, Split("group", learners=2), 0)
    assert "groups of more equal size" in caught.value.hint


def test_rare_classes_that_leave_too_few_rows_are_refused():
    y = np.repeat([0, 1], [95, 5])
    split = Split("pathological", learners=2, classes_per_learner=1)
    with pytest.raises(ConfigError, match=r"task\.split\.min_rows = 20"):
        partition(y, None, split, 0)


def test_the_largest_alpha_deals_equal_shares():
    assert sizes(partition(Y, None, Split("quantity", alpha=ALPHA_MAX), 0)) == [200] * 5


@pytest.mark.parametrize(("by", "alpha"), [("quantity", 0.5), ("dirichlet", 0.2)])
def test_a_split_is_drawn_again_until_everybody_has_enough(by, alpha):
    # With min_rows = 1 some of these seeds leave a learner fewer than 60 of 1000 rows.
    loose = [partition(Y, None, Split(by, alpha=alpha, min_rows=1), seed) for seed in range(20)]
    tight = [partition(Y, None, Split(by, alpha=alpha, min_rows=60), seed) for seed in range(20)]
    assert min(min(sizes(parts)) for parts in loose) < 60
    assert min(min(sizes(parts)) for parts in tight) >= 60


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"by": "random"}, "by"),
        ({"learners": 0}, "learners"),
        ({"learners": 2.0}, "learners"),
        ({"learners": True}, "learners"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": -1}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"alpha": float("inf")}, "alpha"),
        ({"alpha": 1.1e9}, "alpha"),
        ({"alpha": "0.5"}, "alpha"),
        ({"alpha": True}, "alpha"),
        ({"classes_per_learner": 0}, "classes_per_learner"),
        ({"min_rows": 0}, "min_rows"),
        ({"min_rows": "20"}, "min_rows"),
    ],
)
def test_a_bad_setting_is_named_by_its_key(change, key):
    with pytest.raises(ConfigError, match=rf"task\.split\.{key} must be"):
        Split(**change)


@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_a_seed_must_be_a_whole_number(seed):
    with pytest.raises(ConfigError, match="A seed must be"):
        partition(Y, None, Split(), seed)
