import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.schema import Schema
from colearn.tasks import Split, Task, divide

ROWS = 400


def make_task(rows=ROWS):
    y = np.arange(rows) % 4
    X = np.arange(rows, dtype=float).reshape(-1, 1)
    return Task("t", X, y, Schema.of(1, range(4)), groups=np.arange(rows) % 13)


def everything(division):
    return np.concatenate([division.test, *((np.r_[s.train, s.vote]) for s in division.sites)])


@pytest.mark.parametrize("by", ["iid", "quantity", "dirichlet", "pathological", "group"])
def test_every_row_is_in_exactly_one_set(by):
    division = divide(make_task(), Split(by, learners=4), 0)
    assert sorted(everything(division)) == list(range(ROWS))
    assert everything(division).dtype == np.int64


def test_the_pooled_rows_are_all_but_the_test_set():
    division = divide(make_task(), Split(), 0)
    pooled = division.pooled
    assert pooled.dtype == np.int64
    assert sorted([*pooled, *division.test]) == list(range(ROWS))


def test_the_shares_are_kept():
    division = divide(make_task(), Split(learners=4), 0, test_share=0.2, vote_share=0.25)
    assert len(division.test) == 80
    assert [(len(s.train), len(s.vote)) for s in division.sites] == [(60, 20)] * 4


def test_the_test_set_does_not_depend_on_the_split():
    tests = [
        divide(make_task(), split, 7).test
        for split in (Split(), Split("group"), Split("dirichlet", learners=3, alpha=2.0))
    ]
    assert all(np.array_equal(tests[0], test) for test in tests[1:])
    assert not np.array_equal(tests[0], divide(make_task(), Split(), 8).test)


def test_the_same_seed_gives_the_same_division():
    sequence = np.random.SeedSequence(5)
    seeds = (5, 5, sequence, sequence)
    first, *others = (divide(make_task(), Split("dirichlet"), seed) for seed in seeds)
    for other in others:
        assert np.array_equal(everything(first), everything(other))


def test_the_vote_set_is_a_random_sample_of_the_site():
    site = divide(make_task(), Split(learners=1), 0).sites[0]
    assert site.vote.max() > 300
    assert site.vote.min() < 100
    assert site.train.max() > 300


def test_there_may_be_no_test_set():
    division = divide(make_task(), Split(), 0, test_share=0)
    assert division.test.shape == (0,)
    assert len(division.pooled) == ROWS


@pytest.mark.parametrize(
    ("vote_share", "expected"), [(0.01, (18, 2)), (0.3, (14, 6)), (0.99, (1, 19))]
)
def test_a_site_always_votes_on_two_rows_and_trains_on_one(vote_share, expected):
    division = divide(make_task(20), Split(learners=1), 0, test_share=0, vote_share=vote_share)
    site = division.sites[0]
    assert (len(site.train), len(site.vote)) == expected


def test_a_learner_with_too_few_rows_to_cut_is_refused():
    with pytest.raises(ConfigError, match=r"at least 2 rows to vote and 1 to train on.*has 2"):
        divide(make_task(10), Split(learners=5, min_rows=1), 0, test_share=0)


def test_groups_stay_together_outside_the_test_set():
    task = make_task()
    owners = {}
    for number, site in enumerate(divide(task, Split("group"), 0).sites):
        for group in task.groups[np.r_[site.train, site.vote]]:
            assert owners.setdefault(group, number) == number


@pytest.mark.parametrize("share", [-0.1, 1.0, 2, float("nan"), "0.3", None])
def test_a_test_share_out_of_range_is_refused(share):
    with pytest.raises(ConfigError, match=r"task\.test_share"):
        divide(make_task(), Split(), 0, test_share=share)


@pytest.mark.parametrize("share", [0, 1.0, -1, float("nan"), "0.3", None])
def test_a_vote_share_out_of_range_is_refused(share):
    with pytest.raises(ConfigError, match=r"task\.vote_share"):
        divide(make_task(), Split(), 0, vote_share=share)


def test_a_test_set_that_leaves_too_few_rows_is_refused():
    with pytest.raises(ConfigError, match=r"min_rows = 20 need 100 rows, and there are 40"):
        divide(make_task(), Split(), 0, test_share=0.9)
