import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colearn.errors import (
    BudgetExceededError,
    PrivacyError,
    SpendsCorruptError,
    SpendsUnavailableError,
)
from colearn.privacy import Partition, PrivacyLedger
from colearn.privacy._lines import LINE_BYTES_MAX, _sealed
from colearn.privacy.accountant import SampledGaussian, ZeroConcentrated, epsilon_of

VOTE = Partition("one", "vote")
DELTA = 1e-6
POSIX = pytest.mark.skipif(os.name == "nt", reason="no such system calls")

START = """
import os, signal, sys
from pathlib import Path
from colearn.errors import PrivacyError
from colearn.privacy import Partition, PrivacyLedger
from colearn.privacy.accountant import ZeroConcentrated
ledger = PrivacyLedger.open(Path(sys.argv[1]), "d")
vote = Partition("one", "vote")
def spend(rho=0.0078125, limit=1e3):
    ledger.spend(vote, ZeroConcentrated(rho), epsilon=limit, delta=1e-6, purpose="p")
"""


def child(folder, code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", START + code, str(folder), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def spend(ledger, rho=0.0078125, limit=1e3):
    return ledger.spend(VOTE, ZeroConcentrated(rho), epsilon=limit, delta=DELTA, purpose="p")


def epsilon(count):
    return epsilon_of([ZeroConcentrated(0.0078125 * count)], DELTA) if count else 0.0


@pytest.fixture
def ledger(tmp_path):
    """A record of three spends and a vote."""
    found = PrivacyLedger.open(tmp_path, "d")
    for _ in range(2):
        spend(found)
    found.keep_vote("q", True)
    spend(found)
    return found


def test_processes_that_spend_at_once_stay_below_the_target_together(tmp_path):
    PrivacyLedger.open(tmp_path, "d")
    code = """
print('ready', flush=True)
sys.stdin.readline()
allowed = 0
for _ in range(12):
    try:
        spend(limit=float(sys.argv[2]))
        allowed += 1
    except PrivacyError:
        pass
print(allowed)
"""
    # As many as 20 fit, and 36 are tried.
    children = [child(tmp_path, code, repr(epsilon(20))) for _ in range(3)]
    assert [process.stdout.readline() for process in children] == ["ready\n"] * 3
    for process in children:
        process.stdin.write("\n")
        process.stdin.flush()
    allowed = [int(process.communicate(timeout=60)[0]) for process in children]
    assert sum(allowed) == 20
    ledger = PrivacyLedger.open(tmp_path, "d")
    ledger.verify()
    assert ledger.consumed(VOTE, DELTA) == epsilon(20)


def test_processes_that_begin_a_record_at_once_begin_one(tmp_path):
    children = [child(tmp_path / "new", "spend()") for _ in range(3)]
    assert [process.communicate(timeout=60)[0] for process in children] == [""] * 3
    assert [process.returncode for process in children] == [0, 0, 0]
    assert PrivacyLedger.open(tmp_path / "new", "d").consumed(VOTE, DELTA) == epsilon(3)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["d.spends.jsonl"]


def test_who_comes_second_does_not_begin_it_anew(ledger, monkeypatch):
    # As if the record had been made between the look and the deed.
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    again = PrivacyLedger.open(ledger.path.parent, "d")
    assert again.consumed(VOTE, DELTA) == ledger.consumed(VOTE, DELTA) == epsilon(3)


@POSIX
def test_who_dies_between_spend_and_training_has_spent(tmp_path):
    code = """
spend()
os.kill(os.getpid(), signal.SIGKILL)
print("training")
"""
    process = child(tmp_path, code)
    assert process.communicate(timeout=60)[0] == ""
    assert process.returncode == -signal.SIGKILL
    assert PrivacyLedger.open(tmp_path, "d").consumed(VOTE, DELTA) == epsilon(1)


@POSIX
def test_who_dies_after_a_vote_gives_the_same_vote_again_and_spends_no_more(tmp_path):
    code = """
if ledger.vote_of("M M'") is None:
    spend()
    ledger.keep_vote("M M'", False)
    os.kill(os.getpid(), signal.SIGKILL)
print(ledger.vote_of("M M'"))
"""
    first = child(tmp_path, code)
    assert (first.communicate(timeout=60)[0], first.returncode) == ("", -signal.SIGKILL)
    assert child(tmp_path, code).communicate(timeout=60)[0] == "False\n"
    assert PrivacyLedger.open(tmp_path, "d").consumed(VOTE, DELTA) == epsilon(1)


def test_a_line_that_was_never_finished_is_cut_wherever_its_writer_stopped(ledger):
    whole = ledger.path.read_bytes()
    begin = whole[:-1].rfind(b"\n") + 1
    for end in range(begin, len(whole) - 1):
        ledger.path.write_bytes(whole[:end])
        again = PrivacyLedger.open(ledger.path.parent, "d")
        assert again.consumed(VOTE, DELTA) == epsilon(2)
        assert ledger.path.read_bytes() == whole[:begin]
        assert again.vote_of("q") is True
    spend(again)
    again.verify()


def test_a_line_that_lacks_only_its_break_counts(ledger):
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole[:-1])
    again = PrivacyLedger.open(ledger.path.parent, "d")
    assert spend(again) == epsilon(4)
    again.verify()
    assert ledger.path.read_bytes().startswith(whole)


