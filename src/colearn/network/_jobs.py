"""Jobs and what became of them, as lines of JSON between a node and its worker process."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from colearn.core import Ballot
from colearn.errors import LocalProtocolError
from colearn.worker import Accept, Done, Job, Judge, Observation, Propose

__all__ = ["LINE_BYTES_MAX", "read_done", "read_job", "write_done", "write_job"]

LINE_BYTES_MAX = 4 * 2**20
"""What one answer may have: observations of every candidate with all that is monitored."""

_KINDS: dict[str, type[Accept | Propose | Judge]] = {
    "accept": Accept,
    "propose": Propose,
    "judge": Judge,
}


def write_job(job: Job) -> bytes:
    """Return the line that asks for a job."""
    return _line({"job": type(job).__name__.lower(), **asdict(job)})


def read_job(line: bytes) -> Job:
    """Read a job.

    Raises:
        LocalProtocolError: The line is none.
    """
    try:
        document = json.loads(line)
        kind = _KINDS[document.pop("job")]
        if "candidates" in document:
            document["candidates"] = tuple(document["candidates"])
        return kind(**document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise LocalProtocolError(f"Expected a job, got {line[:80]!r}.") from error


def write_done(done: Done) -> bytes:
    """Return the line that tells what became of a job."""
    document = asdict(done)
    document["ballots"] = [ballot.name for ballot in done.ballots]
    return _line({"done": document})


def read_done(document: Any) -> Done:
    """Read what became of a job.

    Raises:
        LocalProtocolError: The document does not tell it.
    """
    try:
        return Done(
            tuple(Observation(**each) for each in document["observations"]),
            document["proposal"],
            tuple(Ballot[name] for name in document["ballots"]),
        )
    except (TypeError, KeyError) as error:
        raise LocalProtocolError(f"Expected a result, got {str(document)[:80]!r}.") from error


def _line(document: dict[str, Any]) -> bytes:
    # NaN is a score too, and both ends of this pipe are Python.
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
