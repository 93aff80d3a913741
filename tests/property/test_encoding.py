"""Canonical bytes: every call has one spelling, and hostile bytes break nothing (7.9)."""

import json
from dataclasses import fields

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from colearn.core import Entry, Genesis, decode_call, encode_call
from colearn.core.calls import CALLS, SignedBallot
from colearn.errors import RemoteProtocolError

HEX = "0123456789abcdef"
UNTIMED = settings(deadline=None)
numbers = st.integers(0, 2**256 - 1) | st.integers(0, 9)
digests = st.text(HEX, min_size=64, max_size=64)
addresses = st.text(HEX, min_size=40, max_size=40).map("0x{}".format)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=256)
ballots = st.builds(
    SignedBallot,
    seat=numbers,
    not_worse=numbers,
    better=numbers,
    note=digests,
    abstain=st.booleans(),
    signature=st.text(HEX, min_size=130, max_size=130),
)
KINDS = {
    "Number": numbers,
    "Digest": digests,
    "Address": addresses,
    "Text": texts,
    "Addresses": st.lists(addresses, max_size=4).map(tuple),
    "Digests": st.lists(digests, max_size=8).map(tuple),
    "tuple[SignedBallot, ...]": st.lists(ballots, max_size=3).map(tuple),
}
calls = st.one_of(
    [
        st.builds(kind, **{each.name: KINDS[each.type] for each in fields(kind)})
        for kind in CALLS.values()
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | digests,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@UNTIMED
@given(calls)
def test_a_call_is_read_back_from_its_bytes(call):
    data = encode_call(call)
    assert decode_call(data) == call
    assert encode_call(decode_call(data)) == data


@UNTIMED
@given(calls, calls)
def test_equal_calls_have_equal_bytes_and_others_have_others(one, other):
    assert (encode_call(one) == encode_call(other)) == (one == other)


@UNTIMED
@given(calls, st.data())
def test_no_other_bytes_are_the_same_call(call, data):
    canonical = encode_call(call)
    place = data.draw(st.integers(0, len(canonical)))
    inserted = data.draw(st.binary(max_size=2))
    removed = data.draw(st.integers(0, 2))
    other = canonical[:place] + inserted + canonical[place + removed :]
    try:
        read = decode_call(other)
    except RemoteProtocolError:
        return
    assert encode_call(read) == other
    assert (read == call) == (other == canonical)


@UNTIMED
@given(calls, st.data())
def test_a_field_of_anything_is_read_or_refused(call, data):
    document = json.loads(encode_call(call))
    field = data.draw(st.sampled_from(sorted(document)))
    document[field] = data.draw(values)
    other = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    try:
        read = decode_call(other)
    except RemoteProtocolError:
        return
    assert encode_call(read) == other


@UNTIMED
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(b"\x00\x00\xfe\xff")
def test_bytes_of_anything_raise_nothing_else(data):
    for decode in (decode_call, Genesis.decode, Entry.decode):
        try:
            read = decode(data)
        except RemoteProtocolError:
            continue
        assert read == decode(data)


@UNTIMED
@given(values)
def test_documents_of_anything_raise_nothing_else(value):
    data = json.dumps(value).encode()
    for decode in (decode_call, Genesis.decode):
        with pytest.raises(RemoteProtocolError):
            decode(data)
