"""The embedded ledger: a signed log in one SQLite file, no server (7.8, 7.9).

Several processes may share the file. The file orders; the rules decide: every process replays
every row through the pure rules and believes nothing else that the file says.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from colearn.core import Entry, Genesis, InvalidRowError, Row, Step, encode_call
from colearn.core.calls import Call
from colearn.core.events import Created, Event
from colearn.core.experiment import NOBODY
from colearn.errors import (
    ConfigError,
    LedgerConflictError,
    LedgerRejectedError,
    LedgerTamperedError,
    LocalProtocolError,
    RemoteProtocolError,
)
from colearn.identity import Key
from colearn.ledger._file import (
    SYNCHRONOUS,
    file_identity,
    make_file,
    open_file,
    read_rows,
    translated,
)
from colearn.ledger.base import Head
from colearn.ledger.contract import artefact
from colearn.ledger.log import Clock, LogLedger, StoredRow, forked, rejected, system_clock

__all__ = ["EmbeddedLedger"]

_POLL_S = (0.001, 0.02)
"""The shortest and the longest pause between looks at a file that another process writes."""


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
                FULL survives that too, at the price of a flush of the disk a call.

        Raises:
            ConfigError: There is no log in the file, or `synchronous` is another word.
            LedgerTamperedError: The file is damaged, or has other tables than a log.
            LedgerUnavailableError: It cannot be opened.
        """
        if synchronous not in SYNCHRONOUS:
            raise ConfigError(f"synchronous is {' or '.join(SYNCHRONOUS)}, got {synchronous!r}.")
        self.path = Path(path)
        self._identity = file_identity(self.path)
        self._db, genesis = open_file(self.path, synchronous)
        super().__init__(genesis, clock)
        self._version = -1
        self._opened = clock()
        self._thread = threading.get_ident()
        self._closed = False

    @staticmethod
    def create(path: Path, creator: str, *, drift_s: int = 0) -> None:
        """Make a new, empty log.

        Args:
            path: The file; its folder exists.
            creator: The address in the genesis.
            drift_s: How far the clocks of those who write may differ; 0 for one process,
                5 for several.

        Raises:
            ConfigError: The file exists, or creator or drift cannot be in a genesis.
            LedgerUnavailableError: It cannot be written.
        """
        genesis = Genesis(artefact().digest, os.urandom(32).hex(), creator, drift_s)
        try:
            Genesis.decode(genesis.encode())
        except (RemoteProtocolError, TypeError) as error:
            raise ConfigError(
                f"A ledger's creator is a lower-case address and its drift 0 to 65,535 seconds, "
                f"got {creator!r} and {drift_s!r}."
            ) from error
        make_file(Path(path), genesis)

    def submit(self, key: Key, call: Call) -> tuple[Event, ...]:
        """Sign a call, order it and write it, in one transaction."""
        data = encode_call(call)
        with self._writing():
            stamp = self.now()
            entry = self.replica.entry(key.address, stamp, data)
            row = Row(entry, key.sign(self.replica.digest(entry)), stamp)
            step = self._checked(row, key.address, call)
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
            self._refuse_strange_experiment(step)
            self._insert(step)
        self._take(step)
        return self.replica.height, step.row.stamp

    def put_back(self, begin: int, rows: Sequence[StoredRow]) -> int:
        """Take in again what a reader has kept of a log that was cut; return the height (7.9).

        The rows keep their stamps, so they are taken only with stamps from before this view was
        opened: a log is cut while nobody has it open, by a power failure or an old copy, and
        without this bound a member could date a new call back.

        Args:
            begin: The height of the first of them.
            rows: In their order. Those that are here already are passed over.

        Raises:
            LedgerConflictError: Another row is at a height.
            LedgerRejectedError: A row is not valid here, or too new; those before it were taken.
        """
        for height, stored in enumerate(rows, begin):
            self._put_back(height, stored)
        return self.replica.height

    def sync(self) -> int:
        """Read and verify what other processes have written."""
        with self._using():
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
            # Written so that a timeout that is not a number ends at once.
            if not left > 0:
                return False
            time.sleep(min(pause, left))
            pause = min(2 * pause, _POLL_S[1])
        return True

    def history(self, begin: int = 1) -> Iterator[StoredRow]:
        """Return the rows from height `begin` on as the file has them, not verified.

        Raises:
            LedgerTamperedError: A row is no row by its form, or heights have a gap.
        """
        return read_rows(self._db, self.path, begin)

    def close(self) -> None:
        """Close the file; any thread may, and more than once."""
        self._closed = True
        self._db.close()

    def _catch_up(self) -> int:
        """Take in the rows after the own ones; the last own one must still be there."""
        mine: Head = self.head
        rows = self.history(max(mine.height, 1))
        if mine.height:
            last = next(rows, None)
            if last is None or last.head != mine.digest:
                raise forked(self.path, mine, None if last is None else last.head)
        return self._read(rows)

    def _checked(self, row: Row, signer: str | None = None, call: Call | None = None) -> Step:
        try:
            return self.replica.check(row, signer=signer, call=call)
        except InvalidRowError as error:
            raise rejected(error) from error

    def _refuse_strange_experiment(self, step: Step) -> None:
        """Let nobody but the log's creator, if it names one, make experiments in it.

        It is the one call that needs no seat, so that strangers could fill a served log with it.
        This is the orderer's own rule: a row that another orderer took is valid all the same.
        """
        made = any(isinstance(event, Created) for event in step.events)
        if made and self.genesis.creator not in (NOBODY, step.signer):
            raise LedgerRejectedError(
                f"Only {self.genesis.creator} may create experiments on this ledger.",
                reason="only the ledger's creator may create",
                hint="Ask for an invitation, or serve a ledger of your own.",
            )

    def _known_place(self, entry: Entry, signature: bytes, signer: str) -> tuple[int, int]:
        height = self.replica.place(signer, entry.nonce)
        stored = next(self.history(height), None)
        if stored is None:
            raise forked(self.path, Head(height, self.replica.heads[height]), None)
        if (stored.row.entry, stored.row.signature) != (entry, signature):
            raise LedgerConflictError(
                f"{signer} has another entry with nonce {entry.nonce}, at row {height}.",
                hint="Read the ledger, and sign again.",
            )
        return height, stored.row.stamp

    def _put_back(self, height: int, stored: StoredRow) -> None:
        with self._writing():
            if height <= self.replica.height:
                if self.replica.heads[height] != stored.head:
                    raise _taken(height)
                return
            if height > self.replica.height + 1:
                raise rejected(InvalidRowError("place", f"row {height - 1} is missing"))
            if stored.row.stamp > self._opened + self.genesis.drift_s:
                reason = f"row {height} is stamped after this log was opened"
                raise rejected(InvalidRowError("stamp", reason))
            step = self._checked(stored.row)
            if step.head != stored.head:
                raise _taken(height)
            self._insert(step)
        self._take(step)

    def _insert(self, step: Step) -> None:
        entry, head = step.row.entry.encode(), bytes.fromhex(step.head)
        self._db.execute(
            "insert into rows values (?, ?, ?, ?, ?)",
            (self.replica.height + 1, entry, step.row.signature, step.row.stamp, head),
        )

    @contextmanager
    def _using(self) -> Iterator[None]:
        if self._closed or self._thread != threading.get_ident():
            raise LocalProtocolError(
                "The ledger was closed, or is used in another thread than the one that opened it.",
                hint="Open a view for each thread.",
            )
        with self._watching(), translated(self.path):
            self._require_own_file()
            yield

    def _require_own_file(self) -> None:
        """Notice a file that was put in the place of the open one: SQLite would write on."""
        if file_identity(self.path) != self._identity:
            raise LedgerTamperedError(
                f"{self.path} was moved away or replaced while it was open at row "
                f"{self.replica.height} with head {self.replica.head}.",
                entry=None,
                rule="7.9",
                hint="Open it again, and compare heads with the other members.",
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the file's one write lock, with everything read; all or nothing is written."""
        with self._using():
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


def _taken(height: int) -> LedgerConflictError:
    return LedgerConflictError(
        f"This log has another row at height {height}.", hint="Compare heads with the members."
    )
