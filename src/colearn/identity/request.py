"""Requests between members over HTTP: signed, bound to one server and one moment (7.6, 7.9).

A request says who sends it and how far its sender has read the ledger. The signature is one of
EIP-712 under the domain of ballots, so it is valid on one ledger and nowhere else, and it can be
shown to others: a member that signed two heads of one height has signed the evidence itself.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections import deque
from dataclasses import asdict, dataclass, field

from colearn.core.bindings import Domain, separator, word
from colearn.crypto import is_low_s, keccak256, recover
from colearn.errors import RemoteProtocolError, SignatureError
from colearn.identity.key import Key

__all__ = [
    "CLOCK_S",
    "NO_BODY",
    "Claim",
    "Freshness",
    "Statement",
    "nonce_of",
    "read_head",
    "read_request",
    "sign_head",
    "sign_request",
]

CLOCK_S = 60
"""Seconds by which the time in a request may differ from the receiver's."""

NO_BODY = hashlib.sha256(b"").hexdigest()
"""The digest of the body of a request that has none."""

_HEADER_MAX = 600
_NUMBER_MAX = 2**63

_HEADER = re.compile(
    r"Colearn address=(?P<address>0x[0-9a-f]{40}), time=(?P<time>0|[1-9][0-9]{0,18}), "
    r"height=(?P<height>0|[1-9][0-9]{0,18}), head=(?P<head>[0-9a-f]{64}), "
    r"nonce=(?P<nonce>[0-9a-f]{64}), signature=(?P<signature>[0-9a-f]{130})"
)
_HEAD = re.compile(
    r"(?P<height>0|[1-9][0-9]{0,18}):(?P<head>[0-9a-f]{64})"
    r"(?: address=(?P<address>0x[0-9a-f]{40}), signature=(?P<signature>[0-9a-f]{130}))?"
)

