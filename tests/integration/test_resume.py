import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.integration.runner import Walker

from colearn.audit import audit, open_source, parse_head
from colearn.errors import ConfigError
from colearn.experiment import Collective

RUNNER = Path(__file__).with_name("runner.py")


def start(folder):
    return subprocess.Popen(
        [sys.executable, str(RUNNER), str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process):
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err.decode()
    return out.decode().strip()


def killed_until_done(folder, chance, kills_max=12):
    """Kill the run at random moments after it has gone on, and let it end at last."""
    path = folder / "observations.jsonl"
    for kills in range(kills_max):
        before = path.stat().st_size if path.exists() else 0
        process = start(folder)
        while process.poll() is None and (path.stat().st_size if path.exists() else 0) == before:
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.12))
        if process.poll() is not None:
            finish(process)
            return kills
        process.kill()
        process.communicate()
    finish(start(folder))
    return kills_max


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_if_nothing_had_happened(tmp_path):
    seed = int(os.environ.get("COLEARN_TEST_SEED", random.randrange(2**32)))
    print("seed", seed)
    finish(start(tmp_path / "whole"))
    kills = killed_until_done(tmp_path / "cut", random.Random(seed))
    assert kills >= 3
    whole, cut = ((tmp_path / name / "rounds.jsonl").read_bytes() for name in ("whole", "cut"))
    assert cut == whole
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert models[0] == models[1]
    assert audit(open_source(str(tmp_path / "cut")), bytecode=True).passed
    resumed = [
        note
        for line in (tmp_path / "cut" / "timings.jsonl").read_text().splitlines()
        if "resumed_at_round" in (note := json.loads(line))
    ]
    assert resumed
    assert all(set(note["local_state"].values()) == {"none"} for note in resumed)


def walkers():
    return [Walker(place) for place in range(5)]


def stopped_run(folder, rounds=3):
    run = Collective(walkers(), directory=folder, rounds=6)
    for _, _ in zip(range(rounds), run.rounds(), strict=False):
        pass
    run.close()
    return run


def test_a_run_goes_on_where_it_stopped_and_the_head_is_on_its_line(tmp_path):
    before = stopped_run(tmp_path / "run")
    again = Collective(walkers(), directory=tmp_path / "run", rounds=6, resume=True)
    assert [record.round_number for record in again.records_] == [1, 2, 3]
    assert [record.round_number for record in again.rounds()] == [4, 5, 6]
    assert again.over_
    report = audit(open_source(str(tmp_path / "run")), head=before.head_)
    assert report.passed, report


@pytest.mark.parametrize("cut", [1, 40, 10_000])
def test_records_that_were_cut_or_lost_are_written_again(tmp_path, cut):
    whole = stopped_run(tmp_path / "run")
    path = tmp_path / "run" / "rounds.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    again = Collective(walkers(), directory=tmp_path / "run", rounds=6, resume=True)
    assert path.read_bytes() == data
    assert again.records_ == whole.records_


def test_records_that_differ_from_the_ledger_are_refused(tmp_path):
    stopped_run(tmp_path / "run")
    path = tmp_path / "run" / "rounds.jsonl"
    path.write_text(path.read_text().replace("accepted", "rejected", 1))
    with pytest.raises(Exception, match=r"Round \d of rounds.jsonl is not what the ledger says"):
        Collective(walkers(), directory=tmp_path / "run", rounds=6, resume=True)


def test_a_run_goes_on_only_with_what_it_was_started_with(tmp_path):
    stopped_run(tmp_path / "run")
    for other in (
        {"rounds": 7},
        {"rounds": 6, "threshold": "3/5"},
        {"rounds": 6, "terms": {"a": 1}},
    ):
        with pytest.raises(ConfigError, match="other settings"):
            Collective(walkers(), directory=tmp_path / "run", resume=True, **other)
    with pytest.raises(ConfigError, match="other settings"):
        Collective(
            [*walkers()[:4], Walker(9)], directory=tmp_path / "run", rounds=6, resume=True, seed=1
        )


def test_two_processes_cannot_run_one_run(tmp_path):
    run = Collective(walkers(), directory=tmp_path / "run", rounds=6)
    next(run.rounds())
    with pytest.raises(ConfigError, match="Another process is running"):
        Collective(walkers(), directory=tmp_path / "run", rounds=6, resume=True)
    run.close()
    Collective(walkers(), directory=tmp_path / "run", rounds=6, resume=True).close()


def test_a_head_that_a_cut_ledger_has_lost_is_named(tmp_path):
    whole = stopped_run(tmp_path / "run")
    head = parse_head(str(whole.head_))
    import sqlite3

    db = sqlite3.connect(tmp_path / "run" / "ledger.db")
    db.execute("delete from rows where height > ?", (head.height - 2,))
    db.commit()
    db.close()
    source = str(tmp_path / "run")
    assert audit(open_source(source)).passed
    report = audit(open_source(source), head=head)
    assert not report.passed
    (finding,) = report.checks[-1].findings
    assert finding.rule == "7.9"
    assert f"row {head.height}" in finding.expected
