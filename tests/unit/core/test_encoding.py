import json

import pytest

from colearn.core import Phase, Rules, decode_call, encode_call
from colearn.core.calls import (
    CALLS,
    Advance,
    Create,
    Invite,
    Motion,
    Propose,
    SignedBallot,
    Skip,
    Vote,
    VoteMany,
)
from colearn.core.encoding import BALLOTS_MAX, CALL_BYTES_MAX
from colearn.errors import RemoteProtocolError

ONE, TWO = "11" * 32, "22" * 32
SOMEBODY = "0x" + "ab" * 20
BALLOT = SignedBallot(255, 1, 0, ONE, False, "ef" * 65)
CREATE = Create(ONE, TWO, Rules().to_word(), "ipfs://x")
VOTE = Vote(1, 2, ONE, 1, 0, TWO)


def canonical(**document):
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def document(call, **changes):
    return {**json.loads(encode_call(call)), **changes}


def test_the_bytes_are_sorted_json_without_spaces():
    assert encode_call(Skip(1, 2)) == b'{"call":"skip","experiment":1,"round_number":2}'
    assert encode_call(VoteMany(1, 2, (BALLOT,))) == (
        b'{"ballots":[{"abstain":false,"better":0,"not_worse":1,"note":"' + ONE.encode()
        + b'","seat":255,"signature":"' + b"ef" * 65
        + b'"}],"call":"vote_many","experiment":1,"round_number":2}'
    )  # fmt: skip


def test_the_member_of_an_enumeration_is_its_number():
    assert decode_call(encode_call(Advance(1, 2, Phase.VOTE))) == Advance(1, 2, 3)
    assert type(decode_call(encode_call(Advance(1, 2, Phase.VOTE))).phase) is int


def test_every_call_has_another_name():
    assert len(CALLS) == len(set(CALLS.values())) == 17


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"7",
        b'"skip"',
        b"[]",
        b"{}",
        b'{"call":7}',
        b'{"call":null}',
        b'{"call":["skip"]}',
        b'{"call":{}}',
        b'{"call":"fly"}',
        b'{"call":"\\ud800"}',
        b'{"call":"Skip","experiment":1,"round_number":2}',
        b'{"call":"skip","experiment":1}',
        b'{"call":"skip","experiment":1,"round":2}',
        b'{"call":"skip","experiment":1,"round_number":2,"more":3}',
        b'{"call":"skip","experiment":1,"experiment":1,"round_number":2}',
        b'{"call":"skip","experiment":2,"experiment":1,"round_number":2}',
        b'{"experiment":1,"call":"skip","round_number":2}',
        b'{"call": "skip","experiment":1,"round_number":2}',
        b'{"call":"skip","experiment":1,"round_number":2} ',
        b'\xef\xbb\xbf{"call":"skip","experiment":1,"round_number":2}',
        b'{"call":"ski\\u0070","experiment":1,"round_number":2}',
        b'{"call":"skip","experiment":1,"round_number":2.0}',
        b'{"call":"skip","experiment":1,"round_number":2e0}',
        b'{"call":"skip","experiment":1,"round_number":-0}',
        b'{"call":"skip","experiment":1,"round_number":-1}',
        b'{"call":"skip","experiment":1,"round_number":01}',
        b'{"call":"skip","experiment":1,"round_number":true}',
        b'{"call":"skip","experiment":1,"round_number":null}',
        b'{"call":"skip","experiment":1,"round_number":"2"}',
        b'{"call":"skip","experiment":1,"round_number":[2]}',
        b'{"call":"skip","experiment":1,"round_number":NaN}',
        b'{"call":"skip","experiment":1,"round_number":Infinity}',
        b'{"call":"skip","experiment":1,"round_number":' + b"9" * 79 + b"}",
        b'{"call":"skip","experiment":1,"round_number":' + b"9" * 5_000 + b"}",
        b'{"call":"skip","experiment":1,"round_number":2}'.decode().encode("utf-16"),
        b"\xff\xff",
        b"[" * 100_000,
        b'{"call":' * 10_000,
        b" " * (CALL_BYTES_MAX + 1),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_hostile_bytes_are_refused(data):
    with pytest.raises(RemoteProtocolError, match="A call") as refused:
        decode_call(data)
    assert refused.value.rule == "7.9"
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("data", [b"[" * CALL_BYTES_MAX, b"9" * CALL_BYTES_MAX])
def test_the_longest_bytes_are_read_and_one_more_is_not(data):
    for each, said in ((data, "is not JSON"), (data + b"[", "may have")):
        with pytest.raises(RemoteProtocolError, match=said):
            decode_call(each)


