"""Everything that reads what others wrote: the same value comes back, or a ColearnError.

Documents are changed field by field, spelled in ways that nobody should write, and spoiled byte by
byte. Nothing but a ColearnError may come of it, and its text must do nothing to a terminal.
"""

import json
import mmap

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.fuzz import TEXTS, attempt, changed, hostile_bytes, is_plain, spoiled
from tests.logs import CREATE, ME, START, SetClock, filled_log

from colearn.core import Ballot, Entry, Genesis, calls, decode_call, encode_call
from colearn.core.bindings import Domain
from colearn.experiment import parse_config
from colearn.experiment.specification import read_specification
from colearn.identity import read_head, read_request, sign_head, sign_request
from colearn.identity.request import NO_BODY
from colearn.ledger import EmbeddedLedger
from colearn.ledger import _wire as wire
from colearn.network._jobs import read_done, read_job, write_done, write_job
from colearn.network.invitation import Invitation, is_web_url, read_invitation
from colearn.network.terms import read_terms, specify
from colearn.preprocess import Scaling
from colearn.schema import Schema
from colearn.store._wire import read_place
from colearn.weights import decode, encode, freeze
from colearn.worker import Done, Judge, Observation, Propose

DIGEST = "5c" * 32
INVITATION = Invitation(
    "http://127.0.0.1:8463", "1" * 64, 1, "2" * 64, "3" * 64, "peers", ("https://ada.example",)
)
CONFIG = parse_config(
    {
        "rounds": 4,
        "patience": 3,
        "target": 0.9,
        "task": {"use": "colearn.tasks:iris", "split": {"learners": 3}, "with": {"a": [1, "b"]}},
        "vote": {"threshold": "3/5"},
        "phases": {"propose_s": 60, "reveal_s": 30},
    }
)
SEEN = Observation(1, "ada", 0.5, None, "", "", {"auc": 0.7})


class Learner:
    """What a specification wants to know of one."""

    grows = True
    schema = Schema.of(["a", "b", "c"], ["no", "yes"], 0.5)


def specification(scaling=None):
    return specify(CONFIG, DIGEST, Learner(), scaling)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = filled_log(tmp_path_factory.mktemp("log") / "ledger.db", rounds=1, clock=SetClock())
    with EmbeddedLedger(path, clock=lambda: START + 1000) as view:
        view.sync()
        return view.genesis, list(view.history())


def same(data, document):
    """Whether bytes are a spelling of a document."""
    return repr(json.loads(data)) == repr(document) or json.loads(data) == document


# ------------------------------------------------------------------------ the wire of a ledger


def page_of(log):
    rows = log[1]
    part = tuple(rows[2:5])
    return wire.Page(3, len(rows), rows[-1].head, rows[1].head, part)


@given(st.data())
def test_pages_of_rows(log, data):
    page = page_of(log)
    raw = data.draw(hostile_bytes(page.document()))
    found = attempt(lambda raw: wire.Page.read(wire.load(raw), 3), raw)
    assert found is None or same(raw, found.document())


@given(st.data())
def test_places(log, data):
    place = wire.Place(4, START, page_of(log))
    raw = data.draw(hostile_bytes(place.document()))
    found = attempt(lambda raw: wire.Place.read(wire.load(raw), 3), raw)
    assert found is None or same(raw, found.document())


@given(hostile_bytes(wire.Refusal("rules", "not running").document()))
def test_refusals(raw):
    found = attempt(lambda raw: wire.Refusal.read(wire.load(raw)), raw)
    assert found is None or (same(raw, found.document()) and is_plain(found.reason))


@given(st.data())
def test_rows(log, data):
    rows = tuple(log[1][:3])
    raw = data.draw(hostile_bytes(wire.write_rows(rows)))
    found = attempt(lambda raw: wire.read_rows(wire.load(raw)), raw)
    assert found is None or same(raw, wire.write_rows(found))


@given(st.data())
def test_entries_in_bytes(log, data):
    row = log[1][0].row
    raw = data.draw(spoiled(wire.write_entry(row.entry, row.signature)) | st.binary(max_size=200))
    found = attempt(wire.read_entry, raw)
    assert found is None or wire.write_entry(*found) == raw
    found = attempt(Entry.decode, raw)
    assert found is None or found.encode() == raw


@given(st.data())
def test_a_genesis(log, data):
    raw = data.draw(hostile_bytes(json.loads(log[0].encode())))
    found = attempt(Genesis.decode, raw)
    assert found is None or found.encode() == raw


@pytest.mark.parametrize("field", ["contract", "salt", "creator", "drift_s", "format"])
@pytest.mark.parametrize("value", [None, {}, [], -1, True, 1.5, [1] * 64, "\ud800" * 64])
def test_a_genesis_of_other_kinds_is_none(log, field, value):
    document = {**json.loads(log[0].encode()), field: value}
    raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert attempt(Genesis.decode, raw) is None


VOTE = calls.Vote(1, 1, "ab" * 32, 1, 0, "00" * 32)
CALLS = [CREATE, VOTE, calls.Invite(1, (ME.address,)), calls.Leave(1)]


