"""`colearn ledger serve` as a real process: start, use, signals, refusals."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from threading import Thread

import pytest
from tests.logs import CREATE, ME, filled_log, make_log

from colearn.errors import LedgerUnavailableError
from colearn.ledger import EmbeddedLedger
from colearn.ledger.hosted import HostedLedger

COMMAND = [sys.executable, "-c", "from colearn.cli import main; main()", "ledger", "serve"]
ADDRESS = ME.address


@contextmanager
def serving(*words):
    """Run the command; yield the process and what it printed when it was ready."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, words), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate(timeout=30)


def run(*words):
    done = subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def test_a_new_ledger_is_made_served_used_and_served_again(tmp_path):
    path = tmp_path / "ledger.db"
    for number in (1, 2):
        with serving(path, "--create", "--creator", ADDRESS) as (process, said):
            with HostedLedger(said["url"], expected_genesis=said["genesis"]) as view:
                assert view.submit(ME, CREATE)[0].experiment == number
                assert view.genesis.creator == ADDRESS
                assert view.genesis.drift_s == 5
            assert said["path"] == str(path)
            process.terminate()
            out, err = process.communicate(timeout=30)
            assert (process.returncode, out, err) == (0, "", "")
    assert [each.name for each in tmp_path.iterdir()] == ["ledger.db"]
    with EmbeddedLedger(path) as view:
        assert view.sync() == 2


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_at_once_and_cleanly_though_somebody_waits(tmp_path, number):
    path = make_log(tmp_path / "ledger.db")
    with serving(path) as (process, said):
        outcome = []

        def wait():
            with HostedLedger(said["url"]) as view:
                outcome.append(view.wait(0.5))
                process.send_signal(number)
                try:
                    outcome.append(view.wait(25))
                except LedgerUnavailableError as error:
                    outcome.append(type(error).__name__)

        waiting = Thread(target=wait)
        waiting.start()
        out, err = process.communicate(timeout=20)
        waiting.join(30)
        assert (process.returncode, out, err) == (0, "", "")
        assert outcome[0] is False
        assert outcome[1] in (False, "LedgerUnavailableError")
    assert [each.name for each in tmp_path.iterdir()] == ["ledger.db"]


def test_a_killed_server_loses_nothing_that_was_answered(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    with serving(path) as (process, said), HostedLedger(said["url"]) as view:
        for _ in range(5):
            view.submit(ME, CREATE)
        process.kill()
        process.wait(30)
        head = view.head
    with serving(path) as (_, said), HostedLedger(said["url"]) as view:
        assert view.sync() == 5
        assert view.head == head


def test_people_are_told_the_address_and_the_genesis(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    process = subprocess.Popen(
        [*COMMAND, str(path), "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        lines = [process.stdout.readline() for _ in range(4)]
    finally:
        process.terminate()
        process.communicate(timeout=30)
    with EmbeddedLedger(path) as view:
        assert lines[0].startswith("url      http://127.0.0.1:")
        assert lines[1] == f"genesis  {view.genesis.digest}\n"


def test_what_its_owner_should_know_is_said_on_standard_error(tmp_path):
    path = make_log(tmp_path / "ledger.db", drift_s=0)
    with serving(path, "--host", "0.0.0.0") as (process, said):
        assert said["url"].startswith("http://0.0.0.0:")
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert "--certfile" in err
    assert "one process" in err


def test_a_file_that_is_not_there_is_refused_without_create(tmp_path):
    done = run(tmp_path / "nowhere.db", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"] == "ConfigError"
    assert list(tmp_path.iterdir()) == []


def test_a_creator_that_is_no_address_is_refused_before_anything_is_made(tmp_path):
    done = run(tmp_path / "ledger.db", "--create", "--creator", "me")
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_named(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    with serving(path) as (_, said):
        port = said["url"].rpartition(":")[2]
        done = run(path, "--port", port)
        assert done.returncode == 2
        assert port in done.stderr


def test_a_damaged_log_is_not_served(tmp_path):
    import sqlite3

    path = filled_log(tmp_path / "ledger.db", rounds=1)
    with sqlite3.connect(path) as db:
        db.execute("update rows set signature = zeroblob(65) where height = 4")
    db.close()
    done = run(path)
    assert done.returncode == 7
    assert "Row 4 is not valid" in done.stderr
    assert done.stdout == ""


def test_certificates_that_are_not_there_are_named(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    done = run(path, "--certfile", tmp_path / "no.pem")
    assert done.returncode == 2
    assert "no.pem" in done.stderr