@pytest.mark.parametrize(
    ("call", "field", "value"),
    [
        (VOTE, "key", "11" * 31),
        (VOTE, "key", "11" * 33),
        (VOTE, "key", "AB" * 32),
        (VOTE, "key", "0x" + "11" * 31),
        (VOTE, "key", "é" * 64),
        (VOTE, "key", 11),
        (VOTE, "key", None),
        (VOTE, "key", ["11" * 32]),
        (VOTE, "not_worse", 2**256),
        (VOTE, "not_worse", True),
        (VOTE, "not_worse", 1.0),
        (CREATE, "uri", "ipfs://é"),
        (CREATE, "uri", "two\nlines"),
        (CREATE, "uri", "\x1b[2J"),
        (CREATE, "uri", "\x7f"),
        (CREATE, "uri", "u" * 257),
        (CREATE, "uri", None),
        (CREATE, "uri", 7),
        (Motion(1, 0, 1, SOMEBODY), "target", "0x" + "AB" * 20),
        (Motion(1, 0, 1, SOMEBODY), "target", "0X" + "ab" * 20),
        (Motion(1, 0, 1, SOMEBODY), "target", "ab" * 21),
        (Motion(1, 0, 1, SOMEBODY), "target", "0x" + "ab" * 19),
        (Motion(1, 0, 1, SOMEBODY), "target", None),
        (Invite(1, (SOMEBODY,)), "who", SOMEBODY),
        (Invite(1, (SOMEBODY,)), "who", {}),
        (Invite(1, (SOMEBODY,)), "who", [SOMEBODY] * 65),
        (Invite(1, (SOMEBODY,)), "who", [[SOMEBODY]]),
        (Propose(1, 2, ONE, 0, (TWO,), ""), "candidates", [TWO] * 9),
        (Propose(1, 2, ONE, 0, (TWO,), ""), "candidates", [7]),
        (Propose(1, 2, ONE, 0, (TWO,), ""), "candidates", TWO),
        (Propose(1, 2, ONE, 0, (TWO,), ""), "candidates", None),
        (VoteMany(1, 2, ()), "ballots", None),
        (VoteMany(1, 2, ()), "ballots", 7),
        (VoteMany(1, 2, ()), "ballots", [7]),
        (VoteMany(1, 2, ()), "ballots", [[]]),
        (VoteMany(1, 2, ()), "ballots", [{}] * (BALLOTS_MAX + 1)),
    ],
)
def test_a_field_is_what_it_must_be_or_the_call_is_refused(call, field, value):
    with pytest.raises(RemoteProtocolError, match="A call"):
        decode_call(canonical(**document(call, **{field: value})))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seat", -1),
        ("seat", True),
        ("abstain", 0),
        ("abstain", None),
        ("abstain", "false"),
        ("signature", None),
        ("signature", "ef" * 64),
        ("signature", "EF" * 65),
        ("signature", "0x" + "ef" * 64),
        ("note", "11"),
        ("better", []),
        ("more", 1),
    ],
)
def test_a_ballot_that_is_none_is_refused(field, value):
    ballot = {**document(VoteMany(1, 2, (BALLOT,)))["ballots"][0], field: value}
    with pytest.raises(RemoteProtocolError, match="A call"):
        decode_call(canonical(**document(VoteMany(1, 2, ()), ballots=[ballot])))


def test_a_ballot_without_a_field_is_refused():
    ballot = document(VoteMany(1, 2, (BALLOT,)))["ballots"][0]
    ballot["noted"] = ballot.pop("note")
    with pytest.raises(RemoteProtocolError, match="no field 'note'"):
        decode_call(canonical(**document(VoteMany(1, 2, ()), ballots=[ballot])))


def test_what_nobody_could_read_is_not_written():
    for call in (
        Skip(-1, 2),
        Skip(1, 2**256),
        Skip(True, 2),
        Vote(1, 2, "11", 1, 0, TWO),
        VoteMany(1, 2, (SignedBallot(1, 1, 0, ONE, False, None),)),
        VoteMany(1, 2, (BALLOT,) * (BALLOTS_MAX + 1)),
        Create(ONE, TWO, 1, "é"),
    ):
        with pytest.raises(RemoteProtocolError, match="A call"):
            encode_call(call)


def test_256_ballots_fit_into_a_call():
    call = VoteMany(
        2**256 - 1, 2**256 - 1, (SignedBallot(*[2**256 - 1] * 3, ONE, True, "ef" * 65),) * 256
    )
    assert len(encode_call(call)) < CALL_BYTES_MAX
    assert decode_call(encode_call(call)) == call
