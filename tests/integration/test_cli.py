import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-c", "from colearn.cli import main; main()"]
ROOT = Path(__file__).parents[2]


def colearn(*arguments, cwd, **environment):
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1", **environment},
        check=False,
    )


def test_the_demo_tells_the_whole_story(tmp_path):
    run = colearn("demo", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "mallory" in run.stdout
    assert "REJECTED" in run.stdout
    assert "poisoned" in run.stdout
    folder = tmp_path / "runs" / "demo-1"
    assert {path.name for path in folder.iterdir()} == {
        ".lock", "blobs", "comparison.json", "experiment.toml", "ledger.db", "members.json",
        "model.safetensors", "observations.jsonl", "plot.png", "rounds.jsonl", "timings.jsonl",
    }  # fmt: skip
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert "NOT SECRET" in (folder / "members.json").read_text()
    head = next(line.split()[1] for line in run.stdout.splitlines() if line.startswith("head"))
    audit = colearn("audit", "runs/demo-1", "--bytecode", "--head", head, cwd=tmp_path)
    assert audit.returncode == 0, audit.stdout
    assert "Nothing was found" in audit.stdout
    again = colearn("run", str(folder / "experiment.toml"), "-d", "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    for name in ("rounds.jsonl", "comparison.json", "model.safetensors", "experiment.toml"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_same_bytes_with_one_core_and_with_all(tmp_path):
    def rounds(name, cores):
        code = (
            f"import os; os.sched_setaffinity(0, {cores!r}); from colearn.cli import main; main()"
        )
        subprocess.run(
            [sys.executable, "-c", code, "demo", "--json", "-d", name],
            cwd=tmp_path, check=True, capture_output=True, timeout=100,
        )  # fmt: skip
        return (tmp_path / name / "rounds.jsonl").read_bytes()

    cores = os.sched_getaffinity(0)
    assert rounds("one", {min(cores)}) == rounds("all", cores)


@pytest.mark.parametrize("task", ["iris", "breast_cancer", "diabetes"])
def test_json_is_one_document(task, tmp_path):
    run = colearn("demo", "--task", task, "--json", "--seed", "1", cwd=tmp_path)
    document = json.loads(run.stdout)
    assert document["rounds"] == 20
    assert document["seed"] == 1
    assert len(document["comparison"]["learners"]) == 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "none.toml"], 2, "Cannot read none.toml"),
        (["run", "bad.toml"], 2, "[vote.treshold] is not a known key. Did you mean 'threshold'?"),
        (["demo", "--task", "moon"], 2, "Use one of digits"),
        (["plot", "nowhere"], 2, "no run in nowhere"),
        (["demo", "--directory", "bad.toml/x"], 1, "Cannot write"),
        (["demo", "--seed", "-1"], 2, "seed"),
        (["fly"], 2, "fly"),
    ],
)
def test_errors_say_what_to_do_and_have_their_exit_code(arguments, code, message, tmp_path):
    (tmp_path / "bad.toml").write_text("[vote]\ntreshold = 0.5\n")
    run = colearn(*arguments, cwd=tmp_path)
    assert run.returncode == code, run.stderr
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_errors_as_json(tmp_path):
    run = colearn("run", "none.toml", "--json", cwd=tmp_path)
    assert json.loads(run.stdout)["error"] == "ConfigError"


def test_a_run_is_not_written_over(tmp_path):
    assert colearn("demo", "--json", "-d", "run", cwd=tmp_path).returncode == 0
    second = colearn("demo", "--json", "-d", "run", cwd=tmp_path)
    assert second.returncode == 2
    assert "holds a run already" in second.stderr


def test_a_killed_run_leaves_whole_records(tmp_path):
    process = subprocess.Popen(
        [*PROGRAM, "run", str(ROOT / "examples" / "digits.toml"), "-o", "rounds=100000", "-d", "r"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    records = tmp_path / "r" / "rounds.jsonl"
    deadline = time.monotonic() + 60
    while not (records.exists() and records.stat().st_size > 5000):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = records.read_text().splitlines()
    assert [json.loads(line)["round_number"] for line in lines[:-1]] == list(range(1, len(lines)))
    assert colearn("plot", "r", cwd=tmp_path).returncode == 0


def test_audit_exits_with_its_own_code_and_names_the_entry(tmp_path):
    assert colearn("demo", "--json", "-d", "run", cwd=tmp_path).returncode == 0
    db = sqlite3.connect(tmp_path / "run" / "ledger.db")
    db.execute("update rows set signature = zeroblob(65) where height = 30")
    db.commit()
    db.close()
    run = colearn("audit", "run", cwd=tmp_path)
    assert run.returncode == 9
    assert "entry 30" in run.stdout
    document = json.loads(colearn("audit", "run", "--json", cwd=tmp_path).stdout)
    assert not document["passed"]
    assert document["checks"][0]["findings"][0]["entry"] == 30
    for wrong in ("nothing", "run/experiment.toml"):
        refused = colearn("audit", wrong, cwd=tmp_path)
        assert refused.returncode in (2, 7)
        assert "Traceback" not in refused.stderr
    assert colearn("audit", "run", "--head", "5", cwd=tmp_path).returncode == 2


def test_a_run_goes_on_by_command_and_a_finished_one_changes_nothing(tmp_path):
    assert colearn("demo", "--json", "-d", "run", cwd=tmp_path).returncode == 0
    before = (tmp_path / "run" / "rounds.jsonl").read_bytes()
    again = colearn("run", "--resume", "run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "20 rounds" in again.stdout
    assert (tmp_path / "run" / "rounds.jsonl").read_bytes() == before
    refused = colearn("run", "--resume", "run", "-o", "rounds=3", cwd=tmp_path)
    assert (refused.returncode, "own settings" in refused.stderr) == (2, True)
    assert colearn("run", "--resume", "nowhere", cwd=tmp_path).returncode == 2
    twice = colearn("demo", "-d", "run", cwd=tmp_path)
    assert (twice.returncode, "--resume" in twice.stderr) == (2, True)
