import importlib.util
import os
import random
from dataclasses import replace

import pytest

if importlib.util.find_spec("eth_abi") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no eth_abi here: pip install 'colearn[evm]'", allow_module_level=True)

from eth_abi.abi import encode

from colearn.core import calls as c
from colearn.core import events as e
from colearn.core.refusal import Reason
from colearn.errors import LedgerTamperedError, LocalProtocolError
from colearn.ledger import abi

A, B = "11" * 32, "ab" * 32
WHO = "0x" + "d0" * 20
BALLOT = c.SignedBallot(3, 1, 0, A, False, "01" * 64 + "1c")
CALLS = [
    c.Create(A, B, 2**256 - 1, "ipfs://x"),
    c.Invite(1, (WHO, "0x" + "00" * 20)),
    c.Invite(1, ()),
    c.Join(1, A, B, A),
    c.Start(1, A),
    c.Contribute(1, 2, A, B),
    c.Propose(1, 2, A, 2**255, (A, B), "u" * 256),
    c.Propose(1, 2, A, 0, (), ""),
    c.Skip(1, 2),
    c.Vote(1, 2, A, 255, 0, B),
    c.Abstain(1, 2, A),
    c.Commit(1, 2, A),
    c.Reveal(1, 2, 3, 4, A, B),
    c.VoteMany(1, 2, (BALLOT, replace(BALLOT, abstain=True, seat=255))),
    c.Advance(1, 2, 3),
    c.Wake(1),
    c.Leave(1),
    c.Motion(1, 2, 3, WHO),
    c.Confirm(1, A),
]
WORD = (7).to_bytes(32, "big")
PADDED = bytes(12) + bytes.fromhex(WHO[2:])


@pytest.mark.parametrize("call", CALLS, ids=lambda call: type(call).__name__)
def test_a_call_is_read_back_from_its_calldata(call):
    assert abi.from_calldata(abi.to_calldata(call)) == call


def test_every_kind_of_call_is_among_them():
    assert {type(call) for call in CALLS} == set(c.CALLS.values())
    assert len({abi.selector(name) for name in c.CALLS}) == len(c.CALLS)
    assert len({abi.event_topic(name) for name in e.EVENTS}) == len(e.EVENTS)


@pytest.mark.parametrize(
    "call",
    [
        c.Wake(-1),
        c.Wake(2**256),
        c.Wake("1"),
        c.Confirm(1, "11" * 31),
        c.Confirm(1, "zz" * 32),
        c.Confirm(1, None),
        c.Invite(1, (WHO,) * 65),
        c.Invite(1, ("0x12",)),
        c.Propose(1, 2, A, 0, (A,) * 9, ""),
        c.Propose(1, 2, A, 0, (A,), "u" * 257),
        c.Propose(1, 2, A, 0, (A,), "\u00e9" * 129),
        c.VoteMany(1, 2, (BALLOT,) * 257),
        c.VoteMany(1, 2, (replace(BALLOT, signature=None),)),
        c.VoteMany(1, 2, (replace(BALLOT, signature="01" * 64),)),
        c.VoteMany(1, 2, (replace(BALLOT, note="11"),)),
    ],
    ids=str,
)
def test_what_the_contract_does_not_take_is_not_sent(call):
    with pytest.raises(LocalProtocolError, match="does not take"):
        abi.to_calldata(call)


def ballots_from_chain(v):
    kinds = [
        "uint256",
        "uint256",
        "(uint256,uint256,uint256,bytes32,bool,uint256,uint256,uint256)[]",
    ]
    fields = (3, 1, 0, bytes(32), False, v, 1, 2**256 - 1)
    return abi.selector("vote_many") + encode(kinds, [1, 2, [fields]])


def test_a_signature_keeps_its_three_parts():
    (ballot,) = abi.from_calldata(ballots_from_chain(28)).ballots
    assert ballot.signature == "00" * 31 + "01" + "ff" * 32 + "1c"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x00\x00\x00\x00",
        abi.selector("wake"),
        abi.selector("wake") + bytes(31),
        abi.selector("invite") + encode(["uint256", "address[]"], [1, [WHO] * 65]),
        abi.selector("invite") + encode(["uint256", "uint256[]"], [1, [2**160]]),
        abi.selector("invite") + WORD + b"\xff" * 64,
        abi.selector("invite") + WORD + (64).to_bytes(32, "big") + b"\xff" * 32,
        abi.selector("leave") + bytes(abi.DATA_BYTES_MAX + 1),
        ballots_from_chain(256),
        ballots_from_chain(2**256 - 1),
    ],
)
def test_hostile_calldata_is_refused(data):
    with pytest.raises(LedgerTamperedError):
        abi.from_calldata(data)


