"""Whole people are hidden where the unit is a user: the task's groups."""

import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.experiment import Collective, parse_config, plan
from colearn.experiment.config import TaskConfig
from colearn.schema import Schema
from colearn.tasks import Split, Task, divide

ROWS, PEOPLE = 240, 60


def visits():
    """Four visits of each of 60 people, of which the sign of a sum is to be told."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(ROWS, 3))
    y = (X.sum(axis=1) > 0).astype(np.int64)
    return Task("visits", X, y, Schema.of(3, [0, 1]), groups=np.arange(ROWS) % PEOPLE)


def config(**privacy):
    return parse_config(
        {
            "rounds": 4,
            "task": {
                "use": f"{__name__}:visits",
                "test_share": 0.2,
                "split": {"by": "iid", "learners": 2, "min_rows": 30},
            },
            "learner": {
                "use": "colearn.learners:SklearnLearner",
                "with": {
                    "estimator": "sklearn.linear_model:SGDClassifier",
                    "loss": "log_loss",
                    "learning_rate": "constant",
                    "eta0": 0.5,
                },
            },
            "privacy": privacy,
        }
    )


USER = {"unit": "user", "max_records_per_user": 3}


def test_nobody_is_voted_on_and_trained_on(tmp_path):
    prepared = plan(
        config(proposals={"target_epsilon": 8.0, **USER}, votes={"epsilon": 8.0, **USER}),
        tmp_path,
    )
    groups = prepared.task.groups
    for site in prepared.division.sites:
        assert not set(groups[site.train]) & set(groups[site.vote])
        assert len(site.vote) >= 0.3 * (len(site.train) + len(site.vote))
    run = Collective(prepared.group(), rounds=4)
    records = list(run.rounds())
    assert len(records) == 4
    assert all(each.proposal for each in records)
    assert run.over_
    run.close()


def test_a_task_without_groups_knows_no_users(tmp_path):
    asked = config(votes=USER).model_copy(update={"task": TaskConfig()})
    with pytest.raises(ConfigError, match="whose each row is"):
        plan(asked, tmp_path).group()


def test_one_person_alone_cannot_be_divided():
    task = visits()
    alone = Task("one", task.X, task.y, task.schema, groups=np.zeros(ROWS, np.int64))
    with pytest.raises(ConfigError, match="at least 2 groups"):
        divide(alone, Split(by="iid", learners=2), 0, whole_groups=True)
