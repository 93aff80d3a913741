import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from colearn.errors import ConfigError
from colearn.tasks import Split, partition

SEEDS = st.integers(0, 2**128)


@st.composite
def problems(draw):
    """Rows, groups and a split that may or may not be possible."""
    rows = draw(st.integers(1, 120))
    rng = np.random.default_rng(draw(SEEDS))
    y = rng.integers(0, draw(st.integers(1, 6)), rows)
    groups = rng.integers(0, draw(st.integers(1, 30)), rows)
    split = Split(
        by=draw(st.sampled_from(["iid", "quantity", "dirichlet", "pathological", "group"])),
        learners=draw(st.integers(1, 8)),
        alpha=draw(st.floats(0.01, 1000)),
        classes_per_learner=draw(st.integers(1, 4)),
        min_rows=draw(st.integers(1, 10)),
    )
    return y, groups, split


def parts_of(problem, seed):
    y, groups, split = problem
    try:
        return partition(y, groups, split, seed)
    except ConfigError as error:
        assert "task.split" in str(error)  # noqa: PT017 - an impossible problem is no failure
        return None


@given(problems(), SEEDS)
def test_parts_are_disjoint_complete_and_large_enough(problem, seed):
    parts = parts_of(problem, seed)
    assume(parts is not None)
    y, _, split = problem
    assert len(parts) == split.learners
    assert all(part.dtype == np.int64 and len(part) >= split.min_rows for part in parts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(y)))


@given(problems(), SEEDS)
def test_parts_follow_from_the_seed_alone(problem, seed):
    first = parts_of(problem, seed)
    np.random.default_rng().random()
    second = parts_of(problem, seed)
    assert (first is None) == (second is None)
    for one, other in zip(first or [], second or [], strict=True):
        assert np.array_equal(one, other)


@given(problems(), SEEDS)
def test_rows_of_one_group_stay_together(problem, seed):
    y, groups, split = problem
    split = Split("group", learners=split.learners, min_rows=1)
    parts = parts_of((y, groups, split), seed)
    assume(parts is not None)
    held = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, held)) == len(np.unique(groups))


@given(problems(), SEEDS)
def test_groups_are_never_further_apart_than_the_largest_one(problem, seed):
    y, groups, split = problem
    parts = parts_of((y, groups, Split("group", learners=split.learners, min_rows=1)), seed)
    assume(parts is not None)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= np.bincount(groups).max()


@given(problems(), SEEDS)
def test_a_pathological_learner_never_has_more_classes_than_allowed(problem, seed):
    y, groups, split = problem
    split = Split("pathological", split.learners, 0.5, split.classes_per_learner, 1)
    parts = parts_of((y, groups, split), seed)
    assume(parts is not None)
    assert all(len(np.unique(y[part])) <= split.classes_per_learner for part in parts)


@given(st.sampled_from(["iid", "quantity", "dirichlet", "pathological", "group"]), SEEDS)
def test_another_seed_gives_other_parts(by, seed):
    # Rows enough that two draws agree by chance once in more than 10 ** 20 runs.
    y, groups = np.arange(400) % 4, np.arange(400) // 4
    split = Split(by, learners=4, alpha=10.0, min_rows=1)
    first, other = (partition(y, groups, split, number) for number in (seed, seed + 1))
    assert any(not np.array_equal(one, two) for one, two in zip(first, other, strict=True))
