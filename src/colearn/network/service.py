"""One learner's process: the ledger is followed on a thread, and served is from the main one.

The learner works in a process of its own (`worker`). Whatever dies, the ledger, the folder of
blobs and the node's folder hold all that is needed to go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from colearn.core import Experiment, Phase, calls
from colearn.errors import (
    ColearnError,
    LedgerRejectedError,
    LedgerTamperedError,
    LedgerUnavailableError,
)
from colearn.experiment.journal import Journal
from colearn.identity import Key
from colearn.ledger import Happening, Head, Ledger
from colearn.network.folder import NodeFolder, NodeState
from colearn.network.follower import Follower, Snapshot
from colearn.network.forks import ForkWatch
from colearn.network.invitation import PEERS
from colearn.network.logs import NodeContext
from colearn.network.metrics import Metrics
from colearn.network.notes import Notes
from colearn.network.peering import Lines, Neighbours, make_blob_app
from colearn.network.serving import Doors, door_of
from colearn.network.web import health_of, make_health_app
from colearn.network.worker import ProcessWorker, command_of
from colearn.node import Node
from colearn.store import DirectoryStore
from colearn.web.door import Door, fast_loop
from colearn.worker import Observation

__all__ = ["Service", "run_node"]

_START_S = 300.0
"""Seconds that a learner may take to be made: frameworks and data are loaded meanwhile."""

_LINGER_S = 300.0
"""Seconds that a node goes on serving when the experiment is over and others lack the model."""

_LIMIT_FACTOR = 2
"""A job is given up after so many times the longest phase: its result would be late anyway."""

_STOP_S = 3.0
_ANCHOR_S = 2.0
"""The shortest time between two notes of the ledger's head."""

_PAUSES_S = (0.5, 10.0)

_log = logging.getLogger("colearn.network.service")
_log.addHandler(logging.NullHandler())

Hear = Callable[[Happening], None]
StartWhen = Callable[[Experiment], bool]


def run_node(
    folder: NodeFolder,
    key: Key,
    *,
    on_happening: Hear | None = None,
    start_when: StartWhen | None = None,
    linger_s: float = _LINGER_S,
    context: NodeContext | None = None,
    health: Door | None = None,
) -> None:
    """Take part in an experiment until it is over; Ctrl-C and SIGTERM end it gracefully.

    Args:
        folder: The node's; no other process may be running it.
        key: The member's.
        on_happening: Told everything that happens on the ledger, from its first row on.
        start_when: For the creator: says of an experiment in its setup whether to start it now.
        linger_s: How long to go on serving weights when the experiment is over and not all have
            confirmed the model.
        context: Kept up to date, for logs.
        health: Where health and metrics are served; any free port of loopback by default.

    Raises:
        ConfigError: Another process is running the node, or its settings do not fit.
        LearnerError: The learner cannot be made.
        LedgerTamperedError: The ledger is not what was read before; evidence.json says how.
        ColearnError: Anything else that no repetition makes better.
    """
    with folder.running():
        service = Service(
            folder, key, on_happening, start_when, linger_s, context, health or Door()
        )
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(service.run())


