"""The embedded ledger: a signed log in one SQLite file, no server (7.8, 7.9).

Several processes may share the file. The file orders; the rules decide: every process replays
every row through the pure rules and believes nothing else that the file says.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from colearn.core import Entry, Genesis, InvalidRowError, Row, Step, encode_call
from colearn.core.calls import Call
from colearn.core.encoding import CALL_BYTES_MAX
from colearn.core.events import Event
from colearn.errors import (
    ConfigError,
    LedgerConflictError,
    LedgerError,
    LedgerTamperedError,
    LedgerUnavailableError,
    RemoteProtocolError,
)
from colearn.identity import Key
from colearn.ledger.base import Head
from colearn.ledger.contract import artefact
from colearn.ledger.log import (
    Clock,
    LogLedger,
    StoredRow,
    rejected,
    system_clock,
    tampered,
)

__all__ = ["EmbeddedLedger"]

_SCHEMA = """
create table if not exists genesis (one integer primary key check (one = 1), document blob);
create table if not exists rows (
    height integer primary key, entry blob, signature blob, stamp integer, head blob
);
"""
_BUSY_S = 30.0
"""How long a writer waits for another process's write, in seconds."""

_ENTRY_BYTES_MAX = CALL_BYTES_MAX + 56
_POLL_S = (0.001, 0.02)
"""The shortest and the longest pause between looks at a file that another process writes."""

_BATCH = 1000


