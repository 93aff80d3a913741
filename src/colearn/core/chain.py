"""The log's own form: genesis, entries that members sign, rows, and the chain of heads (7.9)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from colearn.core.bindings import Domain, word
from colearn.crypto import keccak256
from colearn.errors import RemoteProtocolError
from colearn.shallow import read_json

__all__ = [
    "GENESIS_BYTES_MAX",
    "LOG_CHAIN_ID",
    "RULES_VERSION",
    "Entry",
    "Genesis",
    "Row",
    "head_after",
]

LOG_FORMAT = "colearn-log-1"
RULES_VERSION = 1
LOG_CHAIN_ID = 1
"""The chain that signatures for a log name; its contract is an address no contract can have."""

GENESIS_BYTES_MAX = 4096
STAMP_END = 2**40 - 2**32
"""Stamps are below this, as the contract keeps deadlines in 40 bits and durations in 32."""

NUMBER_MAX = 2**63
"""Nonces, heights, times and stamps are below this, as databases keep them in 64 bits."""

_DOMAIN_TYPE = keccak256(b"EIP712Domain(string name,string version,bytes32 salt)")
_ENTRY_TYPE = keccak256(
    b"Entry(uint64 nonce,uint64 anchorHeight,bytes32 anchorHead,uint64 time,bytes call)"
)
_NAME, _VERSION = keccak256(b"Colearn log"), keccak256(b"1")


@dataclass(frozen=True, slots=True)
class Genesis:
    """What a log is born with.

    Attributes:
        contract: Sha256 of the contract artefact whose rules hold, in hex.
        salt: 32 random bytes, in hex: no two logs have one digest.
        creator: The address that made the log.
        drift_s: How far clocks may differ, in seconds.
        format: The form of entries and rows.
        rules_version: Of the pure rules.
    """

    contract: str
    salt: str
    creator: str
    drift_s: int
    format: str = LOG_FORMAT
    rules_version: int = RULES_VERSION

    def encode(self) -> bytes:
        """Return the canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @staticmethod
    def decode(data: bytes) -> Genesis:
        """Read what `encode` wrote.

        Raises:
            RemoteProtocolError: It is something else, or of another version.
        """
        try:
            genesis = Genesis(**read_json(data[: GENESIS_BYTES_MAX + 1]))
            fits = genesis.encode() == data and _is_genesis(genesis)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            fits = False
        if not fits:
            raise RemoteProtocolError(
                "Expected the genesis of a log of this version.", peer="unknown", rule="7.9"
            )
        return genesis

    @property
    def digest(self) -> str:
        """The head of the empty log, and the salt of every signature on this one (S11)."""
        return hashlib.sha256(self.encode()).hexdigest()

    @property
    def domain(self) -> Domain:
        """Where relayed ballots and commitments of this log are valid."""
        return Domain(LOG_CHAIN_ID, "0x" + self.digest[-40:])

    @property
    def separator(self) -> bytes:
        """The EIP-712 domain separator of entries."""
        return keccak256(_DOMAIN_TYPE + _NAME + _VERSION + bytes.fromhex(self.digest))


def _is_genesis(genesis: Genesis) -> bool:
    hexes = ((genesis.contract, 64), (genesis.salt, 64), (genesis.creator[2:], 40))
    drift = genesis.drift_s
    return (
        genesis.format == LOG_FORMAT
        # true and 1.0 are equal to 1 as well, and are other bytes.
        and (type(genesis.rules_version), genesis.rules_version) == (int, RULES_VERSION)
        and genesis.creator.startswith("0x")
        and all(len(text) == n and bytes.fromhex(text).hex() == text for text, n in hexes)
        and type(drift) is int
        and 0 <= drift < 2**16
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """What a member signs.

    Attributes:
        nonce: How many rows its signer had before.
        anchor_height: Height of a row that the signer has verified; 0 is the genesis.
        anchor_head: The head there, 64 hex digits.
        time: The signer's clock, whole seconds since 1970.
        call: Canonical bytes of a call.
    """

    nonce: int
    anchor_height: int
    anchor_head: str
    time: int
    call: bytes

    def encode(self) -> bytes:
        """Return the bytes that rows hash: three numbers, the anchor's head, the call."""
        return (
            self.nonce.to_bytes(8, "big")
            + self.anchor_height.to_bytes(8, "big")
            + self.time.to_bytes(8, "big")
            + bytes.fromhex(self.anchor_head)
            + self.call
        )

    @staticmethod
    def decode(data: bytes) -> Entry:
        """Read what `encode` wrote; any 56 bytes or more are an entry.

        Raises:
            RemoteProtocolError: Fewer bytes, or a number that is too large.
        """
        numbers = [int.from_bytes(data[at : at + 8], "big") for at in (0, 8, 16)]
        if len(data) < 56 or max(numbers) >= NUMBER_MAX:
            raise RemoteProtocolError("Expected an entry of a log.", peer="unknown", rule="7.9")
        nonce, height, time = numbers
        return Entry(nonce, height, data[24:56].hex(), time, data[56:])

    def digest(self, separator: bytes) -> bytes:
        """Return the EIP-712 digest that the signer signs."""
        struct = keccak256(
            _ENTRY_TYPE
            + word(self.nonce)
            + word(self.anchor_height)
            + bytes.fromhex(self.anchor_head)
            + word(self.time)
            + keccak256(self.call)
        )
        return keccak256(b"\x19\x01" + separator + struct)


@dataclass(frozen=True, slots=True)
class Row:
    """An entry in its place.

    Attributes:
        entry: What was signed.
        signature: r, s and v, 65 bytes.
        stamp: When the orderer took it in, whole seconds since 1970.
    """

    entry: Entry
    signature: bytes
    stamp: int


def head_after(head: str, row: Row) -> str:
    """Return the head of a log that ended in `head` and has got `row` (7.9)."""
    covered = (
        bytes.fromhex(head)
        + row.stamp.to_bytes(8, "big")
        + hashlib.sha256(row.entry.encode()).digest()
        + row.signature
    )
    return hashlib.sha256(covered).hexdigest()