def test_any_other_byte_refuses_and_nothing_is_mended(ledger):
    whole = ledger.path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        ledger.path.write_bytes(damaged)
        with pytest.raises(SpendsCorruptError) as caught:
            PrivacyLedger.open(ledger.path.parent, "d")
        assert ledger.path.read_bytes() == damaged
        if damaged[place] != 10:
            assert f"Line {whole[:place].count(10) + 1} of" in str(caught.value)
    ledger.path.write_bytes(whole)
    assert ledger.consumed(VOTE, DELTA) == epsilon(3)


def test_lines_deleted_swapped_doubled_or_from_elsewhere_refuse(ledger, tmp_path):
    other = PrivacyLedger.open(tmp_path / "other", "d")
    spend(other, 0.5)
    found = ledger.path.read_bytes().splitlines(keepends=True)
    foreign = other.path.read_bytes().splitlines(keepends=True)[1]
    cases = [
        ([*found[:1], *found[2:]], 2),
        ([*found[:3], *found[4:]], 4),
        (found[1:], 1),
        ([], 1),
        ([found[0], found[2], found[1], *found[3:]], 2),
        ([*found, found[-1]], 6),
        ([*found[:2], found[1], *found[2:]], 3),
        ([*found, foreign], 6),
        ([*found, b"\n"], 6),
        ([*found, b"null\n"], 6),
        ([*found[:3], b"[" * LINE_BYTES_MAX * 2 + b"\n"], 4),
        ([*found, b"\0" * (LINE_BYTES_MAX + 1)], None),
    ]
    for damaged, line in cases:
        data = b"".join(damaged)
        ledger.path.write_bytes(data)
        with pytest.raises(SpendsCorruptError, match=f"Line {line} of" if line else "too long"):
            PrivacyLedger.open(ledger.path.parent, "d")
        assert ledger.path.read_bytes() == data


