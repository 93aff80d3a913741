"""Private runs by command: what they write, what an export spends, and the private demo."""

import json
import subprocess
import sys

import pytest
from tests.private_learners import ledgers, spends
from typer.testing import CliRunner

from colearn.cli.app import app

EXPERIMENT = """
name = "private-digits"
rounds = 6
[task]
use = "colearn.tasks:digits"
split = { by = "iid", learners = 3 }
[learner]
use = "colearn.learners:SklearnLearner"
[learner.with]
estimator = "sklearn.linear_model:SGDClassifier"
loss = "log_loss"
learning_rate = "constant"
eta0 = 1.0
damping = 1.0
[privacy.proposals]
target_epsilon = 8.0
expected_batch_size = 10000
steps_per_proposal = 20
[privacy.votes]
epsilon = 8.0
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLEARN_PRIVACY", str(tmp_path / "home"))
    (tmp_path / "experiment.toml").write_text(EXPERIMENT)
    return tmp_path


def colearn(*words, code=0):
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.stdout + done.stderr
    return done


def apart(*words):
    """Run a command as a process of its own, which lets go of the run at its end."""
    program = [sys.executable, "-c", "from colearn.cli import main; main()"]
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def written(folder):
    return {ledger.path: ledger.path.read_bytes() for ledger in ledgers(folder)}


def test_a_private_run_keeps_its_own_record_and_neither_export_nor_resumption_spends(place):
    summary = apart("run", "experiment.toml", "-d", "run", "--json")
    assert summary["rounds"] == 6
    assert summary["privacy"][0].startswith("Proposals: at most (8, 1e-05)")
    # Not the record of this machine's data: these members are simulated.
    assert not (place / "home").exists()
    before = written(place / "run" / "privacy")
    assert sorted(path.parent.name for path in before) == ["ada", "ben", "cleo"]
    assert len(spends(place, "train")) == 6
    rounds = (place / "run" / "rounds.jsonl").read_bytes()
    again = apart("run", "--resume", "run", "--json")
    assert again["model"] == summary["model"]
    assert (place / "run" / "rounds.jsonl").read_bytes() == rounds
    assert written(place / "run" / "privacy") == before
    assert "Nothing was found" in colearn("audit", "run", "--head", summary["head"]).stdout
    pytest.importorskip("onnxruntime")
    colearn("export", "run", "model.onnx")
    assert "differential privacy for one row" in (place / "model.md").read_text()
    assert written(place / "run" / "privacy") == before
    assert not (place / "home").exists()


def test_a_private_run_shows_its_terms_and_no_score(place):
    shown = colearn("run", "experiment.toml", "-d", "run").stdout
    assert "differential privacy for one row" in " ".join(shown.split())
    assert "nan" not in shown.lower()


@pytest.mark.slow
def test_the_private_demo_learns_within_its_budget(place):
    document = json.loads(colearn("demo", "--private", "--json", "-d", "demo").stdout)
    assert document["rounds"] == 20
    assert document["accepted"] >= 5
    assert not (place / "home").exists()
    # Without a private vote together they reach 0.9 here, and a constant class 0.1.
    assert document["comparison"]["together"] > 0.4
    assert len(document["privacy"]) == 3
    records = [
        json.loads(line) for line in (place / "demo" / "rounds.jsonl").read_text().splitlines()
    ]
    assert {each["score"] for each in records} == {None}
    done = json.loads(colearn("audit", "demo", "--json").stdout)
    (check,) = (each for each in done["checks"] if each["number"] == 11)
    assert check["detail"] == "20 claims read"
    for ledger in ledgers(place / "demo" / "privacy"):
        ledger.verify()
    assert len(spends(place / "demo", "train")) == 20
    assert len(spends(place / "demo", "vote")) == 80


def test_there_is_no_private_demo_on_few_rows(place):
    refused = colearn("demo", "--private", "--task", "iris", code=2)
    assert "too few rows for privacy" in refused.stderr
