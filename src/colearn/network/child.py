"""The worker's process: ``python -m colearn.network.child FOLDER``, started by a node.

It makes the learner of a node's folder, reads jobs from standard input and answers on standard
output. It ends when its node does.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from colearn.asking import said
from colearn.errors import ColearnError, ColearnWarning, StoreError
from colearn.network._jobs import read_job, write_done
from colearn.network.folder import NodeFolder
from colearn.store import Archive, DirectoryStore
from colearn.worker import Done, Job, LocalWorker, Propose

__all__ = ["RememberingWorker", "main"]


class RememberingWorker:
    """A worker that trains once for a turn, whatever happens to its process afterwards.

    What was trained was paid for: with time, and under privacy with a budget.
    """

    def __init__(self, worker: LocalWorker, archive: Archive, folder: NodeFolder) -> None:
        """Keep what `worker` proposes in `folder`, until it proposes again."""
        self._worker = worker
        self._archive = archive
        self._folder = folder

    def work(self, job: Job) -> Done:
        """Do a job, or find that it was done before a restart.

        Raises:
            StoreError: The weights cannot be read or stored.
        """
        if not isinstance(job, Propose):
            return self._worker.work(job)
        place = (job.round_number, job.model)
        digest = self._folder.proposal_of(place)
        if digest is not None and self._archive.store.has(digest):
            return Done(proposal=digest)
        done = self._worker.work(job)
        if done.proposal is not None:
            self._folder.keep_proposal(place, done.proposal)
        return done


def main(folder: Path) -> None:
    """Do jobs until the node ends."""
    jobs, answer = _pipes()
    try:
        worker = _worker(NodeFolder.open(folder))
    except ColearnError as error:
        answer(_line("failed", str(error)))
        return
    except Exception as error:  # noqa: BLE001  (the learner's own code raises what it likes)
        answer(_line("failed", f"{type(error).__name__}: {said(error)}"))
        return
    answer(_line("ready", "yes"))
    for line in iter(jobs.get, b""):
        try:
            answer(write_done(worker.work(read_job(line))))
        except StoreError as error:
            answer(_line("error", str(error)))


def _worker(folder: NodeFolder) -> RememberingWorker:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ColearnWarning)
        learner = folder.make_learner()
    for note in {str(each.message) for each in caught if issubclass(each.category, ColearnWarning)}:
        sys.stderr.write(f"{folder.name}: warning: {note}\n")
    archive = Archive(DirectoryStore(folder.blobs))
    origin = folder.agreed()
    local = LocalWorker(learner, archive, origin.model, grows=origin.grows, name=folder.name)
    return RememberingWorker(local, archive, folder)


def _pipes() -> tuple[queue.SimpleQueue[bytes], Callable[[bytes], None]]:
    """Take standard input and output for the jobs; what the learner prints goes elsewhere."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(source, jobs), name="colearn-jobs", daemon=True).start()

    def answer(line: bytes) -> None:
        sink.write(line)
        sink.flush()

    return jobs, answer


def _read(source: BinaryIO, jobs: queue.SimpleQueue[bytes]) -> None:
    for line in source:
        jobs.put(line)
    # The node is gone: nobody waits for what a learner is still computing.
    os._exit(0)


def _line(kind: str, text: str) -> bytes:
    return json.dumps({kind: text}).encode() + b"\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
