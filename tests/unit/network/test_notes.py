"""What a node writes down of a ledger, and what it makes of it after a restart."""

import json
import sqlite3
import stat

import pytest
from tests.logs import START, SetClock, filled_log

from colearn.errors import ColearnError, LedgerTamperedError, LedgerUnavailableError
from colearn.ledger import EmbeddedLedger, Head
from colearn.network.notes import Notes


@pytest.fixture
def log(tmp_path):
    return filled_log(tmp_path / "ledger.db", rounds=2, clock=SetClock())


@pytest.fixture
def notes(tmp_path):
    (tmp_path / "node").mkdir()
    return Notes(tmp_path / "node")


def read(path, now=START + 1000):
    ledger = EmbeddedLedger(path, clock=lambda: now)
    ledger.sync()
    return ledger


def cut(path, height):
    with sqlite3.connect(path) as db:
        db.execute("delete from rows where height > ?", (height,))
    db.close()


def test_a_log_that_still_has_what_was_seen_is_accepted(log, notes):
    with read(log) as ledger:
        notes.check_anchor(ledger)
        for height in (0, 1, ledger.head.height - 1, ledger.head.height):
            notes.keep_anchor(Head(height, ledger.replica.heads[height]))
            notes.check_anchor(ledger)


def test_a_log_that_lost_rows_is_refused_after_a_restart(log, notes):
    with read(log) as ledger:
        height = ledger.head.height
        notes.keep_anchor(ledger.head)
    cut(log, height - 1)
    with (
        read(log) as ledger,
        pytest.raises(LedgerTamperedError, match=f"{height - 1} rows") as info,
    ):
        notes.check_anchor(ledger)
    assert info.value.entry == height
    assert info.value.rule == "7.9"
    notes.keep_anchor(Head(height - 1, read_head(log)))
    with read(log) as ledger:
        notes.check_anchor(ledger)


def read_head(path):
    with read(path) as ledger:
        return ledger.head.digest


def test_another_history_is_refused_after_a_restart(log, notes, tmp_path):
    other = filled_log(tmp_path / "other.db", rounds=2, clock=SetClock())
    with read(other) as ledger:
        notes.keep_anchor(ledger.head)
    with read(log) as ledger, pytest.raises(LedgerTamperedError, match="Two histories"):
        notes.check_anchor(ledger)


def test_a_clock_that_is_behind_is_no_evidence_against_the_ledger(log, notes):
    with read(log) as ledger:
        notes.keep_anchor(ledger.head)
    with read(log, START - 1000) as ledger:
        assert ledger.held
        with pytest.raises(LedgerUnavailableError, match="clock"):
            notes.check_anchor(ledger)
    with read(log) as ledger:
        notes.check_anchor(ledger)


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b'{"height": 1}', b'{"height": "1", "head": "x"}',
     b'{"height": true, "head": "x"}', b'{"height": 1, "head": 1}', b"[" * 1024, b"\xff" * 9],
)  # fmt: skip
def test_an_anchor_that_is_damaged_accuses_nobody(log, notes, tmp_path, damage):
    (tmp_path / "node" / "anchor.json").write_bytes(damage)
    with read(log) as ledger:
        notes.check_anchor(ledger)


def test_evidence_says_what_was_wrong_and_only_its_owner_reads_it(notes, tmp_path):
    error = LedgerTamperedError("row 7 is another", entry=7, rule="7.9", hint="Compare heads.")
    notes.keep_evidence(error, Head(9, "ab" * 32))
    file = tmp_path / "node" / "evidence.json"
    said = json.loads(file.read_text())
    assert (said["rule"], said["entry"], said["head"]) == ("7.9", 7, f"9:{'ab' * 32}")
    assert "row 7 is another" in said["error"]
    assert said["time"] > START
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    notes.keep_evidence(error, None)
    assert json.loads(file.read_text())["head"] is None


def test_observations_and_forks_are_lines_that_are_appended(notes, tmp_path):
    notes.observe("one")
    Notes(tmp_path / "node").observe("two")
    assert (tmp_path / "node" / "observations.jsonl").read_text() == "one\ntwo\n"
    notes.keep_fork({"b": 1, "a": "é"})
    notes.keep_fork({})
    lines = (tmp_path / "node" / "forks.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"a": "é", "b": 1}, {}]


def test_what_cannot_be_written_is_an_error_and_leaves_nothing_behind(notes, tmp_path):
    node = tmp_path / "node"
    (node / "anchor.json").mkdir()
    (node / "observations.jsonl").mkdir()
    with pytest.raises(ColearnError, match=r"anchor\.json"):
        notes.keep_anchor(Head(1, "ab" * 32))
    with pytest.raises(ColearnError, match=r"observations\.jsonl"):
        notes.observe("one")
    assert sorted(each.name for each in node.iterdir()) == ["anchor.json", "observations.jsonl"]
    (node / "anchor.json").rmdir()
    notes.keep_anchor(Head(1, "ab" * 32))
    notes.keep_anchor(Head(2, "cd" * 32))
    assert json.loads((node / "anchor.json").read_text()) == {"height": 2, "head": "cd" * 32}
