"""The canonical bytes of a call: sorted JSON without spaces and without floats (7.9).

Equal calls have equal bytes, and only those bytes are read back, so that nobody can sign one thing
in two spellings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from colearn.core.calls import CALLS, Call, SignedBallot
from colearn.errors import RemoteProtocolError
from colearn.shallow import read_json

__all__ = [
    "BALLOTS_MAX",
    "CALL_BYTES_MAX",
    "CANDIDATES_MAX",
    "INVITATIONS_MAX",
    "URI_BYTES_MAX",
    "decode_call",
    "encode_call",
]

CANDIDATES_MAX = 8
INVITATIONS_MAX = 64
BALLOTS_MAX = 256
URI_BYTES_MAX = 256
CALL_BYTES_MAX = 256 * 1024
"""256 relayed ballots take about 110 kB; nothing else comes near (6.4)."""

_HEX = frozenset("0123456789abcdef")
_NAMES = {kind: name for name, kind in CALLS.items()}
_dumps = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def encode_call(call: Call) -> bytes:
    """Return the call's canonical bytes.

    Raises:
        RemoteProtocolError: A field is not what the call takes, so that nobody could read it.
    """
    document: dict[str, Any] = {"call": _NAMES[type(call)]}
    for name, check in _FIELDS[type(call)]:
        document[name] = check(getattr(call, name), name)
    return _dumps(document).encode()


def decode_call(data: bytes) -> Call:
    """Read the bytes of a call; they are somebody else's.

    Raises:
        RemoteProtocolError: Not the canonical bytes of a call, or too many of them.
    """
    if len(data) > CALL_BYTES_MAX:
        raise _malformed(f"may have {CALL_BYTES_MAX} bytes, got {len(data)}")
    try:
        document = read_json(data)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"is not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("call"), str):
        raise _malformed("has no name")
    kind = CALLS.get(document["call"])
    if kind is None:
        raise _malformed(f"has an unknown name {document['call'][:40]!r}")
    checks = _FIELDS[kind]
    if len(document) != len(checks) + 1:
        raise _malformed("has other fields than its kind")
    call = kind(**{name: _read(document, name, check) for name, check in checks})
    # The document is checked by now, and its bytes show whether a key stood in it twice.
    if _dumps(document).encode() != data:
        raise _malformed("is not written in its one canonical form")
    return call


def _read(document: dict[str, Any], name: str, check: _Check) -> Any:
    if name not in document:
        raise _malformed(f"has no field {name!r}")
    value = document[name]
    if isinstance(value, list):
        value = tuple(value)
    if check is _ballots:
        value = tuple(_read_ballot(ballot) for ballot in _tuple(value, name, BALLOTS_MAX))
    check(value, name)
    return value


def _read_ballot(document: Any) -> SignedBallot:
    checks = _FIELDS[SignedBallot]
    if not isinstance(document, dict) or len(document) != len(checks):
        raise _malformed("has a ballot with other fields than a ballot's")
    return SignedBallot(**{name: _read(document, name, check) for name, check in checks})


def _number(value: Any, name: str) -> int:
    if type(value) is int and 0 <= value < 1 << 256:
        return value
    # An enumeration's member is a whole number too, and is written as one.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 256:
        return int(value)
    raise _malformed(f"takes a whole number below 2**256 as {name!r}")


def _flag(value: Any, name: str) -> bool:
    if type(value) is not bool:
        raise _malformed(f"takes true or false as {name!r}")
    return value


def _digest(value: Any, name: str) -> str:
    return _hex(value, name, 64, "64 lower-case hex digits")


def _signature(value: Any, name: str) -> str:
    return _hex(value, name, 130, "130 lower-case hex digits")


def _hex(value: Any, name: str, length: int, expected: str) -> str:
    if type(value) is not str or len(value) != length or not _HEX.issuperset(value):
        raise _malformed(f"takes {expected} as {name!r}")
    return value


def _address(value: Any, name: str) -> str:
    fits = type(value) is str and len(value) == 42 and value.startswith("0x")
    if not fits or not _HEX.issuperset(value[2:]):
        raise _malformed(f"takes a lower-case address as {name!r}")
    return value  # type: ignore[no-any-return]


def _text(value: Any, name: str) -> str:
    # Printable ASCII: it goes to screens and logs, and has one spelling.
    fits = type(value) is str and len(value) <= URI_BYTES_MAX
    if not fits or not (value.isascii() and value.isprintable()):
        raise _malformed(f"takes at most {URI_BYTES_MAX} printable ASCII characters as {name!r}")
    return value  # type: ignore[no-any-return]


def _tuple(value: Any, name: str, most: int) -> tuple[Any, ...]:
    if type(value) is not tuple or len(value) > most:
        raise _malformed(f"takes a list of at most {most} as {name!r}")
    return value


def _addresses(value: Any, name: str) -> list[str]:
    return [_address(each, name) for each in _tuple(value, name, INVITATIONS_MAX)]


def _digests(value: Any, name: str) -> list[str]:
    return [_digest(each, name) for each in _tuple(value, name, CANDIDATES_MAX)]


def _ballots(value: Any, name: str) -> list[dict[str, Any]]:
    checks = _FIELDS[SignedBallot]
    return [
        {field: check(getattr(ballot, field), field) for field, check in checks}
        for ballot in _tuple(value, name, BALLOTS_MAX)
    ]


def _malformed(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"A call {what}.", peer="unknown", rule="7.9")


_Check = Callable[[Any, str], Any]

_KINDS: Mapping[str, _Check] = {
    "Number": _number,
    "bool": _flag,
    "Digest": _digest,
    "Address": _address,
    "Text": _text,
    "Addresses": _addresses,
    "Digests": _digests,
    "str | None": _signature,
    "tuple[SignedBallot, ...]": _ballots,
}

_FIELDS: Mapping[type[Any], tuple[tuple[str, _Check], ...]] = {
    kind: tuple((each.name, _KINDS[str(each.type)]) for each in fields(kind))
    for kind in (*CALLS.values(), SignedBallot)
}
