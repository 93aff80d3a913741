"""The loop of a node: it follows the ledger, and steps whenever something may be due (7.2).

Nothing sleeps for a fixed time. The loop waits for the ledger's news or for the end of the
worker's job, and wakes for a deadline at the deadline.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from colearn.core import Due, Duty, Experiment
from colearn.errors import (
    ColearnError,
    ConfigError,
    LedgerTamperedError,
    LocalProtocolError,
)
from colearn.ledger import Head, Ledger
from colearn.ledger.log import LogLedger
from colearn.node import Node
from colearn.worker import Worker

__all__ = ["Follower", "Snapshot"]

_WAIT_S = 30.0
"""The longest wait for news of the ledger; one that has none is asked again."""

_AGAIN_S = 0.5
"""Until something that is due and was refused is first tried again; later on longer."""

_FOLLOW_S = 1.0
"""How often the ledger is read while the worker is busy, which is when nothing is due."""

_PAUSES_S = (0.1, 10.0)
"""The first and the longest pause after a failure."""

_FATAL = (ConfigError, LedgerTamperedError, LocalProtocolError)
"""What no repetition makes better: the ledger lies, or this program is wrong."""

_AHEAD = (
    "The ledger has rows from the future by this machine's clock; they wait until it reaches "
    "them. Set the clock right."
)

_log = logging.getLogger("colearn.network.follower")
_log.addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a node knows, for those who ask it from other threads.

    Attributes:
        experiment: The state of the experiment.
        head: How far the ledger was read.
        certified: The height up to which rows are final.
        duty: What was due last.
        busy: Whether the worker is at work.
        error: What failed last and has not succeeded since.
        wakeups: How often the loop has looked whether something is due.
        steps: How often something was.
        read_at: When the ledger was read last, by the monotonic clock.
    """

    experiment: Experiment
    head: Head
    certified: int
    duty: Duty
    busy: bool
    error: str
    wakeups: int
    steps: int
    read_at: float


class Follower:
    """Steps a node until the experiment is over for it, or until it is told to stop.

    Attributes:
        snapshot: The newest one; None before the ledger was read. Any thread may read it.
    """

    def __init__(
        self,
        node: Node,
        ledger: Ledger,
        worker: Worker,
        experiment: int = 1,
        *,
        others: Sequence[Callable[[], bool]] = (),
        listener: Callable[[Snapshot], None] | None = None,
    ) -> None:
        """Prepare to follow; the ledger must have been read once.

        Args:
            node: Does what is due.
            ledger: Its view.
            worker: Its worker.
            experiment: Its number on the ledger.
            others: What else may have to be done, each like `Node.step`.
            listener: Told every snapshot, on the follower's thread.
        """
        self.snapshot: Snapshot | None = None
        self._node = node
        self._ledger = ledger
        self._worker = worker
        self._number = experiment
        self._acts = (*others, node.step)
        self._listener = listener
        self._failures = 0
        self._refusals = 0
        self._error = ""
        self._read_at = time.monotonic()
        self._behind = False
        self._wakeups = 0
        self._steps = 0

    def begin(self) -> None:
        """Take the first snapshot."""
        self._tell()

    def run(self, stop: threading.Event) -> None:
        """Follow until the node has nothing to do any more, or until `stop` is set.

        Raises:
            LedgerTamperedError: The ledger is not what was read before.
            ColearnError: Something that no repetition makes better.
        """
        while not stop.is_set():
            try:
                self._once()
            except _FATAL:
                raise
            except ColearnError as error:
                self._failed(error, stop)
            else:
                self._failures, self._error = 0, ""
                self._read_at = time.monotonic()
            self._tell()
            if self._node.due.duty is Duty.DONE:
                return

    def _once(self) -> None:
        """Do what is due, or wait until something may be."""
        self._wakeups += 1
        if any(act() for act in self._acts):
            self._steps += 1
            self._refusals = 0
            return
        self._tell()
        if self._worker.busy:
            # News can wait: while the worker is at work nothing else is due.
            if not self._worker.wait(_FOLLOW_S):
                self._ledger.sync()
            return
        due = self._node.due
        if due.duty is Duty.DONE:
            return
        if self._ledger.wait(self._pause(due)):
            self._refusals = 0

        self._note_clock()

    def _note_clock(self) -> None:
        """Say when the ledger is ahead of this clock: nothing else would, as nothing is due."""
        behind = isinstance(self._ledger, LogLedger) and self._ledger.held
        if behind and not self._behind:
            _log.warning("%s: %s", self._node.name, _AHEAD, extra=self._place())
        self._behind = behind

    def _pause(self, due: Due) -> float:
        """Return how long the ledger's news may be waited for, in seconds."""
        left = _WAIT_S if due.until is None else float(due.until - self._ledger.now())
        if due.duty is Duty.WAIT:
            return min(max(left, _AGAIN_S), _WAIT_S)
        # It is due and was refused, as by a ledger whose clock is behind this one, or a relay is
        # to bring it. Each half of the time that is left sees another attempt.
        pause = min(_AGAIN_S * float(2 ** min(self._refusals, 10)), _WAIT_S)
        self._refusals += 1
        return pause if due.until is None else max(min(pause, left / 2), _AGAIN_S)

    def _failed(self, error: ColearnError, stop: threading.Event) -> None:
        """Say what failed, once for each cause, and pause longer each time."""
        text = str(error)
        if text != self._error:
            _log.warning("%s: %s", self._node.name, text, extra=self._place())
        self._error = text
        pause = min(_PAUSES_S[0] * 2 ** min(self._failures, 10), _PAUSES_S[1])
        self._failures += 1
        self._tell()
        if not stop.wait(pause):
            self._look()

    def _look(self) -> None:
        """Read the ledger if it can be read: what failed may not be due any more."""
        try:
            self._ledger.sync()
        except _FATAL:
            raise
        except ColearnError as error:
            _log.debug("%s: %s", self._node.name, error, extra=self._place())

    def _place(self) -> dict[str, object]:
        experiment = self._ledger.experiment(self._number)
        return {"round": experiment.round.number, "phase": experiment.phase.name.lower()}

    def _tell(self) -> None:
        experiment = self._ledger.experiment(self._number)
        self.snapshot = Snapshot(
            experiment,
            self._ledger.head,
            self._ledger.certified(self._number),
            self._node.due.duty,
            self._worker.busy,
            self._error or (_AHEAD if self._behind else ""),
            self._wakeups,
            self._steps,
            self._read_at,
        )
        if self._listener is not None:
            self._listener(self.snapshot)
