"""What becomes of heads that are not on the own line: two histories of one log (7.9, L7).

Every message between members names how far its sender has read, and is signed. A head of another
line proves either that the log's owner shows two histories, or that its signer invents heads. One
liar must not be able to stop everybody, so the first is reported, and a node stops when more
members name other lines than may lie, f = floor((n - 1) / 3): then one of them is honest.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from colearn.errors import ColearnError, LedgerTamperedError
from colearn.network.notes import Notes

__all__ = ["ForkWatch"]

_log = logging.getLogger("colearn.network.forks")
_log.addHandler(logging.NullHandler())


class ForkWatch:
    """Collects evidence of other lines; any thread may hand it in.

    Attributes:
        reported: Addresses that have signed heads of another line.
    """

    def __init__(
        self, notes: Notes, members: Callable[[], int], stop: Callable[[LedgerTamperedError], None]
    ) -> None:
        """Watch for a node.

        Args:
            notes: Keep the evidence.
            members: Returns n, the number of members.
            stop: Called once, when it is proved that there are two histories.
        """
        self.reported: set[str] = set()
        self._notes = notes
        self._members = members
        self._stop = stop
        self._lock = threading.Lock()

    def report(self, address: str, height: int, head: str, evidence: Mapping[str, Any]) -> None:
        """Take a head that an address has signed, and that is not the own one at its height.

        Args:
            address: The signer's.
            height: Where.
            head: What it has there.
            evidence: Everything its signature covers, and it.
        """
        with self._lock:
            if address in self.reported:
                return
            self.reported.add(address)
            count = len(self.reported)
        error = LedgerTamperedError(
            f"Two histories of one log: {address} has signed head {head} at row {height}, and here "
            "it is another.",
            entry=height,
            rule="7.9",
            hint="Compare heads with the other members: either the owner of the log shows two "
            "histories, or this member invents heads.",
        )
        _log.error("%s", error, extra={"peer": address})
        try:
            self._notes.keep_fork({"error": str(error), "signed": dict(evidence)})
        except ColearnError as failure:
            _log.warning("%s", failure)
        if count > self._liars():
            self._stop(error)

    def _liars(self) -> int:
        """Return f, how many members may lie."""
        return max(self._members() - 1, 0) // 3
