"""What digests and signatures cover, byte for byte as the contract computes it (7.3, 7.4).

keccak256 over ABI words: a number or an address is 32 bytes, big-endian; digests are 32 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from colearn.core.calls import Reveal, SignedBallot
from colearn.crypto import keccak256

__all__ = [
    "ZERO",
    "Domain",
    "ballot_digest",
    "commitment",
    "grown_roster",
    "origin",
    "proposal_key",
    "separator",
    "word",
]

ZERO = "00" * 32
"""The digest that stands for none."""

_DOMAIN_TYPE = keccak256(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_BALLOT_TYPE = keccak256(
    b"Ballot(uint256 experiment,uint256 round,bytes32 key,uint256 notWorse,uint256 better,"
    b"bytes32 note,bool abstain)"
)
_NAME, _VERSION = keccak256(b"Colearn"), keccak256(b"1")


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a signature or a commitment is valid, and nowhere else (S11).

    Attributes:
        chain_id: The chain; 1 on a log.
        contract: The contract's address; on a log the last 20 bytes of its genesis.
    """

    chain_id: int
    contract: str


def word(number: int) -> bytes:
    """Return a number below 2**256 as 32 bytes."""
    return number.to_bytes(32, "big")


def _address(text: str) -> bytes:
    return bytes(12) + bytes.fromhex(text[2:])


def origin(specification: str, model: str) -> str:
    """Return what `join` must name again: the specification and model 0 (6.1)."""
    return keccak256(bytes.fromhex(specification) + bytes.fromhex(model)).hex()


def grown_roster(roster: str, member: str) -> str:
    """Return the digest of a roster and one member more (7.3)."""
    return keccak256(bytes.fromhex(roster) + _address(member)).hex()


def proposal_key(parent: str, included: int, candidates: tuple[str, ...]) -> str:
    """Return what ballots name: the parent, the seats included and the candidates (7.3)."""
    head = bytes.fromhex(parent) + word(included) + word(96)
    return keccak256(head + word(len(candidates)) + b"".join(map(bytes.fromhex, candidates))).hex()


def commitment(domain: Domain, voter: str, key: str, ballot: Reveal) -> str:
    """Return the commitment to a blind ballot, which `ballot` will open (7.4)."""
    covered = (
        word(domain.chain_id)
        + _address(domain.contract)
        + word(ballot.experiment)
        + word(ballot.round_number)
        + _address(voter)
        + bytes.fromhex(key)
        + word(ballot.not_worse)
        + word(ballot.better)
        + bytes.fromhex(ballot.note)
        + bytes.fromhex(ballot.salt)
    )
    return keccak256(covered).hex()


def ballot_digest(
    domain: Domain, experiment: int, round_number: int, key: str, ballot: SignedBallot
) -> bytes:
    """Return the EIP-712 digest that a voter signs for a relay (7.3)."""
    struct = keccak256(
        _BALLOT_TYPE
        + word(experiment)
        + word(round_number)
        + bytes.fromhex(key)
        + word(ballot.not_worse)
        + word(ballot.better)
        + bytes.fromhex(ballot.note)
        + word(ballot.abstain)
    )
    return keccak256(b"\x19\x01" + separator(domain) + struct)


@lru_cache(maxsize=64)
def separator(domain: Domain) -> bytes:
    """Return the EIP-712 domain separator of ballots, and of messages between members (7.6)."""
    return keccak256(
        _DOMAIN_TYPE + _NAME + _VERSION + word(domain.chain_id) + _address(domain.contract)
    )
