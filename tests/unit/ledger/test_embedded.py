"""The embedded ledger: one SQLite file, several processes, disks that fail (7.8, 7.9)."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.logs import (
    CREATE,
    DRIFT_S,
    ME,
    RULES,
    START,
    Group,
    SetClock,
    digest,
    filled_log,
    make_log,
)

from colearn.core import Row, encode_call
from colearn.errors import (
    ColearnError,
    ConfigError,
    LedgerConflictError,
    LedgerRejectedError,
    LedgerTamperedError,
    LedgerUnavailableError,
    LocalProtocolError,
)
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger, Head
from colearn.ledger.contract import artefact
from colearn.ledger.log import StoredRow

ADDRESS = ME.address


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def path(tmp_path):
    return make_log(tmp_path / "ledger.db")


@pytest.fixture
def opened(path, clock):
    """Opens views of the file, and closes them at the end."""
    views = []

    def view(**settings):
        views.append(EmbeddedLedger(path, **{"clock": clock, **settings}))
        return views[-1]

    yield view
    for each in views:
        each.close()


def entry_of(view, **changes):
    """An entry that a client of the view signs, changed before it is signed."""
    entry = view.replica.entry(ADDRESS, view.now(), encode_call(CREATE))
    entry = replace(entry, **changes)
    return entry, ME.sign(view.replica.digest(entry))


# -------------------------------------------------------------------------------- creating


def test_a_new_log_is_one_file_with_its_genesis(tmp_path):
    path = tmp_path / "ledger.db"
    EmbeddedLedger.create(path, ADDRESS, drift_s=5)
    assert [each.name for each in tmp_path.iterdir()] == ["ledger.db"]
    with EmbeddedLedger(path) as view:
        assert view.genesis.creator == ADDRESS
        assert view.genesis.drift_s == 5
        assert view.genesis.contract == artefact().digest
        assert view.head == Head(0, view.genesis.digest)


def test_two_logs_never_have_one_genesis(tmp_path):
    for name in ("a", "b"):
        EmbeddedLedger.create(tmp_path / name, ADDRESS)
    with EmbeddedLedger(tmp_path / "a") as a, EmbeddedLedger(tmp_path / "b") as b:
        assert a.genesis.digest != b.genesis.digest


def test_a_log_is_never_made_over_something_else(tmp_path):
    path = tmp_path / "ledger.db"
    path.write_bytes(b"my thesis")
    with pytest.raises(ConfigError, match="exists"):
        EmbeddedLedger.create(path, ADDRESS)
    assert path.read_bytes() == b"my thesis"
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="exists"):
        EmbeddedLedger.create(link, ADDRESS)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ledger.db", "link.db"]


@pytest.mark.parametrize(
    ("creator", "drift_s"),
    [
        ("", 0),
        ("0x12", 0),
        (ADDRESS.upper(), 0),
        (ADDRESS[2:], 0),
        (ADDRESS, -1),
        (ADDRESS, 2**16),
        (ADDRESS, 1.5),
        (ADDRESS, True),
        (None, 0),
        (7, 0),
        (b"x", 0),
    ],
)
def test_a_genesis_that_nobody_could_read_is_not_written(tmp_path, creator, drift_s):
    with pytest.raises(ConfigError, match="creator"):
        EmbeddedLedger.create(tmp_path / "ledger.db", creator, drift_s=drift_s)
    assert list(tmp_path.iterdir()) == []


def test_a_log_in_a_folder_that_is_not_there_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(LedgerUnavailableError):
        EmbeddedLedger.create(tmp_path / "no" / "ledger.db", ADDRESS)
    assert list(tmp_path.iterdir()) == []


def test_only_one_of_several_creators_makes_the_log(tmp_path):
    path, outcomes = tmp_path / "ledger.db", []

    def create():
        try:
            EmbeddedLedger.create(path, ADDRESS)
            outcomes.append("made")
        except ConfigError:
            outcomes.append("was there")

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", *["was there"] * 5]
    assert [each.name for each in tmp_path.iterdir()] == ["ledger.db"]


# ---------------------------------------------------------------------- opening and closing


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.db"):
        EmbeddedLedger(tmp_path / "nowhere.db")
    assert list(tmp_path.iterdir()) == []


def test_another_database_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("create table photographs (name text)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="no ledger"):
        EmbeddedLedger(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["other.db"]


def test_synchronous_full_is_passed_on_and_works(opened):
    for word, number in (("NORMAL", 1), ("FULL", 2)):
        view = opened(synchronous=word)
        assert view._db.execute("pragma synchronous").fetchone() == (number,)
        view.submit(ME, CREATE)
    assert view.head.height == 2


@pytest.mark.parametrize("word", ["OFF", "full", "", "NORMAL; drop table rows", None])
def test_other_words_for_synchronous_are_refused(opened, word):
    with pytest.raises(ConfigError, match="NORMAL or FULL"):
        opened(synchronous=word)


def test_a_view_is_refused_to_other_threads_and_can_be_closed_by_them(opened):
    view, errors = opened(), []

    def use():
        for call in (view.sync, lambda: view.submit(ME, CREATE)):
            try:
                call()
            except LocalProtocolError as error:
                errors.append(str(error))
        view.close()

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(errors) == 2
    assert "another thread" in errors[0]
    with pytest.raises(LocalProtocolError):
        view.sync()


def test_a_listener_that_calls_the_ledger_is_told_so_and_nothing_is_lost(opened):
    view, other = opened(), opened()
    other.listen(lambda _: other.submit(ME, CREATE))
    view.submit(ME, CREATE)
    with pytest.raises(LocalProtocolError, match="listener"):
        other.sync()
    other._listeners.clear()
    view.submit(ME, CREATE)
    assert other.sync() == 1
    assert other.head == view.head


def test_a_listener_that_fails_takes_no_row_away(opened):
    view, other = opened(), opened()

    def fail(_):
        raise ZeroDivisionError

    other.listen(fail)
    for _ in range(2):
        view.submit(ME, CREATE)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            other.submit(ME, CREATE)
    other._listeners.clear()
    other.submit(ME, CREATE)
    view.sync()
    assert view.head == other.head
    assert view.head.height == 3


# ------------------------------------------------------------------- entries of other people


def test_an_entry_that_was_signed_elsewhere_is_ordered_once(opened):
    view = opened()
    entry, signature = entry_of(view)
    assert view.append(entry, signature) == (1, START)
    view.submit(Key.from_seed(2, "other"), CREATE)
    # The answer was lost, and the sender asks again: it is told the place (7.9).
    assert view.append(entry, signature) == (1, START)
    assert view.head.height == 2


def test_another_entry_with_a_nonce_that_is_taken_is_a_conflict(opened):
    view = opened()
    first, second = entry_of(view), entry_of(view, time=START + 1)
    view.append(*first)
    with pytest.raises(LedgerConflictError, match="nonce 0"):
        view.append(*second)
    assert view.head.height == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nonce": 1}, "expected 0"),
        ({"anchor_height": 1}, "another head"),
        ({"anchor_head": digest("elsewhere")}, "another head"),
        ({"time": START + DRIFT_S + 1}, "differ by more than 5 s"),
        ({"time": START - DRIFT_S - 1}, "differ by more than 5 s"),
        ({"call": b"{}"}, "has no name"),
        ({"call": b"\xff"}, "is not JSON"),
    ],
)
def test_an_entry_that_is_not_valid_is_refused_with_the_reason(opened, changes, reason):
    view = opened()
    with pytest.raises(LedgerRejectedError) as caught:
        view.append(*entry_of(view, **changes))
    assert reason in caught.value.reason
    assert view.head.height == 0


@pytest.mark.parametrize("signature", [b"", bytes(65), b"\xff" * 65, bytes(64), bytes(66)])
def test_a_signature_that_is_none_is_refused(opened, signature):
    view = opened()
    entry, _ = entry_of(view)
    with pytest.raises(LedgerRejectedError, match="signature"):
        view.append(entry, signature)


def test_stamps_never_go_back_even_if_the_clock_does(opened, clock):
    view = opened()
    view.submit(ME, CREATE)
    clock.pass_s(-3)
    view.submit(ME, CREATE)
    assert [stored.row.stamp for stored in view.history()] == [START, START]
    assert view.now() == START


# -------------------------------------------------------------------------- held rows (7.9)


def test_rows_ahead_of_the_own_clock_are_held_and_not_condemned(opened, clock):
    ahead = opened(clock=lambda: START + 100)
    ahead.submit(ME, CREATE)
    view = opened()
    assert view.sync() == 0
    assert view.held
    with pytest.raises(LedgerUnavailableError, match="future"):
        view.submit(ME, CREATE)
    assert view.wait(0.01) is False
    clock.pass_s(100 - DRIFT_S)
    assert view.sync() == 1
    assert not view.held
    assert view.head == ahead.head
    view.submit(ME, CREATE)


def test_rows_up_to_the_drift_ahead_are_read(opened):
    opened(clock=lambda: START + DRIFT_S).submit(ME, CREATE)
    view = opened()
    assert view.sync() == 1
    assert view.now() == START + DRIFT_S


# --------------------------------------------------------- a log that changes under the reader


def shorten(path, height):
    with sqlite3.connect(path) as db:
        db.execute("delete from rows where height > ?", (height,))
    db.close()


def test_a_shortened_log_is_named_and_stops_the_view_for_good(tmp_path, clock):
    path = filled_log(tmp_path / "ledger.db", rounds=1, clock=clock)
    with EmbeddedLedger(path, clock=clock) as view:
        view.sync()
        kept, height = list(view.history()), view.head.height
        shorten(path, height - 2)
        for use in (view.sync, lambda: view.submit(ME, CREATE), lambda: view.wait(1)):
            with pytest.raises(LedgerTamperedError, match=view.head.digest) as caught:
                use()
            assert caught.value.entry == height
            assert caught.value.rule == "7.9"
        assert "it is gone" in str(caught.value)
        with EmbeddedLedger(path, clock=clock) as other:
            other.put_back(height - 1, kept[-2:])
            assert other.head == view.head
        # It has lied once: nothing more is signed here, though all seems well.
        with pytest.raises(LedgerTamperedError):
            view.submit(ME, CREATE)
        assert view.head.height == height


def test_a_log_with_another_row_at_the_own_height_is_named_with_both_heads(tmp_path, clock):
    path = filled_log(tmp_path / "ledger.db", rounds=1, clock=clock)
    with EmbeddedLedger(path, clock=clock) as view:
        view.sync()
        shorten(path, view.head.height - 1)
        with EmbeddedLedger(path, clock=clock) as other:
            other.submit(ME, CREATE)
            theirs = other.head
        with pytest.raises(LedgerTamperedError) as caught:
            view.sync()
        assert theirs.height == view.head.height
        assert view.head.digest in str(caught.value)
        assert theirs.digest in str(caught.value)


def test_a_file_that_takes_the_place_of_the_open_one_is_noticed(tmp_path, clock):
    path = filled_log(tmp_path / "ledger.db", rounds=1, clock=clock)
    with EmbeddedLedger(path, clock=clock) as view:
        view.sync()
        copy = tmp_path / "copy.db"
        shutil.copy(path, copy)
        copy.replace(path)
        with pytest.raises(LedgerTamperedError, match="replaced"):
            view.submit(ME, CREATE)
        path.unlink()
        with pytest.raises(LedgerTamperedError, match="replaced"):
            view.sync()


def test_tables_that_vanish_are_damage(opened, path):
    view = opened()
    view.submit(ME, CREATE)
    with sqlite3.connect(path) as db:
        db.execute("drop table rows")
    db.close()
    with pytest.raises(LedgerTamperedError, match="no intact ledger"):
        view.sync()


# -------------------------------------------------------------------------- heads of others


def test_a_head_on_the_own_line_is_good_and_one_beyond_it_not_known_yet(tmp_path, clock):
    path = filled_log(tmp_path / "ledger.db", rounds=1, clock=clock)
    with EmbeddedLedger(path, clock=clock) as view:
        ahead = Head(3, digest("somewhere"))
        assert view.check_head(ahead) is False
        view.sync()
        for height, head in enumerate(view.replica.heads):
            assert view.check_head(Head(height, head)) is True
        assert view.check_head(Head(view.head.height + 1, digest("x"))) is False
        assert view.check_head(Head(-1, view.head.digest)) is False
        with pytest.raises(LedgerTamperedError) as caught:
            view.check_head(ahead)
        assert caught.value.entry == 3
        assert ahead.digest in str(caught.value)
        assert view.replica.heads[3] in str(caught.value)
        # A word of a peer alone stops nobody.
        view.submit(ME, CREATE)


# ----------------------------------------------------------------------------- putting back


def cut_log(tmp_path, clock, lost=3):
    """A log without its last rows, those rows with their heights, and the head before."""
    path = filled_log(tmp_path / "ledger.db", rounds=1, clock=clock)
    with EmbeddedLedger(path, clock=clock) as view:
        view.sync()
        rows, head = list(view.history()), view.head
    shorten(path, head.height - lost)
    return path, head.height - lost + 1, rows[-lost:], head


def test_rows_that_were_lost_are_taken_back_with_their_stamps(tmp_path, clock):
    path, begin, rows, head = cut_log(tmp_path, clock)
    clock.pass_s(1000)
    with EmbeddedLedger(path, clock=clock) as view:
        assert view.put_back(begin, rows) == head.height
        assert view.head == head
        # Again, as a second reader would: nothing happens.
        assert view.put_back(begin, rows) == head.height
    with EmbeddedLedger(path, clock=clock) as view:
        view.sync()
        assert view.head == head


def test_rows_are_not_put_back_over_others(tmp_path, clock):
    path, begin, rows, _ = cut_log(tmp_path, clock)
    with EmbeddedLedger(path, clock=clock) as view:
        view.submit(ME, CREATE)
        with pytest.raises(LedgerConflictError, match="another row"):
            view.put_back(begin, rows)
        assert view.head.height == begin


def test_rows_are_not_put_back_above_a_hole(tmp_path, clock):
    path, begin, rows, _ = cut_log(tmp_path, clock)
    with EmbeddedLedger(path, clock=clock) as view, pytest.raises(LedgerRejectedError) as caught:
        view.put_back(begin + 1, rows[1:])
    assert f"row {begin} is missing" in caught.value.reason


def test_a_row_with_another_head_or_content_is_not_put_back(tmp_path, clock):
    path, begin, rows, _ = cut_log(tmp_path, clock)
    moved = StoredRow(replace(rows[0].row, stamp=rows[0].row.stamp + 1), rows[0].head)
    other = StoredRow(rows[0].row, digest("x"))
    forged = StoredRow(replace(rows[0].row, signature=bytes(65)), rows[0].head)
    with EmbeddedLedger(path, clock=clock) as view:
        for bad in (moved, other):
            with pytest.raises(LedgerConflictError):
                view.put_back(begin, [bad])
        with pytest.raises(LedgerRejectedError, match="signature"):
            view.put_back(begin, [forged])
        assert view.sync() == 0
        assert view.head.height == begin - 1


def test_nobody_dates_a_new_row_back_by_putting_it_back(tmp_path, clock):
    """A member could vote after the deadline, or open a vote that is over already."""
    path = filled_log(tmp_path / "ledger.db", rounds=1, clock=clock)
    with EmbeddedLedger(path, clock=clock) as view:
        view.sync()
        clock.pass_s(100)
        stamp = view.replica.stamp + DRIFT_S + 50
        entry, signature = entry_of(view, time=stamp)
        row = Row(entry, signature, stamp)
        head = view.replica.check(row).head
        with pytest.raises(LedgerRejectedError) as caught:
            view.put_back(view.head.height + 1, [StoredRow(row, head)])
        assert "stamped after this log was opened" in caught.value.reason


# -------------------------------------------------------------------------------- full disks


def test_a_full_disk_leaves_nothing_half_done_and_the_view_goes_on_afterwards(opened):
    view, other = opened(), opened()
    (pages,) = view._db.execute("pragma page_count").fetchone()
    view._db.execute(f"pragma max_page_count = {pages + 8}")
    long = replace(CREATE, uri="x" * 256)

    def fill():
        for _ in range(1000):
            view.submit(ME, long)

    with pytest.raises(LedgerUnavailableError, match="full") as caught:
        fill()
    assert "space" in caught.value.hint
    head = view.head
    assert 0 < head.height < 1000
    with pytest.raises(LedgerUnavailableError):
        view.submit(ME, long)
    assert view.head == head
    other.sync()
    assert other.head == head
    view._db.execute(f"pragma max_page_count = {pages + 100}")
    view.submit(ME, long)
    other.submit(ME, long)
    view.sync()
    assert view.head == other.head
    assert view.head.height == head.height + 2


def test_a_writer_that_keeps_the_file_locked_makes_others_unavailable(opened, path):
    view = opened()
    view._db.execute("pragma busy_timeout = 50")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("begin immediate")
    try:
        with pytest.raises(LedgerUnavailableError, match="locked"):
            view.submit(ME, CREATE)
        assert view.sync() == 0
    finally:
        blocker.close()
    view.submit(ME, CREATE)


# ---------------------------------------------------------------------------- real processes

WRITER = """
    import sys
    from pathlib import Path
    from colearn.core import calls
    from colearn.identity import Key
    from colearn.ledger import EmbeddedLedger
    path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    key = Key.from_seed(1, name)
    with EmbeddedLedger(path) as view:
        print("ready", flush=True)
        for index in range(count):
            view.submit(key, calls.Create("11" * 32, "22" * 32, int(sys.argv[4]), f"{name} {index}"))
            print(index, flush=True)
