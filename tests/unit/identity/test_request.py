import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colearn.core.bindings import Domain
from colearn.crypto import GROUP_ORDER
from colearn.errors import ColearnError, RemoteProtocolError, SignatureError
from colearn.identity import (
    Freshness,
    Key,
    read_head,
    read_request,
    sign_head,
    sign_request,
)
from colearn.identity.request import CLOCK_S, NO_BODY, nonce_of

ME, OTHER = Key.from_seed(1, "me"), Key.from_seed(1, "other")
HERE = Domain(1, "0x" + "12" * 20)
HEAD = (7, "ab" * 32)
NOW = 1_800_000_000
SENT = {"host": "a.example:8464", "target": "/v1/blobs/" + "cd" * 32, "body_digest": NO_BODY}


def signed(key=ME, domain=HERE, method="GET", now=NOW, head=HEAD, **changed):
    return sign_request(key, domain, method, **{**SENT, **changed}, now=now, head=head)


def read(header, domain=HERE, method="GET", now=NOW, **changed):
    return read_request(header, domain, method, **{**SENT, **changed}, now=now)


def test_a_request_says_who_sends_it_and_how_far_it_has_read():
    claim = read(signed())
    assert claim.address == ME.address
    assert (claim.height, claim.head, claim.time) == (*HEAD, NOW)
    assert (claim.method, claim.host, claim.target, claim.body) == ("GET", *SENT.values())
    assert claim.header() == signed_again(claim)


def signed_again(claim):
    header = claim.header()
    assert read(header) == claim
    return header


def test_no_two_requests_are_the_same():
    assert len({signed() for _ in range(50)}) == 50
    assert nonce_of(signed()) != nonce_of(signed())


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "PUT"},
        {"host": "b.example:8464"},
        {"host": "a.example"},
        {"target": "/v1/blobs/" + "ce" * 32},
        {"target": SENT["target"] + "?x"},
        {"body_digest": "00" * 32},
        {"domain": Domain(1, "0x" + "13" * 20)},
        {"domain": Domain(2, "0x" + "12" * 20)},
    ],
    ids=repr,
)
def test_a_signature_is_for_one_request_to_one_server_on_one_ledger(changed):
    with pytest.raises(SignatureError, match=ME.address):
        read(signed(), **changed)


def test_texts_cannot_be_moved_from_one_field_into_the_next():
    header = signed(host="a", target="bc")
    with pytest.raises(SignatureError):
        read(header, host="ab", target="c")


@pytest.mark.parametrize("late", [CLOCK_S + 1, -CLOCK_S - 1, 10**9, -(10**9), float("nan")])
def test_a_stale_request_is_refused(late):
    with pytest.raises(RemoteProtocolError, match="clocks") as caught:
        read(signed(), now=NOW + late)
    assert caught.value.rule == "7.6"
    assert caught.value.peer == ME.address


@pytest.mark.parametrize("late", [CLOCK_S, -CLOCK_S])
def test_clocks_may_differ_by_a_minute(late):
    assert read(signed(), now=NOW + late).address == ME.address


def test_nobody_signs_for_another():
    header = signed().replace(ME.address, OTHER.address)
    with pytest.raises(SignatureError, match=OTHER.address):
        read(header)


@pytest.mark.parametrize("field", ["time", "height", "head", "nonce", "signature"])
def test_every_field_is_covered_by_the_signature(field):
    header = signed()
    start = header.index(f"{field}=") + len(field) + 1
    chance = random.Random(3)
    for _ in range(20):
        at = start + chance.randrange(3)
        digit = chance.choice([each for each in "123456789" if each != header[at]])
        with pytest.raises(ColearnError):
            read(header[:at] + digit + header[at + 1 :])


def test_a_signature_has_no_twin():
    claim = read(signed())
    s = GROUP_ORDER - int.from_bytes(claim.signature[32:64], "big")
    v = bytes((55 - claim.signature[64],))
    twin = claim.signature[:32] + s.to_bytes(32, "big") + v
    with pytest.raises(SignatureError):
        read(replace(claim, signature=twin).header())


HOSTILE = [
    "",
    "Colearn",
    "Bearer abc",
    "Basic YTpi",
    signed()[:-1],
    signed() + "0",
    signed() + "\n",
    " " + signed(),
    signed().upper(),
    signed().replace(", ", ","),
    signed().replace("time=", "time=0"),
    signed().replace("time=", "time=-"),
    signed().replace(f"time={NOW}", "time=" + "9" * 19),
    signed().replace("height=7", "height=" + "9" * 19),
    signed().replace("height=7", "height=" + "9" * 10**6),
    signed().replace("height=7", "height=٣"),
    signed() + ", " + signed(),
    "Colearn " + "a" * 10**6,
    "Colearn address=0x" + "٣" * 40,
]


@pytest.mark.parametrize("header", HOSTILE, ids=range(len(HOSTILE)))
def test_a_header_of_another_form_is_refused(header):
    with pytest.raises(RemoteProtocolError) as caught:
        read(header)
    assert len(str(caught.value)) < 300