@dataclass(eq=False)
class Service:
    """The state of a running node."""

    folder: NodeFolder
    key: Key
    on_happening: Hear | None = None
    start_when: StartWhen | None = None
    linger_s: float = _LINGER_S
    context: NodeContext | None = None
    health: Door | None = None
    snapshot: Snapshot | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _error: BaseException | None = None
    _anchored_at: float = 0.0

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.folder.invitation.experiment)
        rules = self.folder.terms().rules
        self.worker = ProcessWorker(
            command_of(self.folder.path),
            name=self.folder.name,
            limit_s=_LIMIT_FACTOR * max(rules.propose_s, rules.vote_s),
        )
        self.notes = Notes(self.folder.path)
        own, invitation = self.folder.settings, self.folder.invitation
        self.neighbours = Neighbours(invitation.experiment, invitation.peers, own.public_url)
        self.forks = ForkWatch(self.notes, self._members, self._stopped_by)
        self._lines: Lines | None = None
        self._journal = Journal(self.notes.observe)

    # ------------------------------------------------------------------- the main thread

    async def run(self) -> None:
        """Open the doors, follow the ledger on a thread, and wait for its end or a signal."""
        loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._is_read = asyncio.Event()
        self._loop = loop
        thread = threading.Thread(target=self._follow, name="colearn-node", daemon=True)
        async with Doors() as doors:
            doors.stop_on_signals(self._ended.set)
            app = make_health_app(self._health, self.metrics)
            url = await doors.open(app, self.health or Door())
            self.folder.write_state(NodeState(os.getpid(), url, int(time.time())))
            thread.start()
            try:
                await self._serve(doors)
            finally:
                self._stop.set()
                # First the worker: its node may be waiting for it.
                await asyncio.to_thread(self.worker.close)
                await asyncio.to_thread(thread.join, _STOP_S)
        if self._error is not None:
            raise self._error

    async def _serve(self, doors: Doors) -> None:
        """Serve the blobs once the ledger says who the members are."""
        read = asyncio.create_task(self._is_read.wait())
        ended = asyncio.create_task(self._ended.wait())
        await asyncio.wait({read, ended}, return_when=asyncio.FIRST_COMPLETED)
        if self._is_read.is_set() and self._serves_blobs:
            await self._open_blob_door(doors)
        await ended
        read.cancel()

    async def _open_blob_door(self, doors: Doors) -> None:
        own = self.folder.settings
        door = door_of(own)
        assert self._lines is not None
        app = make_blob_app(
            DirectoryStore(self.folder.blobs),
            self.key,
            self._lines,
            self._known,
            (door.url, *([own.public_url] if own.public_url else [])),
        )
        await doors.open(app, door)

    def _known(self) -> Snapshot:
        assert self.snapshot is not None
        return self.snapshot

    def _members(self) -> int:
        return 0 if self.snapshot is None else self.snapshot.experiment.roster.size

    def _stopped_by(self, error: LedgerTamperedError) -> None:
        """Stop because two histories of the log are proved; any thread may call this."""
        self._keep_evidence(error)
        self._error = error
        self._stop.set()
        self._loop.call_soon_threadsafe(self._ended.set)

    @property
    def _serves_blobs(self) -> bool:
        return self.folder.invitation.store == PEERS

    def _health(self) -> dict[str, Any]:
        return health_of(self.folder.name, self.key.address, self.snapshot)

    # ------------------------------------------------------------------ the node's thread

    def _follow(self) -> None:
        try:
            self.worker.start(_START_S)
            with ExitStack() as stack:
                ledger = self._opened()
                if ledger is not None:
                    stack.callback(ledger.close)
                    self._take_part(ledger, stack)
        except LedgerTamperedError as error:
            self._keep_evidence(error)
            self._error = error
        except BaseException as error:  # noqa: BLE001  (it is raised on the main thread)
            self._error = error
        finally:
            self._loop.call_soon_threadsafe(self._ended.set)

    def _opened(self) -> Ledger | None:
        """Open and read the ledger, as soon as it answers; None if the node is stopped before."""
        pause, said = _PAUSES_S[0], ""
        while not self._stop.is_set():
            try:
                return self._read()
            except LedgerUnavailableError as error:
                if str(error) != said:
                    _log.warning("%s: %s", self.folder.name, error)
                said = str(error)
            self._stop.wait(pause)
            pause = min(2 * pause, _PAUSES_S[1])
        return None

    def _read(self) -> Ledger:
        ledger = self.folder.ledger()
        try:
            for listener in (self.metrics.hear, self.neighbours.hear, self.on_happening):
                if listener is not None:
                    ledger.listen(listener)
            ledger.sync()
            self.notes.check_anchor(ledger)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def _take_part(self, ledger: Ledger, stack: ExitStack) -> None:
        number = self.folder.invitation.experiment
        lines = Lines(ledger, self.forks)
        store = self.folder.store(self.key, ledger, lines.stated)
        stack.callback(store.close)
        self._lines = lines
        self.neighbours.attach(store.remote)
        node = Node(
            self.worker,
            self.key,
            ledger,
            self.folder.agreed(),
            experiment=number,
            name=self.folder.name,
            observer=self._observe,
            carrier=store,
            uri=self.folder.settings.public_url or "",
        )
        follower = Follower(
            node, ledger, self.worker, number, others=(self._starter(ledger),), listener=self._note
        )
        follower.begin()
        self._loop.call_soon_threadsafe(self._is_read.set)
        follower.run(self._stop)
        self._note_head(ledger.head)
        self._linger(ledger, number)

    def _starter(self, ledger: Ledger) -> Callable[[], bool]:
        """Return what starts the experiment, if this member created it (7.3)."""
        number = self.folder.invitation.experiment

        def start() -> bool:
            experiment = ledger.experiment(number)
            if experiment.phase is not Phase.SETUP or self.start_when is None:
                return False
            if experiment.creator != self.key.address or not self.start_when(experiment):
                return False
            try:
                ledger.submit(self.key, calls.Start(number, experiment.roster.digest))
            except LedgerRejectedError as error:
                # Somebody joined meanwhile: the roster is another one now.
                _log.info("%s: not started: %s", self.folder.name, error.reason)
                return ledger.sync() > 0
            return True

        return start

    def _linger(self, ledger: Ledger, number: int) -> None:
        """Go on serving until everybody has confirmed the model, or for `linger_s`."""
        until = time.monotonic() + (self.linger_s if self._serves_blobs else 0.0)
        while not self._stop.is_set() and ledger.experiment(number).round.todo:
            left = until - time.monotonic()
            if left <= 0:
                return
            try:
                ledger.wait(min(left, _STOP_S))
            except LedgerUnavailableError:
                self._stop.wait(1.0)

    def _observe(self, observation: Observation) -> None:
        self._journal(observation)
        self._journal.forget(observation.round_number - 1)
        self.metrics.observe(observation)

    def _note(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.metrics.note(snapshot)
        if self.context is not None:
            current = snapshot.experiment.round
            self.context.round_number, self.context.phase = (
                current.number,
                current.phase.name.lower(),
            )
        if time.monotonic() - self._anchored_at > _ANCHOR_S:
            self._note_head(snapshot.head)

    def _note_head(self, head: Head) -> None:
        self._anchored_at = time.monotonic()
        try:
            self.notes.keep_anchor(head)
        except ColearnError as error:
            # It protects the next start; this one can go on without.
            _log.warning("%s: %s", self.folder.name, error)

    def _keep_evidence(self, error: LedgerTamperedError) -> None:
        try:
            head = None if self.snapshot is None else self.snapshot.head
            self.notes.keep_evidence(error, head)
        except ColearnError as failure:
            _log.warning("%s: %s", self.folder.name, failure)
