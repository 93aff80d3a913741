"""The contract's calls and logs, to and from the values of `colearn.core` (protocol 7.3).

Everything that is read here comes from a chain, or from a node that says so: whatever it is, the
answer is a value of `colearn.core` or a `LedgerTamperedError`. What the contract can log is always
readable, so nobody can stop the readers of a chain with an odd text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from colearn.core.calls import CALLS, Call, SignedBallot
from colearn.core.encoding import BALLOTS_MAX, CANDIDATES_MAX, INVITATIONS_MAX, URI_BYTES_MAX
from colearn.core.events import EVENTS, Event
from colearn.core.refusal import Reason
from colearn.crypto import DIGEST_BYTES, SIGNATURE_BYTES, keccak256
from colearn.errors import LedgerTamperedError, LocalProtocolError, MissingExtraError
from colearn.ledger.contract import artefact

try:
    from eth_abi.abi import decode, encode
    from eth_abi.exceptions import DecodingError, EncodingError
except ImportError as error:
    raise MissingExtraError("eth-abi", extra="evm") from error

__all__ = [
    "DATA_BYTES_MAX",
    "event_topic",
    "from_calldata",
    "from_log",
    "refusal",
    "selector",
    "to_calldata",
]

DATA_BYTES_MAX = 128 * 1024
"""Bytes of a call or a log that are looked at; 256 relayed ballots take 66 kB (6.4)."""

_REVERTED = keccak256(b"Error(string)")[:4]
_WORD_BYTES = 32
_UNPRINTABLE = re.compile(rb"[^ -~]")
_NAMES = {kind: name for name, kind in CALLS.items()}

_Inputs = tuple[tuple[str, str], ...]
"""Name and ABI type of each input, in their order."""


def selector(name: str) -> bytes:
    """Return the four bytes that begin the calldata of the call `name`."""
    return _calls()[name][0]


def event_topic(name: str) -> bytes:
    """Return the 32 bytes that are the first topic of the event `name`."""
    return _events()[name][0]


def to_calldata(call: Call) -> bytes:
    """Return what a transaction sends to the contract for `call`.

    Raises:
        LocalProtocolError: A field is not what the contract takes.
    """
    name = _NAMES[type(call)]
    begin, inputs = _calls()[name]
    kinds = [kind for _, kind in inputs]
    try:
        values = [_WRITE.get(kind, _same)(getattr(call, field)) for field, kind in inputs]
        return begin + bytes(encode(kinds, values))
    except (EncodingError, ValueError, TypeError, AttributeError) as error:
        raise LocalProtocolError(
            f"A call {name!r} has a field that the contract does not take: {error}."
        ) from error


def from_calldata(data: bytes) -> Call:
    """Read the calldata of a transaction.

    Raises:
        LedgerTamperedError: It is no call that the contract can read.
    """
    for name, (begin, inputs) in _calls().items():
        if data.startswith(begin):
            return CALLS[name](**_read(inputs, data[4:], f"the call {name!r}"))
    raise _tampered("a call of the contract", f"calldata that begins with 0x{data[:4].hex()}")


def from_log(topics: Sequence[bytes], data: bytes) -> Event:
    """Read a log of the contract; whose log it is, the caller has to look at.

    Raises:
        LedgerTamperedError: The contract logs nothing like it.
    """
    for name, (topic, indexed, inputs) in _events().items():
        if topics and topics[0] == topic:
            if [len(each) for each in topics[1:]] != [_WORD_BYTES] * len(indexed):
                raise _tampered(f"the event {name}", "other topics")
            keys = _read(indexed, b"".join(topics[1:]), f"the topics of {name}")
            return EVENTS[name](**keys, **_read(inputs, data, f"the event {name}"))
    raise _tampered("an event of the contract", f"a log with {len(topics)} unknown topics")


def refusal(data: bytes) -> Reason | None:
    """Return why the contract refused a call, or None if `data` is no reason of the rules.

    Args:
        data: What the reverted call returned.
    """
    if not data.startswith(_REVERTED) or len(data) > DATA_BYTES_MAX:
        return None
    try:
        (text,) = decode(["bytes"], data[len(_REVERTED) :])
        return Reason(text.decode("ascii"))
    except (DecodingError, ValueError, OverflowError):
        return None


@cache
def _calls() -> Mapping[str, tuple[bytes, _Inputs]]:
    """Return the selector and the inputs of each call."""
    return {
        entry["name"]: (_hash(entry)[:4], _inputs(entry["inputs"]))
        for entry in artefact().abi
        if entry["type"] == "function" and entry["name"] in CALLS
    }


@cache
def _events() -> Mapping[str, tuple[bytes, _Inputs, _Inputs]]:
    """Return the topic, the indexed inputs and the others of each event."""
    return {
        entry["name"]: (
            _hash(entry),
            _inputs(each for each in entry["inputs"] if each["indexed"]),
            _inputs(each for each in entry["inputs"] if not each["indexed"]),
        )
        for entry in artefact().abi
        if entry["type"] == "event"
    }


def _hash(entry: Mapping[str, Any]) -> bytes:
    kinds = ",".join(kind for _, kind in _inputs(entry["inputs"]))
    return keccak256(f"{entry['name']}({kinds})".encode())


def _inputs(entries: Iterable[Mapping[str, Any]]) -> _Inputs:
    return tuple((each["name"], _kind(each)) for each in entries)


def _kind(entry: Mapping[str, Any]) -> str:
    """Return an input's type as signatures write it: a struct is the tuple of its fields."""
    kind: str = entry["type"]
    if not kind.startswith("tuple"):
        return kind
    parts = ",".join(part for _, part in _inputs(entry["components"]))
    return f"({parts}){kind.removeprefix('tuple')}"