@given(st.text(max_size=400))
def test_any_text_is_refused_with_an_error_of_the_tree(text):
    with pytest.raises(ColearnError):
        read(text)
    with pytest.raises(ColearnError):
        read_head(text, HERE, "00" * 32)


def test_a_claim_convinces_others():
    """Two heads of one height, both signed: whoever reads the documents sees it."""
    claims = [read(signed(head=(7, head * 32))) for head in ("aa", "bb")]
    documents = [json.loads(json.dumps(claim.evidence())) for claim in claims]
    for document, head in zip(documents, ("aa", "bb"), strict=True):
        signature = bytes.fromhex(document.pop("signature"))
        shown = replace(claims[0], **document, signature=signature)
        shown.check(HERE)
        assert (shown.address, shown.height, shown.head) == (ME.address, 7, head * 32)
        with pytest.raises(SignatureError):
            replace(shown, head="cc" * 32).check(HERE)


def test_no_signature_stands_in_the_text_of_a_claim():
    claim = read(signed())
    assert claim.signature.hex() not in repr(claim)
    assert repr(claim.signature) not in repr(claim)


# ----------------------------------------------------------------------------- freshness


def test_a_request_counts_once():
    freshness, claim = Freshness(), read(signed())
    freshness.admit(claim, NOW)
    for later in (0, 1, CLOCK_S):
        with pytest.raises(RemoteProtocolError, match="sent before"):
            freshness.admit(claim, NOW + later)
    freshness.admit(read(signed()), NOW)


@pytest.mark.parametrize("ahead", [0, CLOCK_S, -CLOCK_S])
def test_a_nonce_is_remembered_until_its_time_has_passed(ahead):
    freshness = Freshness()
    header = signed(now=NOW + ahead)
    freshness.admit(read(header), NOW)
    # As long as the header itself is taken, its nonce is known.
    for later in range(2 * CLOCK_S + 1):
        try:
            claim = read(header, now=NOW + later)
        except RemoteProtocolError:
            break
        with pytest.raises(RemoteProtocolError, match="sent before"):
            freshness.admit(claim, NOW + later)


def test_what_is_old_is_forgotten():
    freshness = Freshness(nonces_max=2)
    for number in range(10):
        now = NOW + number * 100
        freshness.admit(read(signed(now=now), now=now), now)
    assert len(freshness._seen[ME.address].nonces) <= 2


def test_one_address_cannot_fill_the_memory_of_others():
    freshness = Freshness(nonces_max=3)
    for _ in range(3):
        freshness.admit(read(signed()), NOW)
    for _ in range(3):
        with pytest.raises(RemoteProtocolError, match="Too many requests"):
            freshness.admit(read(signed()), NOW)
    freshness.admit(read(signed(OTHER)), NOW)
    freshness.admit(read(signed(now=NOW + 200), now=NOW + 200), NOW + 200)


def test_addresses_are_bounded_and_make_room():
    freshness = Freshness(addresses_max=3)
    keys = [Key.from_seed(2, str(number)) for number in range(6)]
    for key in keys[:3]:
        freshness.admit(read(signed(key)), NOW)
    with pytest.raises(RemoteProtocolError, match="Too many addresses"):
        freshness.admit(read(signed(keys[3])), NOW)
    later = NOW + 3 * CLOCK_S
    for key in keys[3:]:
        freshness.admit(read(signed(key, now=later), now=later), later)


# --------------------------------------------------------------------------- the server's head


def test_a_server_says_how_far_it_has_read():
    nonce = nonce_of(signed())
    statement = read_head(sign_head(ME, HERE, HEAD, nonce), HERE, nonce)
    assert (statement.height, statement.head, statement.address) == (*HEAD, ME.address)
    statement.check(HERE)
    assert json.loads(json.dumps(statement.evidence()))["address"] == ME.address


def test_a_host_signs_nothing():
    statement = read_head(sign_head(None, HERE, HEAD, "00" * 32), HERE, "00" * 32)
    assert (statement.height, statement.head, statement.address) == (*HEAD, None)
    statement.check(HERE)


def test_an_answer_belongs_to_its_request_and_its_ledger():
    text = sign_head(ME, HERE, HEAD, "00" * 32)
    for domain, nonce in ((HERE, "01" * 32), (Domain(1, "0x" + "13" * 20), "00" * 32)):
        with pytest.raises(SignatureError):
            read_head(text, domain, nonce)
    for wrong in (
        text.replace("7:", "8:"),
        text.replace("ab" * 32, "ac" * 32),
        text.replace(ME.address, OTHER.address),
    ):
        with pytest.raises(SignatureError):
            read_head(wrong, HERE, "00" * 32)


@pytest.mark.parametrize(
    "text", ["", "7", "7:", ":" + "ab" * 32, "-1:" + "ab" * 32, "07:" + "ab" * 32, "7:" + "AB" * 32,
             "9" * 19 + ":" + "ab" * 32, "7:" + "ab" * 32 + " address=0x", "x" * 10**6]
)  # fmt: skip
def test_a_head_of_another_form_is_refused(text):
    with pytest.raises(RemoteProtocolError):
        read_head(text, HERE, "00" * 32)
