"""A worker in a process of its own: a learner that hangs or dies takes nothing else down.

The node stays responsive while a learner trains, and imports no framework. Parent and child talk
lines of JSON over the child's own pipes; weights go through the folder of blobs. Whatever the
learner prints goes to standard error.
"""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from colearn.core import Ballot
from colearn.errors import LearnerError, LocalProtocolError, StoreError
from colearn.network._jobs import LINE_BYTES_MAX, read_done, write_job
from colearn.worker import Done, Job, Judge, Observation

__all__ = ["ProcessWorker", "command_of"]

_STOP_S = 3.0
"""Seconds that a worker has to end when it is asked to."""

_log = logging.getLogger("colearn.network.worker")
_log.addHandler(logging.NullHandler())


def command_of(folder: Path) -> list[str]:
    """Return the command that runs the worker of a node's folder."""
    return [sys.executable, "-m", "colearn.network.child", str(folder)]


class ProcessWorker:
    """Does the jobs of a node in another process, which is started anew when it dies.

    It belongs to one thread, except `close`.
    """

    def __init__(self, command: Sequence[str], *, name: str, limit_s: float) -> None:
        """Prepare a worker; `start` or the first job starts its process.

        Args:
            command: Runs the process.
            name: The learner's, for observations and errors.
            limit_s: Seconds after which a job is given up and its process killed.
        """
        self._command = list(command)
        self._name = name
        self._limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[tuple[subprocess.Popen[bytes], bytes]] = queue.SimpleQueue()
        self._job: Job | None = None
        self._began = 0.0
        self._last: tuple[Job, Done] | None = None
        self._error: str = ""
        self._closed = False
        self.restarts = 0

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    @property
    def pid(self) -> int | None:
        """The process that works; None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self, timeout_s: float) -> None:
        """Start the process, and wait until it has made its learner.

        Raises:
            LearnerError: The learner cannot be made; says why.
        """
        self._spawn()
        line = self._line(timeout_s)
        document = self._document(line) if line else {}
        if "ready" in document:
            return
        self._kill()
        said = str(document.get("failed", "")) or (
            "the process ended" if line is not None else f"it was not ready after {timeout_s:.0f} s"
        )
        raise LearnerError(f"the learner cannot be made: {said}", learner=self._name)

    def work(self, job: Job) -> Done | None:
        """Return what became of a job, once it is done; None until then.

        Raises:
            StoreError: The process could not read or store the weights; the job can be repeated.
            LearnerError: The process cannot be started; likewise.
        """
        self.wait(0)
        if self._error:
            said, self._error = self._error, ""
            raise StoreError(said)
        if self._last is not None and self._last[0] == job:
            return self._last[1]
        if self._job is None and not self._closed:
            self._send(job)
        return None

    def wait(self, timeout_s: float) -> bool:
        """Wait until the job under way has ended, and say whether it has."""
        until = time.monotonic() + timeout_s
        while self._job is not None:
            now = time.monotonic()
            given_up = self._began + self._limit_s
            line = self._line(max(min(until, given_up) - now, 0.0))
            if line is not None:
                self._take(line)
            elif time.monotonic() >= given_up:
                self._kill()
                self._gave_up("TimedOut", f"no answer in {self._limit_s:.0f} s")
            elif time.monotonic() >= until:
                break
        return self._job is None

    def close(self) -> None:
        """End the process; what it was doing is lost. Any thread may."""
        self._closed = True
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
            _end(process)

    def _send(self, job: Job) -> None:
        if self._process is not None and self._process.poll() is not None:
            # It died while it had nothing to do, so that nothing is lost with it.
            _log.warning("%s: the worker ended while it was idle", self._name)
            self.restarts += 1
            self._kill()
        if self._process is None:
            self._spawn()
        assert self._process is not None
        assert self._process.stdin is not None
        self._job, self._began = job, time.monotonic()
        # A process that died meanwhile is seen by the end of its answers.
        with suppress(OSError):
            self._process.stdin.write(write_job(job))
            self._process.stdin.flush()

    def _spawn(self) -> None:
        try:
            process = subprocess.Popen(  # noqa: S603  (this program, with its own words)
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Ctrl-C is for the node, which ends its worker itself.
                start_new_session=True,
            )
        except OSError as error:
            raise LearnerError(
                f"its process cannot be started: {error.strerror or error}",
                learner=self._name,
                hint="Is there memory left, and are there not too many processes?",
            ) from error
        self._process = process
        threading.Thread(
            target=self._listen, args=(process,), name="colearn-worker", daemon=True
        ).start()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Take the lines of a process, and an empty one at its end."""
        assert process.stdout is not None
        with suppress(OSError, ValueError):
            while line := process.stdout.readline(LINE_BYTES_MAX):
                if not line.endswith(b"\n"):
                    # It was killed while it spoke, or says more than anybody reads.
                    break
                self._lines.put((process, line))
        self._lines.put((process, b""))

    def _line(self, timeout_s: float) -> bytes | None:
        """Return a line of the process that is there now; None when none came in time."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                process, line = self._lines.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                return None
            if process is self._process:
                return line

    def _take(self, line: bytes) -> None:
        job = self._job
        assert job is not None
        if not line:
            why = self._end_of_process()
            self._kill()
            self._gave_up("Died", why)
            return
        document = self._document(line)
        if "done" in document:
            self._job, self._last = None, (job, read_done(document["done"]))
        elif "error" in document:
            self._job, self._error = None, str(document["error"])
        elif "failed" in document:
            self._kill()
            self._gave_up("NotMade", str(document["failed"]))

    def _end_of_process(self) -> str:
        """Say how the process ended that answers no more; it may still be there."""
        assert self._process is not None
        try:
            return f"its process ended with {self._process.wait(_STOP_S)}"
        except subprocess.TimeoutExpired:
            return "its process does not answer as agreed"

    def _document(self, line: bytes) -> dict[str, object]:
        try:
            document = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise LocalProtocolError(f"The worker says {line[:80]!r}.") from error
        return document if isinstance(document, dict) else {}

    def _gave_up(self, failure: str, reason: str) -> None:
        """End a job without its result: no proposal, and silence as the vote (P3.4, P3.6)."""
        job = self._job
        assert job is not None
        _log.warning("%s: the worker was lost: %s", self._name, reason)
        self.restarts += 1
        seen = Observation(job.round_number, self._name, failure=failure, reason=reason)
        ballots = (Ballot.SILENT,) * (len(job.candidates) if isinstance(job, Judge) else 0)
        self._job, self._last = None, (job, Done((seen,), None, ballots))

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that may have ended, and let go of its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        # What it was still to be told is of no use any more.
        with suppress(OSError):
            if pipe is not None:
                pipe.close()
