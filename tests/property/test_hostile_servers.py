"""Servers that answer anything: a client ends with an error of its own, in bounded memory.

The time is bounded as well: each question has an end, without which these tests would have none.
"""

import hashlib
import ssl
import time
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.blob_servers import sender
from tests.fuzz import hostile_bytes, is_plain
from tests.logs import CREATE, ME, START, SetClock, filled_log
from tests.mouths import FLOOD, HANG, Speech, speaking_freely, speeches

from colearn.errors import LedgerError, StoreError
from colearn.identity import Statement
from colearn.ledger import EmbeddedLedger, _exchange
from colearn.ledger import _wire as wire
from colearn.ledger.hosted import HostedLedger
from colearn.store import DirectoryStore, hosted
from colearn.store.hosted import HostedRemote
from colearn.store.peers import PeersRemote

TIMEOUT_S = 0.2
MEMORY_BYTES = 24 * 2**20
"""What a question may need: an answer of 4 MiB and its copies, or the buffers of a draft."""

BLOB = bytes(range(256)) * 16
MAX_BYTES = 2**16
REDIRECTED = b"HTTP/1.1 302 x\r\nlocation: foo:bar\r\ncontent-length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 %d x\r\ntransfer-encoding: chunked\r\n\r\n%s"
ENDLESS = [
    # Chunks of negative size were read to the end of the connection, into memory.
    *(Speech(CHUNKED % (status, b"-1\r\n"), FLOOD, b"\x00") for status in (200, 404, 500)),
    Speech(CHUNKED % (500, b"0\r\n"), FLOOD, b"x: y\r\n"),
    Speech(CHUNKED % (500, b"1;"), FLOOD, b"x"),
    Speech(b"HTTP/1.1 200 OK\r\n", FLOOD, b"x: y\r\n"),
    Speech(b"HTTP/1.1 200 OK\r\nx: ", FLOOD, b"x"),
    Speech(b"HTTP/1.1 ", FLOOD, b"2"),
    Speech(b"HTTP/1.1 500 x\r\n\r\n", FLOOD, b"["),
    Speech(b"HTTP/1.1 200 OK\r\n\r\n", FLOOD, b" "),
    Speech(b"", FLOOD, b"HTTP/1.1 100 Continue\r\n\r\n"),
    Speech(b"HTTP/1.1 100 Continue\r\n", FLOOD, b"x: y\r\n"),
    Speech(b"", HANG),
    Speech(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", HANG),
]


@pytest.fixture(scope="module")
def mouth():
    with speaking_freely() as mouth:
        yield mouth


@pytest.fixture(autouse=True, scope="module")
def no_pauses():
    context = ssl.create_default_context()
    with pytest.MonkeyPatch.context() as patch:
        # The usual authorities take long to read, and nothing here is HTTPS.
        patch.setattr(_exchange, "_trust", lambda *_: context)
        patch.setattr(_exchange, "_PAUSES_S", (0.0, 0.0))
        patch.setattr(hosted, "_PAUSE_S", 0.0)
        yield


@pytest.fixture(autouse=True, scope="module")
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


def ends(question, kind):
    """Ask, and return the answer or None; whatever goes wrong is of one kind, and needs little."""
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    text = ""
    answer = None
    try:
        answer = question()
    except kind as error:
        text = str(error)
    assert is_plain(text), text[:500]
    assert len(text) < 2000
    assert tracemalloc.get_traced_memory()[1] - before < MEMORY_BYTES
    return answer


# --------------------------------------------------------------------------------- the ledger


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = filled_log(tmp_path_factory.mktemp("log") / "ledger.db", rounds=1, clock=SetClock())
    with EmbeddedLedger(path, clock=lambda: START + 1000) as view:
        view.sync()
        rows, heads = tuple(view.history()), view.replica.heads
        page = wire.Page(1, len(rows), heads[-1], heads[0], rows)
        return view.genesis, page, list(heads)


def answered(data, status=200):
    return b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n%s" % (status, len(data), data)


def opened(url):
    HostedLedger(url, timeout_s=TIMEOUT_S).close()
    return True


def check_open(mouth, speech):
    mouth.first.clear()
    mouth.speech = speech
    ends(lambda: opened(mouth.url), LedgerError)


def check_view(mouth, log, speech):
    """Ask in all ways; what was read stays a part of the honest line."""
    genesis, _, heads = log
    mouth.first = {b"GET /v1/genesis": answered(genesis.encode())}
    mouth.speech = speech
    with HostedLedger(mouth.url, clock=lambda: START + 1000, timeout_s=10) as view:
        view._exchange._timeout_s = TIMEOUT_S
        for use in (view.sync, lambda: view.wait(0.01), lambda: view.submit(ME, CREATE)):
            ends(use, LedgerError)
            assert view.head.digest == heads[view.head.height]


@given(speeches(bodies=[b"[]"]))
@settings(max_examples=100)
@example(Speech(REDIRECTED))
def test_an_answer_in_place_of_a_genesis(mouth, speech):
    check_open(mouth, speech)


@given(st.data())
@settings(max_examples=50)
@example(None)
def test_an_answer_in_place_of_rows(mouth, log, data):
    page = wire.dump(log[1].document())
    speech = Speech(REDIRECTED) if data is None else data.draw(speeches([page], [len(page)]))
    check_view(mouth, log, speech)


@given(st.data())
@settings(max_examples=50)
def test_a_document_in_place_of_rows_or_of_a_place(mouth, log, data):
    page = log[1].document()
    place = {"height": 3, "stamp": START, "page": page}
    refusal = wire.Refusal("nonce", "no").document()
    document = data.draw(st.sampled_from([page, page, place, refusal]))
    body = data.draw(hostile_bytes(document))
    check_view(mouth, log, Speech(answered(body, data.draw(st.sampled_from([200, 409])))))


@pytest.mark.parametrize("speech", ENDLESS, ids=repr)
def test_an_answer_without_an_end_of_a_ledger(mouth, log, speech):
    check_open(mouth, speech)
    check_view(mouth, log, speech)


# ---------------------------------------------------------------------------------- the blobs


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A folder that holds one blob, and one that is empty."""
    full = DirectoryStore(tmp_path_factory.mktemp("full"))
    full.put(BLOB)
    return full, DirectoryStore(tmp_path_factory.mktemp("empty"))


DIGEST = hashlib.sha256(BLOB).hexdigest()


def remotes(url, heard):
    def hear(where, statement):
        heard.append(statement)

    yield HostedRemote(url, sender(), on_statement=hear, share_s=TIMEOUT_S)
    yield PeersRemote([url], sender(), on_statement=hear)


def check_fetch(mouth, held, speech):
    mouth.first.clear()
    mouth.speech = speech
    store, heard = held[1], []
    for remote in remotes(mouth.url, heard):
        fetched(remote, store)
        remote.close()
    assert all(isinstance(each, Statement) for each in heard)
    assert not list(store.path.iterdir())


def fetched(remote, store):
    draft = store.receive(DIGEST, MAX_BYTES)
    until = time.monotonic() + TIMEOUT_S
    try:
        ends(lambda: remote.fetch(DIGEST, draft, MAX_BYTES, until), StoreError)
        assert draft.offset <= MAX_BYTES
        assert draft.finished is store.has(DIGEST)
    finally:
        draft.discard()
    if store.has(DIGEST):
        assert store.get(DIGEST, MAX_BYTES) == BLOB
        store.path_of(DIGEST).unlink()


def check_share(mouth, held, speech):
    mouth.first.clear()
    mouth.speech = speech
    remote = next(remotes(mouth.url, []))
    ends(lambda: remote.share(DIGEST, held[0]), StoreError)
    remote.close()


BODY_OF_BLOB = [BLOB, BLOB[1:], BLOB + b"x"]


@given(speeches(BODY_OF_BLOB, [len(BLOB), len(BLOB) - 1, MAX_BYTES, MAX_BYTES + 1]))
@settings(max_examples=100)
@example(Speech(answered(BLOB)))
@example(Speech(answered(b"x" * len(BLOB))))
def test_an_answer_in_place_of_a_blob(mouth, held, speech):
    check_fetch(mouth, held, speech)


@given(speeches())
@settings(max_examples=100)
@example(Speech(b"HTTP/1.1 100 Continue\r\n\r\n"))
@example(Speech(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 x\r\ncontent-length: 0\r\n\r\n"))
def test_an_answer_to_a_blob_that_is_given(mouth, held, speech):
    check_share(mouth, held, speech)


@pytest.mark.parametrize("speech", ENDLESS, ids=repr)
def test_an_answer_without_an_end_of_a_server_of_blobs(mouth, held, speech):
    check_fetch(mouth, held, speech)
    check_share(mouth, held, speech)
