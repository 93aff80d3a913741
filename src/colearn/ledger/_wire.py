"""What a hosted ledger and its readers write to each other: JSON with hex in it (7.8).

Both sides check every field, because either may be hostile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from colearn.core import Entry, Reason, Row
from colearn.core.chain import NUMBER_MAX
from colearn.core.encoding import CALL_BYTES_MAX
from colearn.errors import RemoteProtocolError
from colearn.ledger.log import StoredRow
from colearn.shallow import read_json

__all__ = [
    "ANSWER_BYTES_MAX",
    "BODY_BYTES_MAX",
    "ENTRY_BYTES_MAX",
    "ROWS_BYTES",
    "ROWS_MAX",
    "WAIT_S_MAX",
    "Page",
    "Place",
    "Refusal",
    "dump",
    "load",
    "read_entry",
    "read_rows",
    "row_bytes",
    "write_entry",
    "write_rows",
]

ROWS_MAX = 1000
"""Rows of one answer."""

ROWS_BYTES = 2 * 2**20
"""Bytes after which an answer takes in no further row; the first row is always in."""

SIGNATURE_BYTES = 65
ENTRY_BYTES_MAX = CALL_BYTES_MAX + 56
BODY_BYTES_MAX = 4 * 2**20
"""Bytes of a request: rows that are put back; a single entry has less."""

ANSWER_BYTES_MAX = 4 * 2**20
"""Bytes of an answer that are read: `ROWS_BYTES`, the longest row, and room."""

WAIT_S_MAX = 30.0
"""Seconds that an answer may be put off until there is a new row."""

_REASON_MAX = 500
_CONDITIONS = frozenset(
    {"signature", "nonce", "anchor", "stamp", "clock", "call", "rules", "place", "conflict"}
)
_REASONS = frozenset(Reason)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a log from one height on.

    Attributes:
        begin: The height of the first row.
        height: How many rows the log has.
        head: The head of the last.
        base: The head before `begin`; None where the log does not reach that far.
        rows: Some rows from `begin` on.
    """

    begin: int
    height: int
    head: str
    base: str | None
    rows: tuple[StoredRow, ...]

    def document(self) -> dict[str, Any]:
        """Return what goes over the wire."""
        return {
            "from": self.begin,
            "height": self.height,
            "head": self.head,
            "base": self.base,
            "rows": write_rows(self.rows),
        }

    @staticmethod
    def read(document: Any, begin: int) -> Page:
        """Read the answer to a question for the rows from `begin` on.

        Raises:
            RemoteProtocolError: It is none, or answers another question.
        """
        found = _object(document, ("from", "height", "head", "base", "rows"))
        height, head, base = found["height"], _hex(found["head"], 32).hex(), found["base"]
        rows = read_rows(found["rows"])
        fits = _number(found["from"]) == begin and len(rows) <= max(_number(height) - begin + 1, 0)
        if not fits or (base is None) is not (height < begin - 1):
            raise _malformed("rows that do not fit together")
        return Page(begin, height, head, None if base is None else _hex(base, 32).hex(), rows)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry has become a row.

    Attributes:
        height: Of the row.
        stamp: When the orderer took it in, seconds since 1970.
        page: The rows that the sender has asked for with it.
    """

    height: int
    stamp: int
    page: Page | None

    def document(self) -> dict[str, Any]:
        """Return what goes over the wire."""
        page = None if self.page is None else self.page.document()
        return {"height": self.height, "stamp": self.stamp, "page": page}

    @staticmethod
    def read(document: Any, begin: int) -> Place:
        """Read the answer to an entry that was sent with a question for rows.

        Raises:
            RemoteProtocolError: It is none.
        """
        found = _object(document, ("height", "stamp", "page"))
        page = Page.read(found["page"], begin)
        return Place(_number(found["height"]), _number(found["stamp"]), page)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an entry becomes no row.

    Attributes:
        condition: Which condition of 7.9 it breaks, "rules" for the rules, "conflict" where
            another entry or row is in its place.
        reason: Of the rules, or what was expected and what came.
    """

    condition: str
    reason: str

    def document(self) -> dict[str, Any]:
        """Return what goes over the wire."""
        return {"error": "refused", "condition": self.condition, "reason": self.reason}

    @staticmethod
    def read(document: Any) -> Refusal:
        """Read a refusal; its reason may go to a screen.

        Raises:
            RemoteProtocolError: It is none.
        """
        found = _object(document, ("error", "condition", "reason"))
        condition, reason = found["condition"], found["reason"]
        fits = isinstance(condition, str) and condition in _CONDITIONS
        fits = fits and found["error"] == "refused"
        if not fits or not isinstance(reason, str) or len(reason) > _REASON_MAX:
            raise _malformed("a refusal without a reason")
        if not reason.isprintable() or (condition == "rules" and reason not in _REASONS):
            raise _malformed("a refusal for no reason of the rules")
        return Refusal(condition, reason)


