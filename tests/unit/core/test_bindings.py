"""What digests cover, byte for byte: the numbers were computed with eth-abi and eth-account."""

import hashlib
from dataclasses import replace

import pytest

from colearn.core.bindings import (
    ZERO,
    Domain,
    ballot_digest,
    commitment,
    grown_roster,
    origin,
    proposal_key,
    word,
)
from colearn.core.calls import Reveal, SignedBallot
from colearn.core.chain import Entry, Genesis, Row, head_after

ONE, TWO, THREE = "11" * 32, "22" * 32, "33" * 32
SOMEBODY = "0x" + "ab" * 20
DOMAIN = Domain(31337, "0x" + "cd" * 20)
BLIND = Reveal(7, 9, 3, 0, TWO, THREE)
SIGNED = SignedBallot(1, 3, 0, TWO, True, None)
GENESIS = Genesis("c0" * 32, "5a" * 32, SOMEBODY, 5)


def test_digests_are_those_of_the_contract():
    assert origin(ONE, TWO) == "3e92e0db88d6afea9edc4eedf62fffa4d92bcdfc310dccbe943747fe8302e871"
    assert grown_roster(ZERO, SOMEBODY) == (
        "f388faf74fb3cee95c18160008f1f0bae0457be21563cded85c8d429ad81049f"
    )
    assert proposal_key(ONE, 5, (TWO, THREE)) == (
        "b7108b408771375b2a1695be74f30d0b1b6d3e72837d4d5ca0a4d043c8fb5cfa"
    )
    assert proposal_key(ONE, 0, (TWO,)) == (
        "aecc5cf83d469ed0eccb4d354e2439e682b07bd6eefe2e140dffbb8cce68429b"
    )
    assert commitment(DOMAIN, SOMEBODY, ONE, BLIND) == (
        "ee1727fb186f4de8cabf474a2b18b900279b2cee4e549d6116e2651a2b7452ef"
    )


def test_what_is_signed_is_eip_712():
    assert ballot_digest(DOMAIN, 7, 9, ONE, SIGNED).hex() == (
        "302cfbaa55bb048b0741d8cf51b489c5646bbc8151f1a64786047af0b63fe594"
    )
    entry = Entry(3, 4, ONE, 1_700_000_000, b"{}")
    assert entry.digest(GENESIS.separator).hex() == (
        "3b5adc8a43d09c587d7185cdb18bcccd914e56f419f10518ed6c98b16f082754"
    )


def test_a_number_is_32_bytes():
    assert word(258) == bytes(30) + b"\x01\x02"
    with pytest.raises(OverflowError):
        word(2**256)


def test_a_roster_depends_on_the_order():
    other = "0x" + "cd" * 20
    both = grown_roster(grown_roster(ZERO, SOMEBODY), other)
    assert both != grown_roster(grown_roster(ZERO, other), SOMEBODY)


@pytest.mark.parametrize(
    "changes",
    [
        {"experiment": 8},
        {"round_number": 10},
        {"not_worse": 2},
        {"better": 1},
        {"note": THREE},
        {"salt": TWO},
    ],
)
def test_a_commitment_covers_the_whole_ballot(changes):
    right = commitment(DOMAIN, SOMEBODY, ONE, BLIND)
    assert commitment(DOMAIN, SOMEBODY, ONE, replace(BLIND, **changes)) != right


def test_a_commitment_covers_chain_contract_voter_and_candidates():
    digests = {
        commitment(DOMAIN, SOMEBODY, ONE, BLIND),
        commitment(replace(DOMAIN, chain_id=1), SOMEBODY, ONE, BLIND),
        commitment(replace(DOMAIN, contract=SOMEBODY), SOMEBODY, ONE, BLIND),
        commitment(DOMAIN, DOMAIN.contract, ONE, BLIND),
        commitment(DOMAIN, SOMEBODY, TWO, BLIND),
    }
    assert len(digests) == 5


def test_a_signed_ballot_covers_all_but_the_seat_which_its_key_stands_for():
    digests = {
        ballot_digest(DOMAIN, 7, 9, ONE, SIGNED),
        ballot_digest(replace(DOMAIN, chain_id=1), 7, 9, ONE, SIGNED),
        ballot_digest(replace(DOMAIN, contract=SOMEBODY), 7, 9, ONE, SIGNED),
        ballot_digest(DOMAIN, 8, 9, ONE, SIGNED),
        ballot_digest(DOMAIN, 7, 8, ONE, SIGNED),
        ballot_digest(DOMAIN, 7, 9, TWO, SIGNED),
        ballot_digest(DOMAIN, 7, 9, ONE, replace(SIGNED, not_worse=2)),
        ballot_digest(DOMAIN, 7, 9, ONE, replace(SIGNED, better=1)),
        ballot_digest(DOMAIN, 7, 9, ONE, replace(SIGNED, note=ONE)),
        ballot_digest(DOMAIN, 7, 9, ONE, replace(SIGNED, abstain=False)),
    }
    assert len(digests) == 10
    again = ballot_digest(DOMAIN, 7, 9, ONE, replace(SIGNED, seat=2, signature="00" * 65))
    assert again in digests


def test_a_head_covers_the_one_before_the_stamp_the_entry_and_the_signature():
    entry, signature = Entry(3, 4, ONE, 1_700_000_000, b"{}"), bytes(range(65))
    row = Row(entry, signature, 1_700_000_001)
    covered = bytes.fromhex(TWO) + (1_700_000_001).to_bytes(8, "big")
    covered += hashlib.sha256(entry.encode()).digest() + signature
    assert head_after(TWO, row) == hashlib.sha256(covered).hexdigest()
