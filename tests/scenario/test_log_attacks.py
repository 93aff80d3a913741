"""Attacks by whoever can write a log's file: every change is named, or changes nothing (7.9)."""

import os
import random
import shutil
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from tests.logs import DRIFT_S, MODEL, RULES, SPECIFICATION, SetClock, filled_log, make_log

from colearn.core import Genesis, Row, calls, encode_call
from colearn.core.chain import Entry, head_after
from colearn.crypto import GROUP_ORDER
from colearn.errors import ColearnError, ConfigError, LedgerTamperedError
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger, Head
from colearn.ledger.contract import artefact

SEED = int(os.environ.get("COLEARN_SEED", "1"))
OUTSIDER = Key.from_seed(1, "outsider")
COLUMNS = ("height", "entry", "signature", "stamp", "head")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A real log of three rounds of four members."""
    clock = SetClock()
    return filled_log(tmp_path_factory.mktemp("log") / "ledger.db", rounds=3, clock=clock)


@pytest.fixture
def attacked(original, tmp_path):
    """The file as an attacker sees it: a copy, with its rows."""
    return Attacked(shutil.copy(original, tmp_path / "ledger.db"))


class Attacked:
    """A log's file in an attacker's hands. Nobody else's key is there."""

    def __init__(self, path):
        self.path = type(path)(path)
        with closing(sqlite3.connect(self.path)) as db:
            (document,) = db.execute("select document from genesis").fetchone()
            self.rows = [list(row) for row in db.execute("select * from rows order by height")]
        self.genesis = Genesis.decode(document)

    def __len__(self):
        return len(self.rows)

    def write(self, rows, reheaded=False):
        """Write rows in place of the old ones; `reheaded` makes the chain of heads whole again."""
        rows = self.with_heads(rows) if reheaded else rows
        with self.opened() as db:
            db.execute("delete from rows")
            db.executemany("insert into rows values (?, ?, ?, ?, ?)", rows)

    def run(self, statement, *values):
        with self.opened() as db:
            db.execute(statement, values)

    @contextmanager
    def opened(self):
        with closing(sqlite3.connect(self.path)) as db, db:
            # An attacker does not wait for the disk, and these tests do not either.
            db.execute("pragma synchronous = off")
            yield db

    def with_heads(self, rows):
        head, result = self.genesis.digest, []
        for height, (_, entry, signature, stamp, _) in enumerate(rows, 1):
            head = head_after(head, Row(Entry.decode(entry), signature, stamp))
            result.append([height, entry, signature, stamp, bytes.fromhex(head)])
        return result

    def read(self):
        """Read it as a member does, long after; return the view's head and what was wrong."""
        with EmbeddedLedger(self.path, clock=lambda: 2**40) as view:
            try:
                view.sync()
            except LedgerTamperedError as error:
                return view.head, error
            return view.head, None

    def wrong_row(self):
        head, error = self.read()
        assert error is not None, "nobody noticed"
        assert error.rule == "7.9"
        assert error.entry == head.height + 1
        return error.entry


def changed(rows, index, column, value):
    rows = [list(row) for row in rows]
    rows[index][COLUMNS.index(column)] = value
    return rows


def flipped(data, at, bit):
    return data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :]


def bytes_of(row):
    """Every byte of a row: its column and its place."""
    for column in ("entry", "signature", "head"):
        for at in range(len(row[COLUMNS.index(column)])):
            yield column, at
    for at in range(8):
        yield "stamp", at


def with_flipped_byte(rows, index, column, at, bit):
    value = rows[index][COLUMNS.index(column)]
    if column == "stamp":
        stamp = int.from_bytes(flipped(value.to_bytes(8, "big"), at, bit), "big", signed=True)
        return changed(rows, index, column, stamp)
    return changed(rows, index, column, flipped(value, at, bit))


def test_the_log_is_good_before_the_attacks(attacked):
    head, error = attacked.read()
    assert error is None
    assert head == Head(len(attacked), attacked.rows[-1][-1].hex())
    assert len(attacked) == 19


# -------------------------------------------------------------------------- changed bytes


@pytest.mark.parametrize("index", [0, 3, 6])
def test_any_flipped_byte_of_a_row_is_named_with_its_row(attacked, index):
    chance = random.Random(f"{SEED} {index}")
    for column, at in bytes_of(attacked.rows[index]):
        bit = chance.randrange(8)
        attacked.write(with_flipped_byte(attacked.rows, index, column, at, bit))
        assert attacked.wrong_row() == index + 1, (column, at, bit)


