"""The model card says what the run says, and nothing that a member wrote becomes markup."""

import json

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from colearn import Collective, SklearnLearner
from colearn.errors import ConfigError
from colearn.experiment import RunFolder, parse_config
from colearn.experiment.card import model_card
from colearn.schema import Schema

RNG = np.random.default_rng(5)
X = RNG.normal(size=(300, 3))
Y = (X[:, 0] > 0).astype(int)
HOSTILE = "<b>eve</b> | `x` [a](b)"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card") / "run"
    names = ["ada", "ben", HOSTILE]
    learners = [
        SklearnLearner(
            SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.1),
            train=(X[at : at + 60], Y[at : at + 60]),
            vote=(X[at + 60 : at + 100], Y[at + 60 : at + 100]),
            classes=(0, 1),
            name=name,
        )
        for at, name in zip((0, 100, 200), names, strict=True)
    ]
    run = Collective(learners, directory=folder, rounds=6, seed=1)
    list(run.rounds())
    run.close()
    return RunFolder.open(folder)


def card(run, **settings):
    config = parse_config({"name": "wards", "learner": {"use": "mine:make"}})
    schema = Schema.of(["age", "dose|mg", "x_1"], (0, 1))
    return model_card(run, config, schema, **{"cid": "bafy", "head": "9:ab", **settings})


def test_the_card_tells_the_last_accepted_round_with_its_scores(run):
    last = [each for each in run.records() if each.outcome == "accepted"][-1]
    text = card(run)
    assert f"| round | {last.round_number} |" in text
    assert "| weights | `bafy` |" in text
    assert "| ledger head | `9:ab` |" in text
    assert f"| {last.vote_scores['ada']:.4f} |" in text
    assert "2 classes: 0, 1" in text
    for section in ("Data", "Training", "Rounds", "Members", "Privacy", "Limits"):
        assert f"## {section}" in text


def test_the_card_of_an_earlier_round_counts_the_rounds_until_then(run):
    assert "Up to this model: 1 accepted." in card(run, round_number=1)


def test_a_round_that_accepted_nothing_has_no_card(run):
    with pytest.raises(ConfigError, match="Not round 99 accepted"):
        card(run, round_number=99)


def test_names_are_text_and_break_no_table(run):
    text = card(run)
    assert "<b>" not in text
    assert "[a](b)" not in text
    assert "dose\\|mg" in text
    members = text[text.index("## Members") :]
    rows = [line for line in members.splitlines() if line.startswith("| ") and "0x" in line]
    assert len(rows) == 3
    assert all(line.replace("\\|", "").count("|") == 6 for line in rows)


def test_a_simulated_key_is_called_so(run, tmp_path):
    assert "keys come from a seed" in card(run)
    other = tmp_path / "run"
    other.mkdir()
    for name in ("rounds.jsonl",):
        (other / name).write_text((run.path / name).read_text())
    document = run.document("members.json")
    (other / "members.json").write_text(json.dumps({"members": document["members"]}))
    assert "keys come from a seed" not in card(RunFolder.open(other))