def dump(document: Mapping[str, Any]) -> bytes:
    """Return a document's bytes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def load(data: bytes) -> Any:
    """Read a document's bytes.

    Raises:
        RemoteProtocolError: They are no JSON.
    """
    try:
        return read_json(data)
    except (ValueError, RecursionError) as error:
        raise _malformed("something that is no JSON") from error


def row_bytes(stored: StoredRow) -> int:
    """Return about how many bytes a row takes in an answer."""
    return 2 * len(stored.row.entry.call) + 512


def write_rows(rows: tuple[StoredRow, ...]) -> list[dict[str, Any]]:
    """Return rows as they go over the wire."""
    return [
        {
            "entry": row.entry.encode().hex(),
            "signature": row.signature.hex(),
            "stamp": row.stamp,
            "head": head,
        }
        for row, head in rows
    ]


def read_rows(document: Any) -> tuple[StoredRow, ...]:
    """Read rows, whose content is not verified.

    Raises:
        RemoteProtocolError: They are no rows by their form.
    """
    if not isinstance(document, list) or len(document) > ROWS_MAX:
        raise _malformed(f"a list that is none of at most {ROWS_MAX} rows")
    return tuple(_read_row(each) for each in document)


def _read_row(document: Any) -> StoredRow:
    found = _object(document, ("entry", "signature", "stamp", "head"))
    entry, signature = read_entry(found)
    row = Row(entry, signature, _number(found["stamp"]))
    return StoredRow(row, _hex(found["head"], 32).hex())


def write_entry(entry: Entry, signature: bytes) -> bytes:
    """Return the body that sends an entry: the signature, then the entry's own bytes."""
    return signature + entry.encode()


def read_entry(source: bytes | Mapping[str, Any]) -> tuple[Entry, bytes]:
    """Read an entry and its signature, from `write_entry` or from a document with hex.

    Raises:
        RemoteProtocolError: It is none.
    """
    if isinstance(source, bytes):
        signature, entry = source[:SIGNATURE_BYTES], source[SIGNATURE_BYTES:]
    else:
        signature = _hex(source.get("signature"), SIGNATURE_BYTES)
        entry = _hex(source.get("entry"), None)
    if len(entry) > ENTRY_BYTES_MAX:
        raise _malformed(f"an entry of more than {ENTRY_BYTES_MAX} bytes")
    return Entry.decode(entry), signature


def _object(document: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(document, dict) or document.keys() != set(names):
        raise _malformed(f"something else than an object with {', '.join(names)}")
    return document


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < NUMBER_MAX:
        raise _malformed("a number that is none below 2**63")
    return value


def _hex(value: Any, length: int | None) -> bytes:
    """Return the bytes of lower-case hex digits; `length` is in bytes."""
    try:
        data = bytes.fromhex(value)
    except (ValueError, TypeError) as error:
        raise _malformed("text that is no hex") from error
    if data.hex() != value or (length is not None and len(data) != length):
        raise _malformed("hex in another form or of another length")
    return data


def _malformed(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"Expected a document of a ledger, got {what}.", peer="unknown", rule="7.8"
    )