def test_flipped_bytes_anywhere_are_named_with_their_row(attacked):
    chance = random.Random(SEED)
    for _ in range(150):
        index = chance.randrange(len(attacked))
        column, at = chance.choice(list(bytes_of(attacked.rows[index])))
        bit = chance.randrange(8)
        attacked.write(with_flipped_byte(attacked.rows, index, column, at, bit))
        assert attacked.wrong_row() == index + 1, (index, column, at, bit)


def test_flipped_bytes_are_named_even_if_all_heads_are_computed_anew(attacked):
    """Signatures and anchors hold what the heads do not (7.9)."""
    chance = random.Random(SEED)
    for _ in range(250):
        index = chance.randrange(len(attacked) - 1)
        column, at = chance.choice(
            [each for each in bytes_of(attacked.rows[index]) if each[0] != "head"]
        )
        rows = with_flipped_byte(attacked.rows, index, column, at, chance.randrange(8))
        if column == "stamp" and rows[index][3] < 0:
            continue
        try:
            attacked.write(rows, reheaded=True)
        except ColearnError:
            # A number that no entry can have: the attacker cannot even write its head.
            attacked.write(rows)
        # A stamp within the drift is seen by the first row that is anchored above it.
        assert index + 1 <= attacked.wrong_row() <= index + 2, (index, column, at)


@pytest.mark.parametrize("column", ["entry", "signature", "head"])
def test_bytes_that_are_cut_off_or_added_are_named(attacked, column):
    for index in (0, 7):
        value = attacked.rows[index][COLUMNS.index(column)]
        for other in (value[:-1], value[1:], value + b"\0", b"\0" + value, b"", value * 2):
            attacked.write(changed(attacked.rows, index, column, other))
            assert attacked.wrong_row() == index + 1


def test_the_other_spelling_of_a_signature_is_refused(attacked):
    """For every signature there is a second one with n - s; only the low s counts."""
    for index in (0, 8):
        signature = attacked.rows[index][2]
        high = GROUP_ORDER - int.from_bytes(signature[32:64], "big")
        twin = signature[:32] + high.to_bytes(32, "big") + bytes((55 - signature[64],))
        attacked.write(changed(attacked.rows, index, "signature", twin), reheaded=True)
        assert attacked.wrong_row() == index + 1


# ------------------------------------------------------------------ dropped, moved, inserted


@pytest.mark.parametrize("reheaded", [False, True])
def test_a_dropped_row_is_named(attacked, reheaded):
    for index in range(len(attacked) - 1):
        rows = [row for row in attacked.rows if row is not attacked.rows[index]]
        attacked.write(rows, reheaded=reheaded)
        assert attacked.wrong_row() == index + 1


@pytest.mark.parametrize("reheaded", [False, True])
def test_rows_in_another_order_are_named(attacked, reheaded):
    for index in range(len(attacked) - 1):
        rows = [list(row) for row in attacked.rows]
        rows[index], rows[index + 1] = rows[index + 1], rows[index]
        rows[index][0], rows[index + 1][0] = index + 1, index + 2
        attacked.write(rows, reheaded=reheaded)
        assert attacked.wrong_row() == index + 1


def test_a_duplicate_of_a_row_is_named(attacked):
    for index in range(len(attacked)):
        rows = [*attacked.rows[: index + 1], attacked.rows[index], *attacked.rows[index + 1 :]]
        attacked.write(rows, reheaded=True)
        assert attacked.wrong_row() == index + 2


def test_a_row_that_is_inserted_is_named_by_the_first_row_anchored_above_it(attacked):
    """An entry that was signed at the same time may stand before another's; no later one may."""
    separator = attacked.genesis.separator
    call = encode_call(calls.Create(SPECIFICATION, MODEL, RULES.to_word(), ""))
    for height in range(1, len(attacked) - 1):
        last = attacked.rows[height - 1]
        entry = Entry(0, height, last[-1].hex(), last[3], call)
        row = [0, entry.encode(), OUTSIDER.sign(entry.digest(separator)), last[3], b""]
        rows = [*attacked.rows[:height], row, *attacked.rows[height:]]
        attacked.write(rows, reheaded=True)
        assert attacked.wrong_row() == height + 3


def test_a_row_that_is_replaced_by_the_attackers_own_is_named(attacked):
    separator = attacked.genesis.separator
    for index in range(len(attacked) - 1):
        entry = Entry.decode(attacked.rows[index][1])
        entry = replace(entry, nonce=0)
        rows = changed(attacked.rows, index, "entry", entry.encode())
        rows[index][2] = OUTSIDER.sign(entry.digest(separator))
        attacked.write(rows, reheaded=True)
        assert attacked.wrong_row() in (index + 1, index + 2)


