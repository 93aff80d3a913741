"""A log's SQLite file, opened with care: somebody else may have written it (7.8, 7.9)."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from colearn.core import Entry, Genesis, Row
from colearn.core.encoding import CALL_BYTES_MAX
from colearn.errors import (
    ConfigError,
    LedgerError,
    LedgerTamperedError,
    LedgerUnavailableError,
    RemoteProtocolError,
)
from colearn.ledger.log import StoredRow, tampered

__all__ = [
    "SYNCHRONOUS",
    "file_identity",
    "limited",
    "make_file",
    "open_file",
    "read_genesis",
    "read_rows",
    "stored_row",
    "translated",
]

SYNCHRONOUS = ("NORMAL", "FULL")

_SCHEMA = {
    "genesis": "CREATE TABLE genesis (one integer primary key check (one = 1), document blob)",
    "rows": "CREATE TABLE rows "
    "(height integer primary key, entry blob, signature blob, stamp integer, head blob)",
}
_BUSY_S = 30.0
"""How long a writer waits for another process's write, in seconds."""

_RECORD_BYTES_MAX = CALL_BYTES_MAX + 8192
"""More than the longest row takes; SQLite hands out no longer record, whatever the file says."""

_BATCH = 100
"""Rows read at once, so that a log of the longest calls takes some 30 MB of memory."""

