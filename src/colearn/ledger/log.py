"""What the embedded and the hosted ledger share: a view that verifies every row itself (7.9)."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from colearn.core import Experiment, Genesis, InvalidRowError, Replica, Row, Step
from colearn.errors import (
    LedgerRejectedError,
    LedgerTamperedError,
    LedgerUnavailableError,
    LocalProtocolError,
)
from colearn.ledger.base import Happening, Head, Ledger, unknown_experiment

__all__ = [
    "SHARED_DRIFT_S",
    "Clock",
    "LogLedger",
    "StoredRow",
    "forked",
    "rejected",
    "system_clock",
    "tampered",
]

Clock = Callable[[], int]
"""Whole seconds since 1970."""

SHARED_DRIFT_S = 5
"""How far the clocks may differ of processes that share a log, in seconds (7.9)."""

_EVIDENCE = "Keep this copy as evidence, and compare heads with the other members."


class StoredRow(NamedTuple):
    """A row as a log keeps it: with the head beside it."""

    row: Row
    head: str


def system_clock() -> int:
    """Return the machine's time in whole seconds since 1970."""
    return int(time.time())


class LogLedger(Ledger):
    """A view of a log.

    A view that has once raised `LedgerTamperedError` has stopped: `submit`, `sync` and `wait`
    raise the same error again, so that nothing more is signed on a log that lies (7.9).

    Attributes:
        replica: What the verified rows lead to.
        held: Whether there are rows ahead of the own clock, which wait (7.9).
    """

    def __init__(self, genesis: Genesis, clock: Clock = system_clock) -> None:
        """Start a view of the log that was born with `genesis`, at its first row."""
        super().__init__()
        self.replica = Replica(genesis)
        self._clock = clock
        self.held = False
        self._evidence: LedgerTamperedError | None = None
        self._telling = False

    @property
    def genesis(self) -> Genesis:
        """What the log was born with."""
        return self.replica.genesis

    def now(self) -> int:
        """Return the own clock's time, or the last stamp where that is later."""
        return max(self._clock(), self.replica.stamp)

    @property
    def head(self) -> Head:
        """The last verified row."""
        return Head(self.replica.height, self.replica.head)

    def experiment(self, number: int) -> Experiment:
        """Return the state of an experiment."""
        try:
            return self.replica.book.experiments[number]
        except KeyError:
            raise unknown_experiment(number) from None

    def certified(self, number: int) -> int:
        """Return the height that more than (n + f) / 2 members have anchored (7.9)."""
        return self.replica.certified(number)

    def check_head(self, head: Head) -> bool:
        """Compare a head that somebody names with the own line (7.9, L7).

        It does not stop the view, because a peer's word alone proves nothing: who holds the
        peer's signature on it decides.

        Returns:
            True if it is on the own line; False if the own line does not reach that far yet:
            `sync` and ask again, and if that does not help, the host withholds rows.

        Raises:
            LedgerTamperedError: The own line has another head there: two histories of one log.
        """
        if not 0 <= head.height <= self.replica.height:
            return False
        mine = self.replica.heads[head.height]
        if mine != head.digest:
            raise LedgerTamperedError(
                f"Two histories of one log: row {head.height} has head {mine} here, and "
                f"somebody has it with {head.digest}.",
                entry=head.height,
                rule="7.9",
                hint=_EVIDENCE,
            )
        return True

    @abstractmethod
    def history(self, begin: int = 1) -> Iterable[StoredRow]:
        """Return the rows from height `begin` on as the log keeps them, not verified."""

    def _read(self, stored: Iterable[StoredRow]) -> int:
        """Verify further rows and take them in; hold what is ahead of the own clock (7.9)."""
        count = 0
        self.held = False
        for row, head in stored:
            height = self.replica.height + 1
            try:
                step = self.replica.check(row)
            except InvalidRowError as error:
                raise tampered(height, error.condition, error.reason) from error
            if step.head != head:
                reason = f"the head beside it is {head}, and its content gives {step.head}"
                raise tampered(height, "head", reason)
            # Only a row that is valid by the log alone is held; the others are wrong at any time.
            if row.stamp > self._clock() + self.genesis.drift_s:
                self.held = True
                break
            self._take(step)
            count += 1
        return count

    def _take(self, step: Step) -> None:
        self.replica.adopt(step)
        height, stamp = self.replica.height, step.row.stamp
        self._telling = True
        try:
            self._tell(Happening(height, stamp, step.signer, step.events))
        finally:
            self._telling = False

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Stop for good at the first sign that the log lies."""
        if self._telling:
            raise LocalProtocolError("A listener of a ledger must not call the ledger.")
        if self._evidence is not None:
            raise self._evidence.with_traceback(None)
        try:
            yield
        except LedgerTamperedError as error:
            self._evidence = error
            raise

    def _refuse_held_rows(self) -> None:
        if self.held:
            raise LedgerUnavailableError(
                "The ledger has rows from the future by this machine's clock.",
                hint="Set the clock right; rows ahead of it are held until it reaches them.",
            )


def tampered(height: int, condition: str, reason: str) -> LedgerTamperedError:
    """Return the error for a row that the log's own rules make invalid."""
    return LedgerTamperedError(
        f"Row {height} is not valid ({condition}): {reason}.",
        entry=height,
        rule="7.9",
        hint=_EVIDENCE,
    )


def forked(where: object, had: Head, has: str | None) -> LedgerTamperedError:
    """Return the error for a log that has not the row any more which was read before.

    Args:
        where: The file or the server.
        had: What was read.
        has: The head there now; None if there is no such row any more.
    """
    now = "it is gone" if has is None else f"its head is {has}"
    return LedgerTamperedError(
        f"{where} had row {had.height} with head {had.digest}, and now {now}.",
        entry=had.height,
        rule="7.9",
        hint=_EVIDENCE,
    )


def rejected(error: InvalidRowError) -> LedgerRejectedError:
    """Return the error for an entry that becomes no row."""
    hint = "Set this machine's clock right." if error.condition == "clock" else ""
    return LedgerRejectedError(
        f"The ledger refuses the call: {error}", reason=error.reason, hint=hint
    )
