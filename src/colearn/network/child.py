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
from colearn.errors import ColearnError, ColearnWarning
from colearn.network._jobs import read_job, write_done
from colearn.network.folder import NodeFolder
from colearn.store import Archive, DirectoryStore
from colearn.worker import LocalWorker

__all__ = ["main"]


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
        except ColearnError as error:
            # Of a store or of the folder: the job can be repeated.
            answer(_line("error", str(error)))


def _worker(folder: NodeFolder) -> LocalWorker:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ColearnWarning)
        learner = folder.make_learner()
    for note in {str(each.message) for each in caught if issubclass(each.category, ColearnWarning)}:
        sys.stderr.write(f"{folder.name}: warning: {note}\n")
    archive = Archive(DirectoryStore(folder.blobs))
    origin = folder.agreed()
    return LocalWorker(
        learner, archive, origin.model, grows=origin.grows, name=folder.name, proposals=folder,
        privacy=folder.terms().proposal_privacy,
    )  # fmt: skip


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
