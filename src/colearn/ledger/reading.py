"""Reading a log file that somebody else keeps, without writing to it (section 8)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from colearn.core import Genesis
from colearn.ledger._file import limited, read_genesis, read_rows, translated
from colearn.ledger.log import StoredRow

__all__ = ["read_log"]


def read_log(path: Path) -> tuple[Genesis, Iterator[StoredRow]]:
    """Return what a log was born with, and its rows as the file has them; nothing is verified.

    Raises:
        ConfigError: There is no log in the file.
        LedgerError: It cannot be read, or is damaged. The rows raise LedgerTamperedError where
            one is no row by its form.
    """
    with translated(path):
        db, genesis = _open(path)
    return genesis, _rows(db, path)


def _open(path: Path) -> tuple[sqlite3.Connection, Genesis]:
    """Open a file read-only, also in a folder in which SQLite may not make its own files."""
    for how in ("mode=ro", "mode=ro&immutable=1"):
        address = f"{path.resolve().as_uri()}?{how}"
        db = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
        try:
            limited(db)
            return db, read_genesis(db, path)
        except sqlite3.OperationalError:
            db.close()
        except BaseException:
            db.close()
            raise
    raise sqlite3.OperationalError("unable to open database file")


def _rows(db: sqlite3.Connection, path: Path) -> Iterator[StoredRow]:
    with closing(db):
        yield from read_rows(db, path, 1)