_REQUEST_TYPE = keccak256(
    b"Request(string method,string host,string target,bytes32 body,uint64 time,uint64 height,"
    b"bytes32 head,bytes32 nonce)"
)
_HEAD_TYPE = keccak256(b"Head(uint64 height,bytes32 head,bytes32 nonce)")


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody signed when it sent a request.

    Attributes:
        address: Who.
        method: As ``GET``.
        host: The server that was meant, as in the Host header.
        target: Path and query.
        body: Sha256 of the body, in hex.
        time: Seconds since 1970, by the sender's clock.
        height: How far the sender has read the ledger.
        head: The head there, in hex (7.9).
        nonce: 32 random bytes, in hex.
        signature: Of the request; 65 bytes.
    """

    address: str
    method: str
    host: str
    target: str
    body: str
    time: int
    height: int
    head: str
    nonce: str
    signature: bytes = field(repr=False)

    def check(self, domain: Domain) -> None:
        """Verify the signature: what a receiver does, and whoever is shown the claim later.

        Raises:
            SignatureError: The address has not signed this on this ledger.
        """
        _check(_request_digest(domain, self), self.signature, self.address)

    def header(self) -> str:
        """Return the Authorization header it came in."""
        return (
            f"Colearn address={self.address}, time={self.time}, height={self.height}, "
            f"head={self.head}, nonce={self.nonce}, signature={self.signature.hex()}"
        )

    def evidence(self) -> dict[str, str | int]:
        """Return everything that the signature covers, and it, as a document of JSON."""
        return {**asdict(self), "signature": self.signature.hex()}


@dataclass(frozen=True, slots=True)
class Statement:
    """How far a server says it has read the ledger.

    Attributes:
        height: How far.
        head: The head there, in hex (7.9).
        nonce: Of the request that it answers.
        address: Who signed it; None when nobody did, as a host has no key.
        signature: 65 bytes, or none.
    """

    height: int
    head: str
    nonce: str
    address: str | None = None
    signature: bytes = field(default=b"", repr=False)

    def check(self, domain: Domain) -> None:
        """Verify the signature, if it has one.

        Raises:
            SignatureError: The address has not signed this on this ledger.
        """
        if self.address is not None:
            digest = _head_digest(domain, self.height, self.head, self.nonce)
            _check(digest, self.signature, self.address)

    def evidence(self) -> dict[str, str | int | None]:
        """Return everything that the signature covers, and it, as a document of JSON."""
        return {**asdict(self), "signature": self.signature.hex()}


def sign_request(
    key: Key,
    domain: Domain,
    method: str,
    *,
    host: str,
    target: str,
    body_digest: str,
    now: float,
    head: tuple[int, str],
) -> str:
    """Return the Authorization header of a request.

    Args:
        key: The sender's.
        domain: Of the ledger that sender and receiver share.
        method: As ``GET``.
        host: The server, as it will stand in the Host header.
        target: Path and query, as they will be sent.
        body_digest: Sha256 of the body, in hex; `NO_BODY` without one.
        now: Seconds since 1970.
        head: Height and head up to which the sender has read the ledger (7.9).
    """
    claim = Claim(
        key.address, method, host, target, body_digest, int(now), *head, secrets.token_hex(32), b""
    )
    signature = key.sign(_request_digest(domain, claim))
    return f"{claim.header()}{signature.hex()}"


def nonce_of(header: str) -> str:
    """Return the nonce of a header that `sign_request` made."""
    found = _HEADER.fullmatch(header)
    assert found is not None
    return found["nonce"]


def read_request(
    header: str,
    domain: Domain,
    method: str,
    *,
    host: str,
    target: str,
    body_digest: str,
    now: float,
) -> Claim:
    """Verify the Authorization header of a request, and return what its sender signed.

    That the nonce is new is not checked here: `Freshness` does it, for those whom the receiver
    knows.

    Raises:
        RemoteProtocolError: The header has another form, or another time than this clock.
        SignatureError: The address has not signed this request, to this server, on this ledger.
    """
    found = _HEADER.fullmatch(header) if len(header) <= _HEADER_MAX else None
    if found is None:
        raise _refused("A request needs the header 'Authorization: Colearn address=...'")
    time, height = int(found["time"]), int(found["height"])
    address = found["address"]
    if max(time, height) >= _NUMBER_MAX:
        raise _refused("Numbers in a request are below 2**63", address)
    # Before the signature, which is dearer to check.
    if not abs(time - now) <= CLOCK_S:
        raise _refused(
            f"The request says it is {time}, and here it is {now:.0f}: more than {CLOCK_S} s apart",
            address,
            hint="Set the clocks of both machines right.",
        )
    claim = Claim(
        address, method, host, target, body_digest, time, height, found["head"], found["nonce"],
        bytes.fromhex(found["signature"]),
    )  # fmt: skip
    claim.check(domain)
    return claim


def sign_head(key: Key | None, domain: Domain, head: tuple[int, str], nonce: str) -> str:
    """Return the header in which a server says how far it has read the ledger.

    Args:
        key: The server's, when it is a member; a host has none.
        domain: Of the ledger.
        head: Height and head.
        nonce: Of the request that is answered.
    """
    height, digest = head
    text = f"{height}:{digest}"
    if key is None:
        return text
    signature = key.sign(_head_digest(domain, height, digest, nonce))
    return f"{text} address={key.address}, signature={signature.hex()}"


def read_head(text: str, domain: Domain, nonce: str) -> Statement:
    """Verify how far a server says it has read the ledger.

    Args:
        text: The header.
        domain: Of the ledger.
        nonce: Of the request that was sent.

    Raises:
        RemoteProtocolError: It has another form.
        SignatureError: It names somebody who has not signed it.
    """
    found = _HEAD.fullmatch(text) if len(text) <= _HEADER_MAX else None
    if found is None or int(found["height"]) >= _NUMBER_MAX:
        raise _refused("A server says how far it has read as HEIGHT:HASH")
    signature = bytes.fromhex(found["signature"] or "")
    statement = Statement(int(found["height"]), found["head"], nonce, found["address"], signature)
    statement.check(domain)
    return statement


class Freshness:
    """Remembers nonces as long as their requests could be sent again; threads may share it.

    It is asked about members only, whose number a ledger bounds. What a restart forgets can be
    sent again for a minute: it is answered to who holds the connection, and changes nothing.
    """

    def __init__(self, *, nonces_max: int = 8192, addresses_max: int = 4096) -> None:
        """Remember at most so many nonces of an address, and so many addresses."""
        self._nonces_max, self._addresses_max = nonces_max, addresses_max
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    def admit(self, claim: Claim, now: float) -> None:
        """Take note of a request's nonce.

        Raises:
            RemoteProtocolError: It was seen before, or its sender sends too many requests.
        """
        with self._lock:
            seen = self._seen.get(claim.address)
            if seen is None:
                self._make_room(now)
                seen = self._seen[claim.address] = _Seen()
            seen.forget(now)
            if claim.nonce in seen.nonces:
                raise _refused("The same request was sent before", claim.address)
            if len(seen.nonces) >= self._nonces_max:
                raise _refused("Too many requests from one address in two minutes", claim.address)
            seen.remember(claim.nonce, max(now, claim.time))

    def _make_room(self, now: float) -> None:
        if len(self._seen) < self._addresses_max:
            return
        for seen in self._seen.values():
            seen.forget(now)
        self._seen = {address: seen for address, seen in self._seen.items() if seen.nonces}
        if len(self._seen) >= self._addresses_max:
            raise _refused("Too many addresses at once")


class _Seen:
    """The nonces of one address."""

    def __init__(self) -> None:
        self.nonces: set[str] = set()
        self._order: deque[tuple[float, str]] = deque()

    def remember(self, nonce: str, time: float) -> None:
        self.nonces.add(nonce)
        self._order.append((time, nonce))

    def forget(self, now: float) -> None:
        """Drop what is too old to pass as a request again."""
        while self._order and self._order[0][0] < now - 2 * CLOCK_S:
            self.nonces.discard(self._order.popleft()[1])


def _request_digest(domain: Domain, claim: Claim) -> bytes:
    texts = (claim.method, claim.host, claim.target)
    struct = (
        _REQUEST_TYPE
        + b"".join(keccak256(text.encode("utf-8", "surrogatepass")) for text in texts)
        + bytes.fromhex(claim.body)
        + word(claim.time)
        + word(claim.height)
        + bytes.fromhex(claim.head)
        + bytes.fromhex(claim.nonce)
    )
    return keccak256(b"\x19\x01" + separator(domain) + keccak256(struct))


def _head_digest(domain: Domain, height: int, head: str, nonce: str) -> bytes:
    struct = _HEAD_TYPE + word(height) + bytes.fromhex(head) + bytes.fromhex(nonce)
    return keccak256(b"\x19\x01" + separator(domain) + keccak256(struct))


def _check(digest: bytes, signature: bytes, address: str) -> None:
    # Low s only, so that nobody can make another valid form of what somebody signed (7.9).
    if not is_low_s(signature) or recover(digest, signature) != address:
        raise SignatureError(
            f"{address} has not signed this, for this server, on this ledger.",
            hint="Both sides must name the same ledger, and the server by the same host.",
        )


def _refused(what: str, peer: str = "unknown", *, hint: str = "") -> RemoteProtocolError:
    return RemoteProtocolError(f"{what}.", peer=peer, rule="7.6", hint=hint)