@given(st.data())
def test_calls(data):
    call = data.draw(st.sampled_from(CALLS))
    raw = data.draw(hostile_bytes(json.loads(encode_call(call))))
    found = attempt(decode_call, raw)
    assert found is None or encode_call(found) == raw


# --------------------------------------------------------------------- requests among members

DOMAIN = Domain(1, "0x" + "12" * 20)
NONCE = "ef" * 32
ASKED = {"host": "127.0.0.1:8464", "target": "/v1/blobs/" + DIGEST, "body_digest": NO_BODY}
HEADER = sign_request(ME, DOMAIN, "GET", now=START, head=(3, DIGEST), **ASKED)


def hostile_text(text):
    return st.one_of(
        st.text(max_size=50),
        spoiled(text.encode()).map(lambda raw: raw.decode("latin-1")),
        st.tuples(st.sampled_from(TEXTS), st.integers(0, len(text))).map(
            lambda part: text[: part[1]] + part[0] + text[part[1] + 1 :]
        ),
    )


@given(hostile_text(HEADER))
@example(HEADER)
def test_signed_requests(header):
    found = attempt(lambda text: read_request(text, DOMAIN, "GET", now=START, **ASKED), header)
    assert (found is not None) == (header == HEADER)
    assert found is None or found.header() == header


STATED = [sign_head(key, DOMAIN, (3, DIGEST), NONCE) for key in (ME, None)]


@given(st.sampled_from(STATED).flatmap(hostile_text))
@example(STATED[0])
def test_statements_of_heads(text):
    found = attempt(lambda text: read_head(text, DOMAIN, NONCE), text)
    # What nobody has signed can be any head; what somebody has signed is that one.
    assert found is None or found.address is None or text == STATED[0]
    assert found is None or text.startswith(f"{found.height}:{found.head}")


# ------------------------------------------------------------------------- what was agreed on

SCALINGS = [None, Scaling.divide(16.0, 3), Scaling(np.zeros(3), np.array([1.0, 2.0, 4.0]))]


@given(st.data())
@example(None)
def test_specifications(data):
    scaling = SCALINGS[1] if data is None else data.draw(st.sampled_from(SCALINGS))
    document = json.loads(specification(scaling))
    raw = specification(scaling) if data is None else data.draw(hostile_bytes(document))
    found = attempt(read_specification, raw)
    assert found is None or same(raw, found)
    terms = attempt(read_terms, raw)
    assert found is not None or terms is None
    if terms is not None:
        again = parse_config(terms.config.terms())
        assert repr(again.terms()) == repr(terms.config.terms())


def test_a_specification_that_nests_deep_is_none():
    for count in (10, 50, 70, 256, 400, 900):
        document = json.loads(specification())
        document["terms"]["task"]["with"] = json.loads('{"a":' * count + "1" + "}" * count)
        raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        terms = attempt(read_terms, raw)
        assert (terms is None) == (count > 60)


@given(st.data())
def test_invitations(data):
    link = INVITATION.to_link()
    text = data.draw(hostile_text(link))
    found = attempt(read_invitation, text)
    assert found is None or found.to_link() == text.strip()


URLS = ["https://ada.example:8464/colearn", "http://[::1]:80", "http://127.0.0.1"]


@given(st.data())
def test_addresses_of_servers(data):
    text = data.draw(st.sampled_from(URLS).flatmap(hostile_text))
    place = attempt(read_place, text)
    if place is not None:
        assert place.url.isprintable()
        assert read_place(place.url) == place
    if is_web_url(text):
        assert text.isascii()


# ------------------------------------------------------------------- a node and its worker

JOBS = [Propose(1, DIGEST), Judge(2, DIGEST, (DIGEST, DIGEST))]


@given(st.data())
@example(None)
def test_jobs(data):
    job = JOBS[1] if data is None else data.draw(st.sampled_from(JOBS))
    raw = b"[" * 10**5 if data is None else data.draw(hostile_bytes(json.loads(write_job(job))))
    found = attempt(read_job, raw)
    assert found is None or write_job(read_job(write_job(found))) == write_job(found)


@given(changed(json.loads(write_done(Done((SEEN,), DIGEST, (Ballot.APPROVE,))))["done"]))
def test_results_of_jobs(document):
    found = attempt(read_done, document)
    assert found is None or isinstance(found, Done)


# ------------------------------------------------------------------------------- weights

WEIGHTS = freeze(
    {"w": np.arange(6.0).reshape(2, 3), "n": np.array([1, 2], np.int32), "b": np.array([True])},
    {"made": "by ada"},
)


def header_of(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@st.composite
def hostile_weights(draw):
    data = WEIGHTS.data
    if draw(st.booleans()):
        return draw(spoiled(data))
    document, body = header_of(data)
    text = draw(hostile_bytes(document))
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


@given(hostile_weights())
@settings(max_examples=150)
def test_weights_in_memory_and_mapped(folder, raw):
    found = attempt(decode, raw)
    assert found is None or encode(found) == raw
    file = folder / "weights"
    file.write_bytes(raw)
    if raw:
        with file.open("rb") as opened:
            mapped = attempt(decode, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
        assert (mapped is None) == (found is None)
        assert mapped is None or encode(mapped) == raw
