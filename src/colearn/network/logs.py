"""Logs of a node for programs: one JSON object a line, with the round and the peer."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

__all__ = ["JsonLines", "NodeContext"]

_FIELDS = ("node", "round", "phase", "peer")
"""What a record may carry beside its text; a peer is an address or a URL."""


class NodeContext(logging.Filter):
    """Adds to every record which node wrote it, and in which round and phase.

    Attributes:
        node: The node's name.
        round_number: The open round; None before the ledger was read.
        phase: Its phase.
    """

    def __init__(self, node: str) -> None:
        """Know the node, and nothing of the ledger yet."""
        super().__init__()
        self.node = node
        self.round_number: int | None = None
        self.phase: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, with what it lacks."""
        for name, value in (
            ("node", self.node),
            ("round", self.round_number),
            ("phase", self.phase),
        ):
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: time (UTC), level, logger, message and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in _FIELDS:
            value = getattr(record, name, None)
            if value is not None:
                document[name] = value
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document)
