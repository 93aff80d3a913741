import json
from dataclasses import asdict, replace

import pytest

from colearn.core import Entry, Genesis
from colearn.core.chain import GENESIS_BYTES_MAX, NUMBER_MAX
from colearn.errors import RemoteProtocolError

GENESIS = Genesis("c0" * 32, "5a" * 32, "0x" + "ab" * 20, 5)
ENTRY = Entry(3, 4, "11" * 32, 1_700_000_000, b'{"call":"skip"}')


def canonical(document):
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def test_a_genesis_is_read_back_and_its_digest_is_the_salt_of_all():
    assert Genesis.decode(GENESIS.encode()) == GENESIS
    assert GENESIS.digest == "5d78a4a6a3a3d44f132e40a927b9212755f680d2865c17dd4d185c83f65e01e1"
    assert GENESIS.domain.contract == "0x" + GENESIS.digest[-40:]
    assert GENESIS.domain.chain_id == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"contract": "c0" * 31},
        {"contract": "C0" * 32},
        {"contract": "zz" * 32},
        {"contract": "c0 " * 21 + "0"},
        {"contract": 7},
        {"contract": ["c", "0"] * 32},
        {"contract": None},
        {"salt": ""},
        {"salt": "5a" * 33},
        {"salt": "é" * 64},
        {"creator": "ab" * 21},
        {"creator": "0X" + "ab" * 20},
        {"creator": "0x" + "AB" * 20},
        {"creator": 11},
        {"creator": ["0x"]},
        {"creator": None},
        {"drift_s": -1},
        {"drift_s": 2**16},
        {"drift_s": 5.0},
        {"drift_s": True},
        {"drift_s": None},
        {"drift_s": "5"},
        {"format": "colearn-log-2"},
        {"format": 1},
        {"rules_version": 2},
        {"rules_version": True},
        {"rules_version": 1.0},
        {"rules_version": "1"},
        {"more": 1},
    ],
)
def test_another_genesis_is_refused(changes):
    with pytest.raises(RemoteProtocolError, match="genesis"):
        Genesis.decode(canonical({**asdict(GENESIS), **changes}))


@pytest.mark.parametrize("drift_s", [0, 2**16 - 1])
def test_the_drift_may_be_nothing_and_is_less_than_a_day(drift_s):
    genesis = replace(GENESIS, drift_s=drift_s)
    assert Genesis.decode(genesis.encode()) == genesis


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"[" * 100_000,
        b"{}",
        b'{"a":' * 1_000,
        b"\xff\xfe",
        b" " + GENESIS.encode(),
        GENESIS.encode() + b"\n",
        GENESIS.encode().replace(b'":', b'": '),
        GENESIS.encode().replace(b"{", b'{"drift_s":5,'),
        GENESIS.encode().decode().encode("utf-16"),
        b"9" * 5_000,
        b'"' + b"a" * GENESIS_BYTES_MAX + b'"',
        canonical({name: value for name, value in asdict(GENESIS).items() if name != "salt"}),
    ],
    ids=range(15),
)
def test_what_is_no_genesis_is_refused(data):
    with pytest.raises(RemoteProtocolError, match="genesis") as refused:
        Genesis.decode(data)
    assert refused.value.rule == "7.9"


def test_an_entry_is_read_back():
    assert Entry.decode(ENTRY.encode()) == ENTRY
    assert Entry.decode(bytes(56)) == Entry(0, 0, "00" * 32, 0, b"")
    largest = Entry(NUMBER_MAX - 1, NUMBER_MAX - 1, "ff" * 32, NUMBER_MAX - 1, b"x")
    assert Entry.decode(largest.encode()) == largest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(55),
        b"\x80" + bytes(55),
        bytes(8) + b"\x80" + bytes(47),
        bytes(16) + b"\xff" + bytes(39),
    ],
)
def test_what_is_no_entry_is_refused(data):
    with pytest.raises(RemoteProtocolError, match="entry") as refused:
        Entry.decode(data)
    assert refused.value.rule == "7.9"