class EmbeddedLedger(LogLedger):
    """One process's view of a log file.

    Attributes:
        path: The file.
    """

    kind = "embedded"

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock = system_clock,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
    ) -> None:
        """Open an existing log; nothing is read yet.

        Args:
            path: The file.
            clock: Seconds since 1970.
            synchronous: NORMAL survives a killed process, and a power failure may cut the tail;
                FULL survives that too, at some 0.3 ms a call.

        Raises:
            ConfigError: There is no log in the file.
            LedgerUnavailableError: It cannot be opened.
        """
        if not path.is_file():
            raise ConfigError(f"There is no ledger at {path}.", hint="Name a ledger.db.")
        self.path = path
        with _database(path):
            self._db = _connect(path, synchronous)
            genesis = _genesis(self._db, path)
            super().__init__(genesis, clock)
            self._version = -1

    @staticmethod
    def create(path: Path, creator: str, *, drift_s: int = 0) -> None:
        """Make a new, empty log.

        Args:
            path: The file; its folder exists.
            creator: The address in the genesis.
            drift_s: How far the clocks of those who write may differ; 0 for one process,
                5 for several.

        Raises:
            ConfigError: The file exists.
            LedgerUnavailableError: It cannot be written.
        """
        genesis = Genesis(artefact().digest, os.urandom(32).hex(), creator, drift_s)
        try:
            path.touch(exist_ok=False)
        except FileExistsError as error:
            raise ConfigError(f"{path} exists already.", hint="Name another file.") from error
        except OSError as error:
            raise LedgerUnavailableError(f"Cannot make {path}: {error.strerror}.") from error
        with _database(path):
            db = _connect(path, "FULL")
            db.executescript(_SCHEMA)
            db.execute("insert into genesis values (1, ?)", (genesis.encode(),))
            db.close()

    def submit(self, key: Key, call: Call) -> tuple[Event, ...]:
        """Sign a call, order it and write it, in one transaction."""
        data = encode_call(call)
        with self._writing():
            stamp = self.now()
            entry = self.replica.entry(key.address, stamp, data)
            row = Row(entry, key.sign(self.replica.digest(entry)), stamp)
            step = self._checked(row, key.address)
            self._insert(step)
        self._take(step)
        return step.events

    def append(self, entry: Entry, signature: bytes) -> tuple[int, int]:
        """Order an entry that somebody else signed; return its height and stamp.

        The same entry again is answered with its place (7.9).

        Raises:
            LedgerRejectedError: It is not valid here.
            LedgerConflictError: The signer's nonce is taken by another entry.
        """
        with self._writing():
            try:
                signer = self.replica.signer(entry, signature)
            except InvalidRowError as error:
                raise rejected(error) from error
            if entry.nonce < self.replica.nonce(signer):
                return self._known_place(entry, signature, signer)
            step = self._checked(Row(entry, signature, self.now()), signer)
            self._insert(step)
        self._take(step)
        return self.replica.height, step.row.stamp

    def sync(self) -> int:
        """Read and verify what other processes have written."""
        with _database(self.path):
            version = self._db.execute("pragma data_version").fetchone()[0]
            if version == self._version and not self.held:
                return 0
            count = self._catch_up()
            self._version = version
            return count

    def wait(self, timeout_s: float) -> bool:
        """Look at the file until another process has written, at growing pauses."""
        until = time.monotonic() + timeout_s
        pause = _POLL_S[0]
        while not self.sync():
            left = until - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(2 * pause, _POLL_S[1])
        return True

    def history(self, begin: int = 1) -> Iterator[StoredRow]:
        """Return the rows from height `begin` on as the file has them, not verified.

        Raises:
            LedgerTamperedError: A row is no row by its form, or heights have a gap.
        """
        height = begin
        while True:
            with _database(self.path):
                found = self._db.execute(
                    "select height, entry, signature, stamp, head from rows where height >= ? "
                    "order by height limit ?",
                    (height, _BATCH),
                ).fetchall()
            for record in found:
                yield _stored(record, height)
                height += 1
            if len(found) < _BATCH:
                return

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _catch_up(self) -> int:
        """Take in the rows after the own ones; the last own one must still be there."""
        mine: Head = self.head
        begin = max(mine.height, 1)
        rows = self.history(begin)
        if mine.height:
            last = next(rows, None)
            if last is None or last.head != mine.digest:
                raise LedgerTamperedError(
                    f"{self.path} had row {mine.height} with head {mine.digest}, and now "
                    f"{'it is gone' if last is None else f'its head is {last.head}'}.",
                    entry=mine.height,
                    rule="7.9",
                    hint="Keep the file as evidence, and compare heads with the other members.",
                )
        return self._read(rows)

    def _checked(self, row: Row, signer: str) -> Step:
        try:
            return self.replica.check(row, signer=signer)
        except InvalidRowError as error:
            raise rejected(error) from error

    def _known_place(self, entry: Entry, signature: bytes, signer: str) -> tuple[int, int]:
        height = self.replica.place(signer, entry.nonce)
        row = next(iter(self.history(height))).row
        if (row.entry, row.signature) != (entry, signature):
            raise LedgerConflictError(
                f"{signer} has another entry with nonce {entry.nonce}, at row {height}.",
                hint="Read the ledger, and sign again.",
            )
        return height, row.stamp

    def _insert(self, step: Step) -> None:
        entry, head = step.row.entry.encode(), bytes.fromhex(step.head)
        self._db.execute(
            "insert into rows values (?, ?, ?, ?, ?)",
            (self.replica.height + 1, entry, step.row.signature, step.row.stamp, head),
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the file's one write lock, with everything read; all or nothing is written."""
        with _database(self.path):
            self._db.execute("begin immediate")
            try:
                self.sync()
                self._refuse_held_rows()
                yield
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    def _refuse_held_rows(self) -> None:
        if self.held:
            raise LedgerUnavailableError(
                f"{self.path} has rows from the future by this machine's clock.",
                hint="Set the clock right; rows ahead of it are held until it reaches them.",
            )


@contextmanager
def _database(path: Path) -> Iterator[None]:
    """Turn the database's errors into the ledger's."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _database_error(path, error) from error


def _database_error(path: Path, error: sqlite3.DatabaseError) -> LedgerError:
    # These two mean that the bytes of the file are not what SQLite wrote.
    if error.sqlite_errorcode in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LedgerTamperedError(
            f"{path} is damaged: {error}.", entry=None, rule="7.9", hint="Restore a copy of it."
        )
    return LedgerUnavailableError(
        f"Cannot use {path}: {error}.", hint="Is the disk full, or the file read-only?"
    )


def _connect(path: Path, synchronous: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)
    # A file may claim values of any size; none that is longer than an entry is ever read.
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _ENTRY_BYTES_MAX + 4096)
    db.execute("pragma journal_mode = wal")
    db.execute(f"pragma synchronous = {synchronous}")
    # The schema of a hostile file may name functions; none of them runs.
    db.execute("pragma trusted_schema = off")
    return db


def _genesis(db: sqlite3.Connection, path: Path) -> Genesis:
    try:
        record = db.execute("select document from genesis").fetchone()
    except sqlite3.OperationalError:
        record = None
    if record is None or not isinstance(record[0], bytes):
        db.close()
        raise ConfigError(f"There is no ledger in {path}.", hint="Name a ledger.db.")
    try:
        return Genesis.decode(record[0])
    except RemoteProtocolError as error:
        db.close()
        raise LedgerTamperedError(f"{path}: {error}", entry=0, rule="7.9") from error


def _stored(record: tuple[object, ...], height: int) -> StoredRow:
    at, entry, signature, stamp, head = record
    fits = isinstance(entry, bytes) and isinstance(signature, bytes) and isinstance(head, bytes)
    if at != height or not fits or not isinstance(stamp, int) or stamp < 0:
        raise tampered(height, "form", f"the file has {at!r} here, or values of other kinds")
    assert isinstance(entry, bytes)
    assert isinstance(signature, bytes)
    assert isinstance(head, bytes)
    try:
        return StoredRow(Row(Entry.decode(entry), signature, stamp), head.hex())
    except RemoteProtocolError as error:
        raise tampered(height, "form", str(error)) from error