def _read(inputs: _Inputs, data: bytes, what: str) -> dict[str, Any]:
    if len(data) > DATA_BYTES_MAX:
        raise _tampered(f"{what} in {DATA_BYTES_MAX} bytes", f"{len(data)}")
    # Texts are read as bytes, because the contract takes bytes that are no text as well.
    kinds = [kind.replace("string", "bytes") for _, kind in inputs]
    try:
        values = decode(kinds, data)
        return {
            name: _READ.get(kind, _same)(value)
            for (name, kind), value in zip(inputs, values, strict=True)
        }
    except (DecodingError, ValueError, OverflowError) as error:
        raise _tampered(what, f"{len(data)} bytes that are none") from error


def _tampered(expected: str, got: str) -> LedgerTamperedError:
    return LedgerTamperedError(
        f"Expected {expected}, got {got}.",
        entry=None,
        rule="7.3",
        hint="Ask another node of the chain, and compare the contract's address.",
    )


def _same(value: Any) -> Any:
    return value


def _at_most(values: Any, most: int) -> Any:
    if len(values) > most:
        raise ValueError(f"{len(values)} where {most} are the most")
    return values


def _read_text(data: bytes) -> str:
    """Return a URI as it may go to a screen; what is no printable ASCII becomes a question mark."""
    return _UNPRINTABLE.sub(b"?", _at_most(data, URI_BYTES_MAX)).decode("ascii")


def _read_ballot(values: tuple[Any, ...]) -> SignedBallot:
    seat, not_worse, better, note, abstain, v, r, s = values
    signature = r.to_bytes(_WORD_BYTES, "big") + s.to_bytes(_WORD_BYTES, "big") + bytes((v,))
    return SignedBallot(seat, not_worse, better, note.hex(), abstain, signature.hex())


def _write_digest(text: str) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != DIGEST_BYTES:  # a short one would be padded
        raise ValueError(f"a digest of {len(digest)} bytes")
    return digest


def _write_text(text: str) -> str:
    _at_most(text.encode(), URI_BYTES_MAX)
    return text


def _write_ballot(ballot: SignedBallot) -> tuple[Any, ...]:
    if ballot.signature is None:
        raise ValueError("a ballot without its signature")
    signature = bytes.fromhex(ballot.signature)
    if len(signature) != SIGNATURE_BYTES:
        raise ValueError("a signature of another length")
    r, s = signature[:_WORD_BYTES], signature[_WORD_BYTES:-1]
    return (
        ballot.seat,
        ballot.not_worse,
        ballot.better,
        _write_digest(ballot.note),
        ballot.abstain,
        signature[-1],
        int.from_bytes(r, "big"),
        int.from_bytes(s, "big"),
    )


_BALLOTS = "(uint256,uint256,uint256,bytes32,bool,uint256,uint256,uint256)[]"

_READ: Mapping[str, Callable[[Any], Any]] = {
    "bytes32": bytes.hex,
    "string": _read_text,
    "address[]": lambda values: tuple(_at_most(values, INVITATIONS_MAX)),
    "bytes32[]": lambda values: tuple(map(bytes.hex, _at_most(values, CANDIDATES_MAX))),
    _BALLOTS: lambda values: tuple(map(_read_ballot, _at_most(values, BALLOTS_MAX))),
}

_WRITE: Mapping[str, Callable[[Any], Any]] = {
    "bytes32": _write_digest,
    "string": _write_text,
    "address[]": lambda values: _at_most(values, INVITATIONS_MAX),
    "bytes32[]": lambda values: [_write_digest(each) for each in _at_most(values, CANDIDATES_MAX)],
    _BALLOTS: lambda values: [_write_ballot(each) for each in _at_most(values, BALLOTS_MAX)],
}