def test_a_log_becomes_an_event():
    topics = [abi.event_topic("Voted"), WORD, WORD, PADDED]
    data = encode(["uint256", "uint256", "bool", "bytes32"], [1, 0, True, bytes.fromhex(A)])
    assert abi.from_log(topics, data) == e.Voted(7, 7, WHO, 1, 0, True, A)
    assert abi.from_log([abi.event_topic("Awoke"), WORD, PADDED], b"") == e.Awoke(7, WHO)


def created(uri):
    values = [bytes(32), bytes(32), 1, uri]
    return encode(["bytes32", "bytes32", "uint256", "bytes"], values)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (b"ipfs://x", "ipfs://x"),
        (b"\xff\xfe\x00", "???"),
        (b"\x1b[2Jx\n", "?[2Jx?"),
        ("\u00e9".encode(), "??"),
        (b"\xff" * 256, "?" * 256),
    ],
)
def test_a_text_that_the_contract_took_can_always_be_read_and_shown(uri, shown):
    event = abi.from_log([abi.event_topic("Created"), WORD, PADDED], created(uri))
    assert event.uri == shown


@pytest.mark.parametrize(
    ("topics", "data"),
    [
        ([], b""),
        ([WORD], b""),
        ([b""], b""),
        ([abi.event_topic("Awoke")], b""),
        ([abi.event_topic("Awoke"), WORD], b""),
        ([abi.event_topic("Awoke"), WORD, PADDED, WORD], b""),
        ([abi.event_topic("Awoke"), WORD, b"\xff" * 32], b""),
        ([abi.event_topic("Awoke"), WORD[1:], PADDED + b"\x00"], b""),
        ([abi.event_topic("Created"), WORD, PADDED], created(b"u" * 257)),
        ([abi.event_topic("Created"), WORD, PADDED], created(b"u")[:-32]),
        ([abi.event_topic("Created"), WORD, PADDED], b"\xff" * 160),
        ([abi.event_topic("Created"), WORD, PADDED], bytes(abi.DATA_BYTES_MAX + 1)),
    ],
)
def test_a_hostile_log_is_refused(topics, data):
    with pytest.raises(LedgerTamperedError):
        abi.from_log(topics, data)


def test_changed_bytes_are_a_value_or_refused_and_never_another_error():
    chance = random.Random(7)
    calldata = [abi.to_calldata(call) for call in CALLS]
    topics = [abi.event_topic(name) for name in e.EVENTS]
    read = refused = 0
    for _ in range(4000):
        data = bytearray(chance.choice(calldata))
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(4, len(data)) if len(data) > 4 else 0
            data[place] = chance.choice((0, 1, 32, 255, chance.randrange(256)))
        if chance.random() < 0.3:
            del data[chance.randrange(4, len(data) + 1) :]
        log = [chance.choice(topics), WORD, *(PADDED,) * chance.randint(0, 2)]
        for attempt in (
            lambda data=data: abi.from_calldata(bytes(data)),
            lambda data=data, log=log: abi.from_log(log, bytes(data[4:])),
        ):
            try:
                attempt()
                read += 1
            except LedgerTamperedError:
                refused += 1
    assert read > 500
    assert refused > 500


def reverted(text):
    return bytes.fromhex("08c379a0") + encode(["bytes"], [text])


@pytest.mark.parametrize("reason", Reason)
def test_a_revert_says_the_reason_of_the_rules(reason):
    assert abi.refusal(reverted(reason.encode())) is reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\xc3\x79\xa0",
        reverted(b"no such reason"),
        reverted(b"\xff"),
        reverted(b"no member")[:-40],
        bytes.fromhex("08c379a0") + b"\xff" * 64,
        reverted(b"x" * abi.DATA_BYTES_MAX),
        bytes.fromhex("4e487b71") + WORD,
    ],
)
def test_any_other_revert_is_no_reason(data):
    assert abi.refusal(data) is None