def test_an_open_record_notices_what_happens_to_its_file(ledger):
    whole = ledger.path.read_bytes()
    found = whole.splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(found[:-1]))
    with pytest.raises(SpendsCorruptError, match="shortened"):
        spend(ledger)
    # Cut, and grown again by somebody else.
    spend(PrivacyLedger.open(ledger.path.parent, "d"), 0.25)
    spend(PrivacyLedger.open(ledger.path.parent, "d"), 0.25)
    with pytest.raises(SpendsCorruptError, match="changed since"):
        spend(ledger)
    ledger.path.write_bytes(whole.replace(b'"vote":true', b'"vote":null'))
    with pytest.raises(SpendsCorruptError, match="Line 4 of"):
        ledger.verify()
    ledger.path.write_bytes(whole)
    ledger.verify()
    shutil.copy(ledger.path, ledger.path.with_name("copy"))
    ledger.path.with_name("copy").replace(ledger.path)
    with pytest.raises(SpendsCorruptError, match="replaced"):
        ledger.consumed(VOTE, DELTA)
    ledger.path.unlink()
    with pytest.raises(SpendsCorruptError, match="gone"):
        ledger.consumed(VOTE, DELTA)
    assert not ledger.path.exists()


def test_the_record_of_another_dataset_is_no_record(ledger):
    shutil.copy(ledger.path, ledger.path.with_name("e.spends.jsonl"))
    with pytest.raises(SpendsCorruptError, match="Line 1 of"):
        PrivacyLedger.open(ledger.path.parent, "e")


@POSIX
def test_a_full_disk_keeps_nothing(ledger):
    whole = ledger.path.read_bytes()
    code = """
import resource
def room(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
size = ledger.path.stat().st_size
# From the first byte of a line to all but its last.
for more in (0, 1, 50, 200):
    room(size + more)
    for act in (spend, lambda: ledger.keep_vote("other", True)):
        try:
            act()
            print("written")
        except PrivacyError as error:
            print(type(error).__name__)
    assert ledger.path.stat().st_size == size
room(resource.RLIM_INFINITY)
spend()
"""
    process = child(ledger.path.parent, code)
    assert process.communicate(timeout=60)[0] == "SpendsUnavailableError\n" * 8
    assert process.returncode == 0
    assert ledger.path.read_bytes().startswith(whole)
    assert ledger.consumed(VOTE, DELTA) == epsilon(4)
    ledger.verify()


@POSIX
def test_what_cannot_be_taken_back_stops_the_record(ledger, monkeypatch):
    real = os.fsync

    def broken(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(SpendsUnavailableError, match="Input/output error"):
        spend(ledger)
    monkeypatch.setattr(os, "fsync", real)
    with pytest.raises(SpendsUnavailableError, match="taken back"):
        spend(ledger)
    again = PrivacyLedger.open(ledger.path.parent, "d")
    assert again.consumed(VOTE, DELTA) == epsilon(3)


@POSIX
@pytest.mark.parametrize("target", ["/dev/full", "/dev/null", "a folder", "a pipe"])
def test_only_a_plain_file_is_a_record(tmp_path, target):
    path = tmp_path / "d.spends.jsonl"
    if target == "a folder":
        path.mkdir()
    elif target == "a pipe":
        os.mkfifo(path)
    elif not Path(target).exists():
        pytest.skip(f"no {target}")
    else:
        path.symlink_to(target)
    with pytest.raises(SpendsUnavailableError):
        PrivacyLedger.open(tmp_path, "d")


def test_a_folder_that_cannot_be_written_keeps_no_record(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpendsUnavailableError, match="COLEARN_PRIVACY"):
        PrivacyLedger.open(tmp_path / "file", "d")
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    try:
        if os.access(locked, os.W_OK):
            pytest.skip("this user may write everywhere")
        with pytest.raises(SpendsUnavailableError, match="Permission denied"):
            PrivacyLedger.open(locked, "d")
    finally:
        locked.chmod(0o700)


def test_a_spent_budget_refuses_before_anything_is_written(ledger):
    whole = ledger.path.read_bytes()
    with pytest.raises(BudgetExceededError):
        spend(ledger, limit=epsilon(3))
    assert ledger.path.read_bytes() == whole


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
GAUSSIAN = {
    "split": "one", "name": "vote", "kind": "gaussian", "noise_multiplier": 1.0,
    "sampling_rate": 0.5, "count": 1, "purpose": "p", "time": 1,
}  # fmt: skip
ZCDP = {"split": "one", "name": "vote", "kind": "zcdp", "rho": 0.5, "purpose": "p", "time": 1}
QUESTION = {"question": "0" * 64, "vote": True}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.sampled_from([GAUSSIAN, ZCDP, QUESTION]), st.data())
def test_well_sealed_nonsense_is_corrupt_or_in_range(tmp_path, good, data):
    keys = st.sampled_from(sorted(good)) | st.text(max_size=8)
    line = {**good, **data.draw(st.dictionaries(keys, ANY, max_size=2))}
    for key in data.draw(st.lists(st.sampled_from(sorted(good)), max_size=1)):
        del line[key]
    check(tmp_path, line)


