"""The commands about privacy: plan, status and audit."""

import json
import math

import pytest
from typer.testing import CliRunner

from colearn.cli.app import app
from colearn.privacy import Partition, PrivacyLedger, SampledGaussian, ZeroConcentrated

EXPERIMENT = """\
name = "private"
rounds = 4

[task]
use = "colearn.tasks:iris"

[privacy.proposals]
target_epsilon = 4.0
noise = "{noise}"

[privacy.votes]
epsilon = 2.0
"""


def colearn(*words, code=0):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def told(*words, code=0):
    return json.loads(colearn(*words, "--json", code=code).splitlines()[0])


@pytest.fixture
def records(tmp_path):
    """A run whose member has spent some."""
    folder = tmp_path / "run" / "privacy" / "ada"
    ledger = PrivacyLedger.open(folder, "rows")
    train, vote = Partition("s", "train"), Partition("s", "vote")
    ledger.spend(train, SampledGaussian(2.0, 1.0, 1), epsilon=9, delta=1e-5, purpose="proposal")
    ledger.spend(vote, ZeroConcentrated(0.001), epsilon=9, delta=1e-6, purpose="vote")
    ledger.keep_vote("a question", True)
    return ledger


def describe(records, noise="secure"):
    run = records.path.parents[2]
    (run / "experiment.toml").write_text(EXPERIMENT.format(noise=noise))
    return run


def test_a_plan_says_what_proposals_and_votes_cost():
    plan = told("privacy", "plan", "--rows", 1000, "--vote-rows", 1000, "--votes", 200)
    training, voting = plan["training"], plan["voting"]
    assert training["proposals"] == 4
    turns, epsilons = zip(*training["epsilons"], strict=True)
    assert turns == (1, 2, 3, 4)
    assert list(epsilons) == sorted(epsilons)
    assert 8 * (1 - 1e-3) < epsilons[-1] <= 8
    assert 0.3 < training["cost"]["private"] <= 1
    assert voting["e0"] == pytest.approx(0.059, abs=1e-3)
    assert voting["margin"] == pytest.approx(math.log(3) / voting["e0"], rel=1e-6)
    assert voting["approve_null"] == pytest.approx(0.25, abs=1e-6)
    assert voting["approve_harm"] < 0.25
    assert voting["needed"]["0.95"] == pytest.approx(4.04 / (voting["e0"] * 1000), rel=2e-3)
    # Two approvals of four voters, each with a chance of 1/4: 1 - .75^4 - 4 * .25 * .75^3.
    assert voting["approvals"] == 2
    assert voting["pass_null"] == pytest.approx(0.2617, abs=1e-4)
    assert plan["warnings"] == []


def test_a_plan_warns_of_few_rows_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "plan.png"
    said = colearn(
        "privacy", "plan", "--rows", 200, "--vote-rows", 100, "--votes", 200, "--plot", picture
    )
    assert "200 training rows are few" in said
    assert "100 vote rows are few" in said
    assert "made-up" in said
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_plan_that_cannot_be_is_refused():
    assert "threshold" in colearn("privacy", "plan", "--threshold", "2", code=2)


def test_status_reads_every_record(records):
    found = told("privacy", "status", records.path.parent, "--delta", 1e-5)
    (dataset,) = found["datasets"]
    assert (dataset["dataset"], dataset["votes"], dataset["fault"]) == ("rows", 1, "")
    parts = {part["name"]: part for part in dataset["parts"]}
    assert parts["train"]["epsilon"] == pytest.approx(1.993, abs=1e-3)
    assert 0 < parts["vote"]["epsilon"] < 0.5
    assert told("privacy", "status", records.path.parents[2])["datasets"][0]["votes"] == 1
    said = colearn("privacy", "status", records.path.parents[1])
    assert "1e-06" in said
    assert "rows" in said
    assert "whole" in said


def test_status_of_a_run_is_at_the_deltas_of_its_experiment(records):
    (dataset,) = told("privacy", "status", describe(records))["datasets"]
    assert {part["name"]: part["delta"] for part in dataset["parts"]} == {
        "train": 1e-5,
        "vote": 1e-6,
    }


def test_status_tells_of_damage_and_names_the_line(records):
    records.path.write_text(records.path.read_text().replace("0.001", "0.0001"))
    said = colearn("privacy", "status", records.path.parent, code=10)
    assert "DAMAGED: Line 3" in said
    found = told("privacy", "status", records.path.parent, code=10)
    assert "Line 3" in found["datasets"][0]["fault"]


def test_status_of_nothing(tmp_path, monkeypatch):
    assert "There is no folder" in colearn("privacy", "status", tmp_path / "none", code=2)
    monkeypatch.setenv("COLEARN_PRIVACY", str(tmp_path))
    assert "No record of spends" in colearn("privacy", "status")


def test_the_audit_of_a_run_that_keeps_its_promises(records):
    report = told("privacy", "audit", describe(records))
    # By chance it finds something once in 10**7: each fault has to show in three draws in a row.
    assert report["passed"]
    assert report["limits"] == "A lower bound is not a guarantee: another attack may see more."
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["noise"]["verdict"] == "passed"
    assert "unit: example" in checks["noise"]["detail"]
    assert checks["spends"]["numbers"]["ada train epsilon"] == pytest.approx(1.993, abs=1e-3)
    for name in ("engine", "linear"):
        numbers = checks[f"mechanism: {name}"]["numbers"]
        assert numbers["lower bound"] < numbers["claimed epsilon"]


def test_the_audit_finds_simulated_noise_and_overspending(records):
    run = describe(records, noise="simulation")
    train = Partition("s", "train")
    for _ in range(3):
        records.spend(train, SampledGaussian(2.0, 1.0, 1), epsilon=9, delta=1e-5, purpose="more")
    said = colearn("privacy", "audit", run, code=9)
    assert "NOT PRIVATE" in said
    assert "4 was agreed" in said
    assert "A lower bound is not a guarantee" in said


def test_there_must_be_something_to_audit(tmp_path):
    assert "There is no" in colearn("privacy", "audit", tmp_path / "none", code=2)
    colearn("privacy", "audit", tmp_path, code=2)