def test_a_cut_tail_cannot_be_seen_from_one_file_and_is_seen_by_who_read_it(attacked):
    whole, _ = attacked.read()
    attacked.write(attacked.rows[:-2])
    head, error = attacked.read()
    assert error is None
    assert head.height == whole.height - 2
    with EmbeddedLedger(attacked.path, clock=lambda: 2**40) as view:
        view.sync()
        # So heads are exchanged: what a peer has read further is not known here.
        assert view.check_head(whole) is False


def test_the_owner_of_a_file_moves_only_the_last_stamps_and_by_no_more_than_the_drift(attacked):
    """This much a host can do: nobody has anchored above the last row yet (S13)."""
    moved = []
    for change in range(-20, 21):
        stamp = attacked.rows[-1][3] + change
        attacked.write(changed(attacked.rows, -1, "stamp", stamp), reheaded=True)
        if attacked.read()[1] is None:
            moved.append(change)
    assert moved == list(range(-1, DRIFT_S + 1))


def test_a_host_that_stamps_further_away_than_the_drift_is_named(attacked):
    for index in (0, 9, len(attacked) - 1):
        for change in (-DRIFT_S - 1, DRIFT_S + 1, 10**6, -(10**6)):
            stamp = attacked.rows[index][3] + change
            attacked.write(changed(attacked.rows, index, "stamp", stamp), reheaded=True)
            assert attacked.wrong_row() == index + 1


# ------------------------------------------------------------------------- nonsense as values

NONSENSE = [
    None,
    "text",
    "",
    b"",
    b"x",
    7,
    -1,
    0,
    2**63 - 1,
    1.5,
    float("inf"),
    b"\0" * 300_000,
    "é" * 1000,
]


@pytest.mark.parametrize("column", COLUMNS[1:])
@pytest.mark.parametrize(
    "value", NONSENSE, ids=lambda value: f"{type(value).__name__} {str(value)[:8]!a}"
)
def test_values_of_other_kinds_are_named(attacked, column, value):
    for index in (0, 5):
        attacked.write(changed(attacked.rows, index, column, value))
        _, error = attacked.read()
        assert isinstance(error, LedgerTamperedError)
        # What is too long is not even read, so that nobody can say which row it is in.
        assert error.entry in (index + 1, None)


def test_text_that_is_no_text_is_named(attacked):
    attacked.run("update rows set entry = cast(x'fffe' as text) where height = 3")
    assert attacked.wrong_row() == 3


def test_a_value_of_a_gigabyte_costs_nothing(attacked):
    attacked.run("update rows set entry = zeroblob(50000000) where height = 4")
    _, error = attacked.read()
    assert "longer than any row" in str(error)


@pytest.mark.parametrize("height", [0, -1, -(2**63), 2**63 - 1])
def test_rows_at_heights_that_are_none_are_named_or_not_read(attacked, height):
    attacked.write(changed(attacked.rows, 4, "height", height))
    assert attacked.wrong_row() == 5


def test_a_gap_in_the_heights_is_named(attacked):
    attacked.run("update rows set height = height + 1 where height = ?", len(attacked))
    assert attacked.wrong_row() == len(attacked)


def test_a_row_at_height_zero_is_not_read(attacked):
    attacked.run(
        "insert into rows select 0, entry, signature, stamp, head from rows where height = 1"
    )
    assert attacked.read()[1] is None


def test_entries_that_nobody_can_decode_are_named_though_the_heads_are_right(attacked):
    """The attacker signs nonsense itself; a call that is none is no row."""
    separator, last = attacked.genesis.separator, attacked.rows[-1]
    for call in (
        b"",
        b"{",
        b"[" * 5000,
        b"null",
        b"{}",
        b'{"call":"create"}',
        b"\xff",
        b"1" * 5000,
    ):
        entry = Entry(0, len(attacked), last[-1].hex(), last[3], call)
        row = [0, entry.encode(), OUTSIDER.sign(entry.digest(separator)), last[3], b""]
        attacked.write([*attacked.rows, row], reheaded=True)
        assert attacked.wrong_row() == len(attacked) + 1


def test_a_call_that_the_rules_refuse_is_no_row(attacked):
    separator, last = attacked.genesis.separator, attacked.rows[-1]
    entry = Entry(0, len(attacked), last[-1].hex(), last[3], encode_call(calls.Leave(1)))
    row = [0, entry.encode(), OUTSIDER.sign(entry.digest(separator)), last[3], b""]
    attacked.write([*attacked.rows, row], reheaded=True)
    _, error = attacked.read()
    assert error.entry == len(attacked) + 1
    assert "rules" in str(error)


