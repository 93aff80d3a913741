"""Somebody changes a run after the fact; the audit names the place (protocol section 8)."""

import random
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from tests.integration.runner import Walker

from colearn.audit import LogSource, Verdict, audit, open_source, parse_head
from colearn.core.chain import Entry, head_after
from colearn.errors import ColearnError, ConfigError
from colearn.experiment import Collective
from colearn.ledger import StoredRow
from colearn.ledger.reading import read_log


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a run of three learners."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run = Collective([Walker(place) for place in range(3)], directory=folder, rounds=3)
    assert any(record.outcome == "accepted" for record in run.rounds())
    run.close()
    return folder


@pytest.fixture(scope="module")
def log(whole):
    genesis, rows = read_log(whole / "ledger.db")
    return genesis, list(rows)


@pytest.fixture
def folder(whole, tmp_path):
    import shutil

    return shutil.copytree(whole, tmp_path / "run")


def audited(log, rows, **asked):
    return audit(LogSource("a copy", "embedded", log[0], rows, None), **asked)


def entries_named(report):
    return [finding.entry for check in report.checks for finding in check.findings]


def with_heads(log, rows):
    """Let the attacker compute the heads anew, as everybody can."""
    head, out = log[0].digest, []
    for stored in rows:
        head = head_after(head, stored.row)
        out.append(StoredRow(stored.row, head))
    return out


def flipped(data, place, bit=1):
    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


def variants(stored):
    """Yield the row with each of its bytes changed, one at a time."""
    row, head = stored
    entry = row.entry.encode()
    for place in range(len(entry)):
        try:
            changed = Entry.decode(flipped(entry, place))
        except ColearnError:
            continue
        yield StoredRow(replace(row, entry=changed), head)
    for place in range(len(row.signature)):
        yield StoredRow(replace(row, signature=flipped(row.signature, place)), head)
    for shift in (0, 8, 40):
        yield StoredRow(replace(row, stamp=row.stamp ^ 1 << shift), head)
    raw = bytes.fromhex(head)
    for place in range(len(raw)):
        yield StoredRow(row, flipped(raw, place).hex())


def test_the_run_itself_passes_by_rules_and_by_bytecode(whole, log):
    report = audit(open_source(str(whole)), bytecode=True, head=parse_head(head_of(log)))
    assert report.passed
    assert all(check.verdict is Verdict.PASSED for check in report.checks)


def test_a_log_of_another_contract_is_named_where_the_bytecode_is_asked_for(log):
    other = replace(log[0], contract="ab" * 32)
    report = audit(LogSource("a copy", "embedded", other, [], None), bytecode=True)
    (finding,) = [finding for check in report.checks for finding in check.findings]
    assert (finding.entry, finding.found) == (0, "ab" * 32)
    assert audit(LogSource("a copy", "embedded", other, [], None)).passed


def head_of(log):
    return f"{len(log[1])}:{log[1][-1].head}"


def test_any_one_byte_of_any_row_is_named(log):
    count = 0
    for height, stored in enumerate(log[1], start=1):
        for variant in variants(stored):
            rows = [*log[1][: height - 1], variant, *log[1][height:]]
            report = audited(log, rows)
            assert entries_named(report)[0] == height, (height, variant)
            count += 1
    assert count > 3000


def test_a_byte_of_an_entry_is_named_also_when_all_heads_are_made_to_fit(log):
    count = 0
    for height, stored in enumerate(log[1], start=1):
        for variant in random.Random(height).sample(list(variants(stored)), 20):
            if variant.row == stored.row or variant.row.stamp != stored.row.stamp:
                continue
            rows = with_heads(log, [*log[1][: height - 1], variant, *log[1][height:]])
            # Row 1 with another signature may be somebody else's; then row 2 is not that one's.
            named = entries_named(audited(log, rows))[0]
            assert named == height or (height, named) == (1, 2)
            count += 1
    assert count > 100


