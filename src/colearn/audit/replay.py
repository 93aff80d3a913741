"""The replay of a log through the pure rules: checks 1 to 7, row by row (section 8)."""

from __future__ import annotations

from collections.abc import Iterable

from colearn.audit.bytecode import Bytecode
from colearn.audit.report import Check
from colearn.audit.stories import Stories
from colearn.core import Genesis, InvalidRowError, Reason, Replica, decode_call
from colearn.core.chain import head_after
from colearn.errors import LedgerTamperedError
from colearn.ledger import StoredRow

__all__ = ["LogReplay"]

_CHECK_OF_REASON: dict[str, int] = {
    **dict.fromkeys((Reason.PHASE, Reason.LATE, Reason.EARLY, Reason.DEADLINE_SHORT), 5),
    Reason.TURN: 4,
    **dict.fromkeys(
        (
            Reason.NOT_AWAITED, Reason.CANDIDATES, Reason.MASKS, Reason.BLIND, Reason.OPEN,
            Reason.COMMITMENT, Reason.NO_VOTER, Reason.SIGNATURE, Reason.NOTHING_NEW,
            Reason.THRESHOLD,
        ),
        6,
    ),
    **dict.fromkeys(
        (
            Reason.PARENT, Reason.NO_CANDIDATE, Reason.CANDIDATES_EQUAL, Reason.FINAL_MODEL,
            Reason.NOT_CONTRIBUTED, Reason.TOO_FEW_INCLUDED,
        ),
        7,
    ),
}  # fmt: skip
"""Which check a refusal of the rules belongs to; membership for all others."""


class LogReplay:
    """Replays rows until one is not valid.

    Attributes:
        replica: What the valid rows lead to.
        stories: Each experiment told again.
    """

    def __init__(self, genesis: Genesis, checks: dict[int, Check]) -> None:
        """Start before the first row; faults go to `checks`, by number."""
        self.replica = Replica(genesis)
        self.stories = Stories(checks)
        self._checks = checks
        self._bytecode = Bytecode(genesis, checks[13]) if 13 in checks else None

    def run(self, rows: Iterable[StoredRow]) -> None:
        """Replay all rows, up to the first that is not valid."""
        try:
            for stored in rows:
                if not self._row(stored):
                    break
        except LedgerTamperedError as error:
            self._checks[1].find(error.entry, error.rule, "rows, one after the other", error)
        self._describe()

    def _row(self, stored: StoredRow) -> bool:
        row, entry = stored.row, self.replica.height + 1
        head = head_after(self.replica.head, row)
        if head != stored.head:
            self._checks[1].find(entry, "7.9", f"head {head} by its content", stored.head)
        try:
            step = self.replica.check(row)
        except InvalidRowError as error:
            self._blame(entry, error)
            return False
        self.replica.adopt(step)
        if self._bytecode is not None:
            self._bytecode.compare(
                entry, decode_call(row.entry.call), step.signer, row.stamp, step.events
            )
        for event in step.events:
            self.stories.tell(entry, row.stamp, event)
        return head == stored.head

    def _blame(self, entry: int, error: InvalidRowError) -> None:
        if error.condition != "rules":
            self._checks[2].find(entry, "7.9", f"a valid {error.condition}", error.reason)
            return
        check = self._checks[_CHECK_OF_REASON.get(error.reason, 3)]
        check.find(entry, "7.3", "a call that the rules accept", error.reason)

    def _describe(self) -> None:
        height = self.replica.height
        self._checks[1].detail = f"{height} rows"
        self._checks[2].detail = f"{height} entries"
        self.stories.describe()
        if self._bytecode is not None:
            self._checks[13].detail = f"{self._bytecode.count} calls"
