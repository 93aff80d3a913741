"""What a running node writes into its folder: what it saw, how far it read, what was wrong."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from colearn.errors import ColearnError, LedgerTamperedError, LedgerUnavailableError
from colearn.ledger import Head, Ledger
from colearn.ledger.log import LogLedger

__all__ = ["Notes"]

_ANCHOR_BYTES_MAX = 1024
_HINT = "Free some space, or look at the folder's permissions."


class Notes:
    """The files of one node's folder that its process alone writes.

    ``anchor.json`` is the newest head of the log that this node has verified: after a restart a
    log that does not contain it is refused, since rows that were seen are gone from it (7.9).
    """

    def __init__(self, folder: Path) -> None:
        """Write into a folder, which is there."""
        self._folder = folder

    def observe(self, line: str) -> None:
        """Append a line to observations.jsonl.

        Raises:
            ColearnError: It cannot be written.
        """
        self._append("observations.jsonl", line)

    def keep_anchor(self, head: Head) -> None:
        """Note how far the log was read.

        Raises:
            ColearnError: It cannot be written.
        """
        document = {"height": head.height, "head": head.digest}
        self._replace("anchor.json", json.dumps(document).encode())

    def check_anchor(self, ledger: Ledger) -> None:
        """Refuse a log that has lost or changed what this node has seen; it was read just now.

        A chain is left to its own finality.

        Raises:
            LedgerTamperedError: It has.
            LedgerUnavailableError: It was not read to its end, as this machine's clock is behind.
        """
        anchor = self._anchor()
        if anchor is None or not isinstance(ledger, LogLedger):
            return
        if ledger.check_head(anchor):
            return
        if ledger.held:
            raise LedgerUnavailableError(
                "The ledger has rows from the future by this machine's clock, and cannot be "
                f"compared with row {anchor.height}, which this node has seen.",
                hint="Set the clock right; rows ahead of it are held until it reaches them.",
            )
        raise LedgerTamperedError(
            f"This node has read the log up to row {anchor.height}, and it has now "
            f"{ledger.head.height} rows.",
            entry=anchor.height,
            rule="7.9",
            hint="Its owner lost or withholds rows: ask the other members, who still have them.",
        )

    def keep_evidence(self, error: LedgerTamperedError, head: Head | None) -> None:
        """Write down what was wrong with the ledger, for the other members.

        Raises:
            ColearnError: It cannot be written.
        """
        document = {
            "error": str(error),
            "rule": error.rule,
            "entry": error.entry,
            "time": int(time.time()),
            "head": None if head is None else str(head),
        }
        self._replace("evidence.json", json.dumps(document, indent=2).encode() + b"\n")

    def keep_fork(self, document: Mapping[str, Any]) -> None:
        """Append what proves another history to forks.jsonl.

        Raises:
            ColearnError: It cannot be written.
        """
        self._append("forks.jsonl", json.dumps(document, sort_keys=True))

    def _anchor(self) -> Head | None:
        try:
            with (self._folder / "anchor.json").open("rb") as file:
                document = json.loads(file.read(_ANCHOR_BYTES_MAX))
            head = Head(document["height"], document["head"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return head if type(head.height) is int and isinstance(head.digest, str) else None

    def _append(self, name: str, line: str) -> None:
        path = self._folder / name
        try:
            with path.open("ab", buffering=0) as file:
                file.write(line.encode() + b"\n")
        except OSError as error:
            raise _unwritten(path, error) from error

    def _replace(self, name: str, data: bytes) -> None:
        path = self._folder / name
        draft = path.with_name(f".{name}.draft")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            draft.replace(path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> ColearnError:
    return ColearnError(f"Cannot write {path}: {error.strerror or error}.", hint=_HINT)