def test_rows_dropped_swapped_doubled_and_inserted_are_named(log):
    rows = log[1]
    changed = {}
    for height in range(1, len(rows)):
        changed["dropped", height] = [*rows[: height - 1], *rows[height:]]
        changed["doubled", height] = [*rows[:height], rows[height - 1], *rows[height:]]
        swapped = list(rows)
        swapped[height - 1], swapped[height] = swapped[height], swapped[height - 1]
        changed["swapped", height] = swapped
        changed["inserted", height] = [*rows[: height - 1], rows[-1], *rows[height - 1 :]]
    for (how, height), those in changed.items():
        place = height + (how == "doubled")
        assert entries_named(audited(log, those))[0] == place, (how, height)
        if how == "dropped" and height == len(rows) - 1:
            continue  # the last two of the same signer or not: see the test of cut tails
        forged = entries_named(audited(log, with_heads(log, those)))
        assert forged, (how, height)
        assert height <= forged[0] <= len(rows) + 1


def test_a_cut_tail_is_named_by_a_head_from_above_the_cut_and_not_without(log):
    rows = log[1]
    for cut in (1, 2, 5):
        assert audited(log, rows[:-cut]).passed
        report = audited(log, rows[:-cut], head=parse_head(head_of(log)))
        assert report.checks[-1].number == 14
        assert report.checks[-1].verdict is Verdict.FAILED


def test_another_tail_is_named_by_the_head_that_was_seen(log):
    head = parse_head(f"{len(log[1])}:{'ab' * 32}")
    (finding,) = audited(log, log[1], head=head).checks[-1].findings
    assert (finding.entry, finding.expected) == (len(log[1]), f"head {'ab' * 32}")


@pytest.mark.parametrize(
    "text", ["", "5", "5:zz", f"-1:{'ab' * 32}", f"5:{'AB' * 32}", f"x:{'ab' * 32}"]
)
def test_a_head_that_is_none(text):
    with pytest.raises(ConfigError, match="HEIGHT:HASH"):
        parse_head(text)


def test_bytes_changed_in_the_file_itself_are_named(folder):
    path = folder / "ledger.db"
    db = sqlite3.connect(path)
    columns = {"entry": bytes, "signature": bytes, "head": bytes, "stamp": int}
    count = db.execute("select count(*) from rows").fetchone()[0]
    chance = random.Random(3)
    for _ in range(40):
        height, column = chance.randint(1, count), chance.choice(list(columns))
        where = f"select {column} from rows where height = ?"
        before = db.execute(where, (height,)).fetchone()[0]
        after = (
            before + 1 if columns[column] is int else flipped(before, chance.randrange(len(before)))
        )
        db.execute(f"update rows set {column} = ? where height = ?", (after, height))
        db.commit()
        assert entries_named(audit(open_source(str(folder))))[0] == height
        db.execute(f"update rows set {column} = ? where height = ?", (before, height))
        db.commit()
    db.close()
    assert audit(open_source(str(folder))).passed


def accepted_blob(folder):
    import json

    lines = (folder / "rounds.jsonl").read_text().splitlines()
    record = next(record for line in lines if (record := json.loads(line))["outcome"] == "accepted")
    return folder / "blobs" / record["proposal"]


def blob_findings(folder):
    report = audit(open_source(str(folder)))
    return [finding for check in report.checks if check.number == 9 for finding in check.findings]


def test_a_blob_that_was_swapped_flipped_or_lost_is_named(folder):
    blob = accepted_blob(folder)
    data = blob.read_bytes()
    other = np.full(len(data), 7, np.uint8).tobytes()
    for change in (flipped(data, len(data) // 2), other, data[:-1], b""):
        blob.write_bytes(change)
        (finding,) = blob_findings(folder)
        assert finding.entry is not None
        assert blob.name in finding.expected
    blob.unlink()
    assert len(blob_findings(folder)) == 1
    blob.write_bytes(data)
    assert blob_findings(folder) == []
    specification = next(
        path for path in (folder / "blobs").iterdir() if path.read_bytes().startswith(b'{"format"')
    )
    specification.write_bytes(b"{}")
    assert [finding.rule for finding in blob_findings(folder)] == ["6.1"]


def test_the_ledger_of_another_run_is_not_this_one(folder, log, tmp_path):
    other = Collective(
        [Walker(place) for place in range(3)], directory=tmp_path / "other", rounds=3
    )
    list(other.rounds())
    other.close()
    genesis, rows = read_log(tmp_path / "other" / "ledger.db")
    mixed = LogSource("mixed", "embedded", log[0], rows, None)
    assert entries_named(audit(mixed))[0] == 1
    assert genesis.digest != log[0].digest