_RESTORE = "Restore a copy of it."
_DAMAGE = {
    sqlite3.SQLITE_CORRUPT: "its pages are damaged",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database",
    sqlite3.SQLITE_TOOBIG: "a value in it is longer than any row",
    sqlite3.SQLITE_ERROR: "its tables are not those of a log",
}
_HINTS = {
    sqlite3.SQLITE_BUSY: f"Another process has been writing for {_BUSY_S:.0f} s; try again.",
    sqlite3.SQLITE_FULL: "Free some space on the disk, and go on.",
    sqlite3.SQLITE_READONLY: "The file and its folder must be writable, also for reading.",
    sqlite3.SQLITE_CANTOPEN: "The file and its folder must be writable, also for reading.",
}
_PRIMARY_CODE = 0xFF
"""The bits of SQLite's error codes that are not their finer division."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the database's errors into the ledger's.

    Raises:
        LedgerTamperedError: The file is not what a ledger wrote.
        LedgerUnavailableError: It cannot be used now.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _ledger_error(path, error) from error


def make_file(path: Path, genesis: Genesis) -> None:
    """Make the file of a new, empty log: all of it or nothing, and never over another file.

    Raises:
        ConfigError: The file exists.
        LedgerUnavailableError: It cannot be written.
    """
    if os.path.lexists(path):
        raise _exists(path)
    draft = path.with_name(f".{secrets.token_hex(8)}.ledger-draft")
    try:
        with translated(path), closing(_connect(draft)) as db:
            _set_journal(db, "FULL")
            db.execute("begin immediate")
            for statement in _SCHEMA.values():
                db.execute(statement)
            db.execute("insert into genesis values (1, ?)", (genesis.encode(),))
            db.execute("commit")
        # A link fails where the name is taken, and a rename would replace what has it.
        os.link(draft, path)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise LedgerUnavailableError(
            f"Cannot make {path}: {error.strerror or error}.", hint="Choose another folder."
        ) from error
    finally:
        for left in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm")):
            with suppress(OSError):
                left.unlink()


def open_file(path: Path, synchronous: str) -> tuple[sqlite3.Connection, Genesis]:
    """Open a log's file and read its genesis.

    Raises:
        ConfigError: There is no log in the file.
        LedgerTamperedError: It has other tables than a log, or is damaged.
        LedgerUnavailableError: It cannot be opened.
    """
    if not path.is_file():
        raise ConfigError(f"There is no ledger at {path}.", hint="Name a ledger.db.")
    with translated(path):
        db = _connect(path)
        try:
            # Looked at before anything is set: it may be a database of something else.
            genesis = read_genesis(db, path)
            _set_journal(db, synchronous)
        except BaseException:
            db.close()
            raise
    return db, genesis


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at a path from another one that takes its place."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def read_rows(db: sqlite3.Connection, path: Path, begin: int) -> Iterator[StoredRow]:
    """Return the rows from height `begin` on as the file has them, not verified.

    Raises:
        LedgerTamperedError: A row is no row by its form, or heights have a gap.
    """
    height = begin
    while True:
        with translated(path):
            found = db.execute(
                "select height, entry, signature, stamp, head from rows where height >= ? "
                "order by height limit ?",
                (height, _BATCH),
            ).fetchall()
        for record in found:
            yield stored_row(record, height)
            height += 1
        if len(found) < _BATCH:
            return


def read_genesis(db: sqlite3.Connection, path: Path) -> Genesis:
    """Return what the log in a file was born with.

    Raises:
        ConfigError: There is no log in the file.
        LedgerTamperedError: It has other tables than a log, or another genesis.
    """
    _check_tables(db, path)
    record = db.execute("select document from genesis").fetchone()
    document = b"" if record is None or not isinstance(record[0], bytes) else record[0]
    try:
        return Genesis.decode(document)
    except RemoteProtocolError as error:
        raise LedgerTamperedError(f"{path}: {error}", entry=0, rule="7.9", hint=_RESTORE) from error


def stored_row(record: tuple[object, ...], height: int) -> StoredRow:
    """Return a record of the table of rows, which stands where height `height` should be.

    Raises:
        LedgerTamperedError: It is no row by its form, or of another height.
    """
    at, entry, signature, stamp, head = record
    if at != height:
        raise tampered(height, "form", f"the file has row {at!r} here")
    fits = isinstance(entry, bytes) and isinstance(signature, bytes) and isinstance(head, bytes)
    if not fits or not isinstance(stamp, int) or stamp < 0:
        raise tampered(height, "form", "the file has values of other kinds")
    assert isinstance(entry, bytes)
    assert isinstance(signature, bytes)
    assert isinstance(head, bytes)
    try:
        return StoredRow(Row(Entry.decode(entry), signature, stamp), head.hex())
    except RemoteProtocolError as error:
        raise tampered(height, "form", str(error)) from error


def limited(db: sqlite3.Connection) -> None:
    """Keep what a hostile file can do within bounds."""
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _RECORD_BYTES_MAX)
    # Text that is not UTF-8 must reach the check of its type, not stop the reading.
    db.text_factory = _text
    # The schema of a hostile file may name functions; none of them runs.
    db.execute("pragma trusted_schema = off")
    db.execute("pragma cell_size_check = on")


def _connect(path: Path) -> sqlite3.Connection:
    # Who uses the connection is checked by its ledger; this way a ledger can be closed anywhere.
    db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S, check_same_thread=False)
    try:
        limited(db)
    except BaseException:
        db.close()
        raise
    return db


def _set_journal(db: sqlite3.Connection, synchronous: str) -> None:
    db.execute("pragma journal_mode = wal")
    db.execute(f"pragma synchronous = {synchronous}")


def _check_tables(db: sqlite3.Connection, path: Path) -> None:
    """Refuse views, triggers and tables of another form, any of which could run for ever."""
    found = db.execute("select name, sql from sqlite_master limit ?", (len(_SCHEMA) + 1,))
    tables: dict[object, object] = dict(found.fetchall())
    if "genesis" not in tables:
        raise ConfigError(f"There is no ledger in {path}.", hint="Name a ledger.db.")
    if tables != _SCHEMA:
        raise LedgerTamperedError(
            f"{path} has other tables than a ledger.", entry=None, rule="7.9", hint=_RESTORE
        )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _exists(path: Path) -> ConfigError:
    return ConfigError(f"{path} exists already.", hint="Name another file.")


def _ledger_error(path: Path, error: sqlite3.Error) -> LedgerError:
    # Errors of the Python module itself have no code.
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
    if code in _DAMAGE:
        return LedgerTamperedError(
            f"{path} is no intact ledger: {_DAMAGE[code]} ({error}).",
            entry=None,
            rule="7.9",
            hint=_RESTORE,
        )
    return LedgerUnavailableError(
        f"Cannot use {path}: {error}.",
        hint=_HINTS.get(code, "Look at the disk and at the rights on the file."),
    )