"""


def writer(path, name, count):
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(WRITER),
            path,
            name,
            str(count),
            str(RULES.to_word()),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_that_write_at_once_lose_nothing_and_make_one_line(path):
    names, count = ("left", "right"), 200
    processes = [writer(path, name, count) for name in names]
    for process in processes:
        process.communicate(timeout=100)
        assert process.returncode == 0
    with EmbeddedLedger(path) as view:
        heard = []
        view.listen(heard.append)
        assert view.sync() == len(names) * count
    uris = [each.events[0].uri for each in heard]
    for name in names:
        assert [uri for uri in uris if uri.startswith(name)] == [
            f"{name} {index}" for index in range(count)
        ]
    assert [each.events[0].experiment for each in heard] == list(range(1, len(names) * count + 1))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_writer_leaves_the_log_whole(path):
    chance = random.Random(3)
    before = 0
    for attempt in range(4):
        process = writer(path, f"writer {attempt}", 100_000)
        with process.stdout as lines:
            for _ in range(chance.randrange(5, 60)):
                assert lines.readline()
            time.sleep(chance.random() / 100)
            process.kill()
            lines.read()
        process.wait(30)
        with EmbeddedLedger(path) as view:
            count = view.sync()
            assert count > before + 3
            before = count
            view.submit(ME, CREATE)
            before += 1
    with sqlite3.connect(path) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    db.close()


def test_what_a_killed_writer_was_told_is_written_is_there(path):
    process = writer(path, "writer", 100_000)
    with process.stdout as lines:
        lines.readline()
        told = [int(lines.readline()) for _ in range(25)]
        process.kill()
        told += [int(line) for line in lines.read().split("\n") if line.strip().isdigit()]
    process.wait(30)
    with EmbeddedLedger(path) as view:
        # The last line may have been cut while it was printed.
        assert view.sync() >= len(told) - 1


READER = """
    import os, sys
    from pathlib import Path
    from colearn.core import calls
    from colearn.errors import ColearnError
    from colearn.identity import Key
    from colearn.ledger import EmbeddedLedger
    key = Key.from_seed(1, "me")
    if os.getuid() == 0:
        os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
    try:
        with EmbeddedLedger(Path(sys.argv[1])) as view:
            print(view.sync())
            view.submit(key, calls.Create("11" * 32, "22" * 32, int(sys.argv[2]), ""))
            print("written")
    except ColearnError as error:
        print(type(error).__name__, error.hint)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs the rights of POSIX")
