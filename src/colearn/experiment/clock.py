"""The clock of a run in one process: it stands still while the run does not run."""

from __future__ import annotations

import time

__all__ = ["RunClock"]

_HELD_BY_NOTHING = 2**62


class RunClock:
    """Whole seconds since 1970 that go on where a run stopped.

    A run that was killed and is resumed a week later has not missed a deadline: its group was
    away as a whole. Deadlines therefore count the time in which the run ran.
    """

    def __init__(self) -> None:
        """Make a clock that holds back no row until it is started."""
        self._offset: float | None = None

    def start(self, stamp: int) -> None:
        """Go on from the last stamp of a ledger; from now for an empty one."""
        self._offset = (stamp or time.time()) - time.monotonic()

    def __call__(self) -> int:
        """Return the time of the run."""
        if self._offset is None:
            return _HELD_BY_NOTHING
        return int(self._offset + time.monotonic())