@pytest.mark.parametrize(
    "line",
    [
        ZCDP | {"rho": -0.1}, ZCDP | {"rho": 1}, ZCDP | {"rho": True}, ZCDP | {"rho": "1"},
        ZCDP | {"count": 1}, ZCDP | {"kind": "none"}, ZCDP | {"kind": ["zcdp"]},
        ZCDP | {"time": -1}, ZCDP | {"time": 1.0}, ZCDP | {"purpose": None},
        ZCDP | {"purpose": "x" * 201}, ZCDP | {"split": "a/b"}, ZCDP | {"name": 3},
        GAUSSIAN | {"count": -1}, GAUSSIAN | {"count": 10**13}, GAUSSIAN | {"count": True},
        GAUSSIAN | {"sampling_rate": 1.5}, GAUSSIAN | {"sampling_rate": 0.0},
        GAUSSIAN | {"noise_multiplier": -1.0}, GAUSSIAN | {"rho": 0.5},
        QUESTION | {"vote": 1}, QUESTION | {"vote": None}, QUESTION | {"question": "Q" * 64},
        QUESTION | {"question": "0" * 65}, QUESTION | {"rho": 0.5}, {},
    ],
    ids=repr,
)  # fmt: skip
def test_a_line_out_of_range_is_corrupt(tmp_path, line):
    assert not check(tmp_path, line)


@pytest.mark.parametrize(
    "body", [b'{"rho":NaN}', b'{"rho":1e999}', b'{"a":' + b"[" * 2000, b"\xff"]
)
def test_what_is_no_json_is_corrupt(tmp_path, body):
    sealed = body[:-1] + b',"digest":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'
    path = PrivacyLedger.open(tmp_path, "d").path
    path.write_bytes(path.read_bytes() + sealed + b"\n")
    with pytest.raises(SpendsCorruptError, match="Line 2 of"):
        PrivacyLedger.open(tmp_path, "d")


def check(folder, line):
    """Write a line with a right seal; say whether it was taken, and that it makes sense then."""
    path = folder / "d.spends.jsonl"
    path.unlink(missing_ok=True)
    PrivacyLedger.open(folder, "d")
    first = path.read_bytes()
    before = hashlib.sha256(first[:-1]).hexdigest()
    with contextlib.suppress(ValueError):
        path.write_bytes(first + _sealed({**line, "before": before}) + b"\n")
    whole = path.read_bytes()
    try:
        entries = PrivacyLedger.open(folder, "d").entries()
    except SpendsCorruptError:
        assert path.read_bytes() == whole
        return False
    for entry in entries:
        written = json.loads(whole.splitlines()[1])
        if hasattr(entry, "vote"):
            assert entry.vote is written["vote"]
        elif isinstance(entry.spend, SampledGaussian):
            assert entry.spend.count == written["count"]
        else:
            assert 0 <= entry.spend.rho == written["rho"]
    return bool(entries)


def test_the_good_lines_of_these_tests_are_taken(tmp_path):
    assert all(check(tmp_path, line) for line in (GAUSSIAN, ZCDP, QUESTION))
    assert issubclass(SpendsCorruptError, PrivacyError)
