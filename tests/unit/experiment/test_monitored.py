import json
import math
from typing import ClassVar

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import f1_score

from colearn import Collective, SklearnLearner
from colearn.asking import monitored_by
from colearn.errors import ConfigError
from colearn.experiment import RoundRecord, VoteInverter, parse_config, plan
from colearn.experiment.journal import Journal
from colearn.worker import Observation

RNG = np.random.default_rng(5)
X = RNG.normal(size=(180, 4))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)


def learner(name, begin, **settings):
    return SklearnLearner(
        SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.1),
        train=(X[begin : begin + 40], Y[begin : begin + 40]),
        vote=(X[begin + 40 : begin + 60], Y[begin + 40 : begin + 60]),
        test=(X[120:], Y[120:]),
        classes=range(3),
        name=name,
        **settings,
    )


def group(**settings):
    return [learner("a", 0, **settings), learner("b", 60, **settings)]


def test_monitored_metrics_are_in_the_records_of_each_learner(tmp_path):
    run = Collective(
        group(monitor=("f1_macro", "neg_log_loss")), directory=tmp_path / "run", rounds=4
    )
    records = list(run.rounds(4))
    lines = (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()
    first = json.loads(lines[0])["monitored"]
    assert set(first) == {"a", "b"}
    assert set(first["a"]) == {"f1_macro", "neg_log_loss"}
    assert [RoundRecord.from_json(line) for line in lines] == records
    last = [each for each in records if each.outcome == "accepted"][-1]
    predicted = run.model_.predict(X[120:])
    assert last.monitored["a"]["f1_macro"] == pytest.approx(
        f1_score(Y[120:], predicted, average="macro")
    )
    assert last.monitored_medians["f1_macro"] == last.monitored["a"]["f1_macro"]
    assert "<th>f1_macro</th>" in run._repr_html_()


def test_a_run_without_monitors_has_the_lines_it_always_had(tmp_path):
    run = Collective(group(), directory=tmp_path / "run", rounds=2)
    records = list(run.rounds(2))
    for name in ("rounds.jsonl", "observations.jsonl"):
        assert "monitored" not in (tmp_path / "run" / name).read_text()
    assert RoundRecord.from_json(records[0].to_json()) == records[0]
    assert "f1" not in run._repr_html_()


def test_a_resumed_run_writes_the_monitored_metrics_again(tmp_path):
    whole = Collective(group(monitor=["f1_macro"]), directory=tmp_path / "run", rounds=3)
    list(whole.rounds(3))
    whole.close()
    path = tmp_path / "run" / "rounds.jsonl"
    written = path.read_text()
    path.write_text("")
    again = Collective(
        group(monitor=["f1_macro"]), directory=tmp_path / "run", rounds=3, resume=True
    )
    assert path.read_text() == written
    again.close()


@pytest.mark.parametrize("monitored", ["[]", "3", '{"a": 3}', "null"])
def test_forged_monitored_values_are_no_record(monitored):
    run = Collective(group(monitor=["f1_macro"]))
    (record,) = run.rounds(1)
    document = json.loads(record.to_json())
    document["monitored"] = json.loads(monitored)
    with pytest.raises(ConfigError, match="round record"):
        RoundRecord.from_json(json.dumps(document))


class Foreign:
    def __init__(self, monitored):
        self.monitored = monitored


def test_what_a_foreign_learner_monitors_is_taken_as_numbers_by_name_or_not_at_all():
    assert monitored_by(object()) == {}
    assert monitored_by(Foreign([1, 2])) == {}
    odd = {"auc": 1.0, "whole": 1, "no": "text", 3: 4.0, "x" * 101: 1.0, "yes": True, "none": None}
    assert monitored_by(Foreign(odd)) == {"auc": 1.0}
    assert len(monitored_by(Foreign({str(each): 1.0 for each in range(1000)}))) == 100


def test_a_value_that_is_none_is_null_in_the_record():
    class Odd(VoteInverter):
        monitored: ClassVar = {"auc": math.nan, "f1": 0.5}

    run = Collective([Odd(each) for each in group()])
    (record,) = run.rounds(1)
    assert record.monitored["a"] == {"auc": None, "f1": 0.5}
    assert record.monitored_medians == {"f1": 0.5}
    assert json.loads(record.to_json())["monitored"]["a"]["auc"] is None


def test_a_liar_reports_what_its_learner_monitors():
    assert monitored_by(VoteInverter(learner("a", 0, monitor=["f1_macro"]))) == {}
    liar = VoteInverter(learner("a", 0, monitor=["f1_macro"]))
    liar.mli_test_weights(liar.mli_propose_weights())
    assert set(monitored_by(liar)) == {"f1_macro"}


def test_an_experiment_file_names_metrics_with_the_learners_settings():
    config = parse_config(
        {
            "task": {"use": "colearn.tasks:iris", "split": {"learners": 3, "min_rows": 10}},
            "vote": {"mode": "classic"},
            "learner": {
                "with": {
                    "estimator": "sklearn.linear_model:SGDClassifier",
                    "loss": "log_loss",
                    "metric": "f1_macro",
                    "monitor": ["neg_log_loss"],
                    "class_weight": "balanced",
                }
            },
        }
    )
    made = plan(config).group()[0]
    judged = made.judge_current()
    assert set(judged.monitored) == {"neg_log_loss"}
    assert judged.monitored["neg_log_loss"] == pytest.approx(-math.log(3))
    assert config.terms()["learner"]["with"]["metric"] == "f1_macro"


def test_a_later_observation_adds_what_is_monitored_to_an_earlier_one():
    journal = Journal()
    journal(Observation(1, "a", reason="late"))
    journal(Observation(1, "a", 0.5, 0.25, monitored={"auc": 0.75}))
    journal(Observation(1, "a", failure="OSError"))
    seen = journal.of(1, "a")
    assert (seen.reason, seen.failure, seen.monitored) == ("late", "OSError", {"auc": 0.75})