# ---------------------------------------------------------------------------- other geneses


def test_rows_under_another_genesis_are_not_signed_for_it(attacked, tmp_path):
    """Another salt, drift, contract or creator: each is another log (S11)."""
    genesis = attacked.genesis
    for other in (
        replace(genesis, salt="00" * 32),
        replace(genesis, drift_s=10**4),
        replace(genesis, contract="11" * 32),
        replace(genesis, creator=OUTSIDER.address),
    ):
        attacked.run("update genesis set document = ?", other.encode())
        attacked.genesis = other
        for reheaded in (False, True):
            attacked.write(attacked.rows, reheaded=reheaded)
            assert attacked.wrong_row() == 1


def test_rows_of_one_log_are_none_of_another(attacked, tmp_path):
    other = Attacked(make_log(tmp_path / "other.db"))
    other.write(attacked.rows, reheaded=True)
    assert other.wrong_row() == 1
    assert artefact().digest == other.genesis.contract


@pytest.mark.parametrize("document", [b"", b"{}", b"x" * 100_000, None, "text", 7, b"[" * 4000])
def test_a_genesis_that_is_none_is_named(attacked, document):
    attacked.run("update genesis set document = ?", document)
    with pytest.raises(LedgerTamperedError) as caught:
        attacked.read()
    assert caught.value.entry == 0


def test_a_genesis_in_another_spelling_is_refused(attacked):
    document = attacked.genesis.encode()
    for other in (document + b" ", document.replace(b":", b": "), document.replace(b"0x", b"0X")):
        attacked.run("update genesis set document = ?", other)
        with pytest.raises(LedgerTamperedError):
            attacked.read()


def test_a_file_without_its_genesis_is_no_log(attacked):
    attacked.run("delete from genesis")
    with pytest.raises(LedgerTamperedError):
        attacked.read()
    attacked.run("drop table genesis")
    with pytest.raises(ConfigError, match="no ledger"):
        attacked.read()


# ------------------------------------------------------------------------- hostile databases

ENDLESS = (
    "with recursive n(x) as (select 1 union all select x + 1 from n) "
    "select x, zeroblob(57), zeroblob(65), 0, zeroblob(32) from n"
)


@pytest.mark.parametrize(
    "statements",
    [
        [
            "drop table rows",
            f"create view rows(height, entry, signature, stamp, head) as {ENDLESS}",
        ],
        ["create trigger evil after insert on rows begin delete from rows; end"],
        ["create table more (x)"],
        ["create index slow on rows (entry)"],
        ["alter table rows add column y default 1"],
        ["drop table rows"],
        ["drop table rows", "create table rows (height, entry, signature, stamp, head)"],
    ],
)
def test_tables_of_another_form_are_refused_before_anything_is_read(attacked, statements):
    for statement in statements:
        attacked.run(statement)
    with pytest.raises(LedgerTamperedError, match="other tables"):
        attacked.read()


@pytest.mark.parametrize("data", [b"", b"not a database", b"\0" * 5000, os.urandom(5000)])
def test_a_file_that_is_no_database_is_refused(tmp_path, data):
    path = tmp_path / "ledger.db"
    path.write_bytes(data)
    with pytest.raises((ConfigError, LedgerTamperedError)):
        EmbeddedLedger(path)
    assert path.read_bytes() == data


def test_a_truncated_file_is_damage_and_never_another_log(attacked):
    data, chance = attacked.path.read_bytes(), random.Random(SEED)
    whole, _ = attacked.read()
    for cut in [100, 4096, 5000, *(chance.randrange(len(data)) for _ in range(30))]:
        attacked.path.write_bytes(data[:cut])
        try:
            _, error = attacked.read()
        except (ConfigError, LedgerTamperedError) as refused:
            error = refused
        assert error is not None, cut
    attacked.path.write_bytes(data)
    assert attacked.read() == (whole, None)


def test_flipped_bytes_of_the_file_never_make_another_log(attacked):
    """A byte anywhere in the file: the log is the same, shorter, or refused with a ColearnError."""
    data, chance = attacked.path.read_bytes(), random.Random(SEED)
    with EmbeddedLedger(attacked.path, clock=lambda: 2**40) as view:
        view.sync()
        heads = view.replica.heads
    refused = 0
    for _ in range(400):
        at = chance.randrange(len(data))
        attacked.path.write_bytes(flipped(data, at, chance.randrange(8)))
        try:
            head, error = attacked.read()
        except ColearnError:
            refused += 1
            continue
        refused += error is not None
        # With another genesis nothing above it is valid.
        assert head.digest == heads[head.height] or (error is not None and head.height == 0)
    assert refused > 100
