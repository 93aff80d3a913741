"""What the embedded and the hosted ledger share: a view that verifies every row itself (7.9)."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import NamedTuple

from colearn.core import Experiment, Genesis, InvalidRowError, Replica, Row, Step
from colearn.errors import LedgerRejectedError, LedgerTamperedError
from colearn.ledger.base import Happening, Head, Ledger, unknown_experiment

__all__ = ["Clock", "LogLedger", "StoredRow", "rejected", "system_clock", "tampered"]

Clock = Callable[[], int]
"""Whole seconds since 1970."""


class StoredRow(NamedTuple):
    """A row as a log keeps it: with the head beside it."""

    row: Row
    head: str


def system_clock() -> int:
    """Return the machine's time in whole seconds since 1970."""
    return int(time.time())


class LogLedger(Ledger):
    """A view of a log.

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

    @abstractmethod
    def history(self, begin: int = 1) -> Iterable[StoredRow]:
        """Return the rows from height `begin` on as the log keeps them, not verified."""

    def _read(self, stored: Iterable[StoredRow]) -> int:
        """Verify further rows and take them in; hold what is ahead of the own clock (7.9)."""
        count = 0
        self.held = False
        for row, head in stored:
            if row.stamp > self._clock() + self.genesis.drift_s:
                self.held = True
                break
            try:
                step = self.replica.check(row)
            except InvalidRowError as error:
                raise tampered(self.replica.height + 1, error.condition, error.reason) from error
            if step.head != head:
                raise tampered(
                    self.replica.height + 1,
                    "head",
                    f"the head beside it is {head}, and its content gives {step.head}",
                )
            self._take(step)
            count += 1
        return count

    def _take(self, step: Step) -> None:
        self.replica.adopt(step)
        height, stamp = self.replica.height, step.row.stamp
        self._tell(Happening(height, stamp, step.signer, step.events))


def tampered(height: int, condition: str, reason: str) -> LedgerTamperedError:
    """Return the error for a row that the log's own rules make invalid."""
    return LedgerTamperedError(
        f"Row {height} is not valid ({condition}): {reason}.",
        entry=height,
        rule="7.9",
        hint="Keep this copy as evidence, and compare heads with the other members.",
    )


def rejected(error: InvalidRowError) -> LedgerRejectedError:
    """Return the error for an entry that becomes no row."""
    return LedgerRejectedError(f"The ledger refuses the call: {error}", reason=error.reason)