def test_a_folder_that_cannot_be_written_is_an_error_that_says_so():
    # Not in tmp_path, whose parents nobody else may enter.
    folder = Path(tempfile.mkdtemp(prefix="colearn-rights-"))
    try:
        path = make_log(folder / "ledger.db")
        path.chmod(0o444)
        folder.chmod(0o555)
        run = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(READER), path, str(RULES.to_word())],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert run.stderr == ""
        assert "LedgerUnavailableError" in run.stdout
        assert "must be writable" in run.stdout
        assert "written" not in run.stdout
        assert sorted(each.name for each in folder.iterdir()) == ["ledger.db"]
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_power_failure_cuts_the_tail_and_nothing_else(tmp_path, clock):
    """The journal is cut at any byte: what is left is a shorter log, never another one."""
    path = make_log(tmp_path / "ledger.db")
    with EmbeddedLedger(path, clock=clock) as view:
        group = Group([view]).establish()
        for _ in range(2):
            group.round()
        heads, journal = view.replica.heads, Path(f"{path}-wal").read_bytes()
        main = path.read_bytes()
    lengths, chance = set(), random.Random(5)
    for cut in [0, 1, 31, 32, *(chance.randrange(len(journal)) for _ in range(40)), len(journal)]:
        copy = tmp_path / "copy" / "ledger.db"
        copy.parent.mkdir()
        copy.write_bytes(main)
        Path(f"{copy}-wal").write_bytes(journal[:cut])
        with EmbeddedLedger(copy, clock=clock) as view:
            view.sync()
            assert view.replica.heads == heads[: view.head.height + 1]
            lengths.add(view.head.height)
        shutil.rmtree(copy.parent)
    assert max(lengths) == len(heads) - 1
    assert len(lengths) > 5


@pytest.mark.parametrize("timeout", [float("nan"), -1.0, 0.0])
def test_a_timeout_that_is_none_ends_at_once(opened, timeout):
    assert opened().wait(timeout) is False


def test_every_error_of_the_file_is_an_error_of_the_ledger(tmp_path):
    folder = tmp_path / "folder.db"
    folder.mkdir()
    with pytest.raises(ConfigError):
        EmbeddedLedger(folder)
    with pytest.raises(ColearnError):
        EmbeddedLedger(Path("\0"))


def test_strangers_make_no_experiments_on_a_log_that_names_its_creator(tmp_path, clock):
    view = EmbeddedLedger(make_log(tmp_path / "mine.db", creator=ADDRESS), clock=clock)
    stranger = Key.from_seed(3, "stranger")
    entry = view.replica.entry(stranger.address, view.now(), encode_call(CREATE))
    with pytest.raises(LedgerRejectedError) as caught:
        view.append(entry, stranger.sign(view.replica.digest(entry)))
    assert caught.value.reason == "only the ledger's creator may create"
    assert view.head.height == 0
    view.append(*entry_of(view))
    assert view.head.height == 1
    view.close()
