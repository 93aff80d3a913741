"""Every HTTP route of this package, asked in every way: in the process, and over a socket.

The routes are those that the applications have, so that a new one is asked as well. An answer
may have any status below 500, and besides:

- 503: too many transfers or questions at once, a ledger that cannot be read now, a node that is
  not well;
- 507: no room for a blob, by a quota or on the disk.

Afterwards the server answers as before, has logged no exception, keeps no file that is no blob,
and holds no more memory than before.
"""

import gc
import logging
import random
import re
import socket
import time
import tracemalloc
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tests.asks import asks, raw
from tests.doors import BLOB, DIGEST, DOORS

from colearn.ledger import _wire, server
from colearn.web import patience

ALLOWED = (503, 507)
ANSWER_BYTES_MAX = 5 * 2**20
REQUESTS, WARM = 2000, 200
MEMORY_BYTES = 4 * 2**20
"""What 2,000 requests may leave behind: the nonces of signed ones are kept for two minutes."""


class Log(logging.Handler):
    """Everything that a server says of itself that its owner would have to look at."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.complaints = []

    def emit(self, record):
        if record.exc_info or record.levelno >= logging.ERROR:
            self.complaints.append(record.getMessage())


@pytest.fixture(scope="module", autouse=True)
def short():
    """Waits that a test can wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_wire, "WAIT_S_MAX", 0.02)
        patch.setattr(server, "_BODY_S", 0.15)
        patch.setattr(patience, "HEAD_S", 0.15)
        yield


@pytest.fixture(scope="module", params=DOORS)
def door(request, tmp_path_factory):
    with DOORS[request.param](tmp_path_factory.mktemp(request.param)) as door:
        assert door.is_sound()
        yield door


@pytest.fixture(autouse=True)
def log(door):
    """Watch the log, and look at everything afterwards."""
    handler = Log()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)
    assert door.is_sound()
    assert handler.complaints == []
    assert door.strays() == []
    assert door.store is None or door.store.get(DIGEST, len(BLOB)) == BLOB


def is_allowed(status):
    return 200 <= status < 500 or status in ALLOWED


def test_every_route_is_asked_with_every_method_and_answers(door):
    for path, methods in door.routes:
        target = re.sub("{[^}]*}", DIGEST, path)
        for method in [*methods, "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]:
            signature = "" if door.key is None else door.signed(method, target)
            words = f"{method} {target} HTTP/1.1\r\nhost: {door.host}\r\ncontent-length: 0\r\n"
            words += f"authorization: {signature}\r\nconnection: close\r\n\r\n"
            status = int(door.ask(words.encode(), 30)[9:12])
            assert is_allowed(status), (method, target)
            assert (status == 405) == (method not in methods), (method, target)


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_an_application_answers_whatever_it_is_asked(door, log, data):
    ask = data.draw(asks(door))
    sent = door.call(ask.scope(), ask.messages())
    assert not log.complaints
    if not sent:
        # Who breaks off in the middle gets nothing.
        assert ask.body or ask.headers
        return
    start, *rest = sent
    assert (start["type"], is_allowed(start["status"])) == ("http.response.start", True), start
    assert all(each["type"] == "http.response.body" for each in rest)
    assert rest[-1].get("more_body", False) is False
    assert sum(len(each.get("body", b"")) for each in rest) < ANSWER_BYTES_MAX


@given(data=st.data())
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_a_server_answers_whatever_comes(door, log, data):
    answer = door.ask(data.draw(raw(door)), 0.02)
    assert len(answer) < ANSWER_BYTES_MAX
    for status in re.findall(rb"HTTP/1\.[01] ([0-9]{3})", answer):
        assert int(status) == 100 or is_allowed(int(status)), answer[:500]
    assert door.is_sound()
    assert not log.complaints


SLOW = [
    b"", b"\r\n", b"G", b"GET /v1/health HTTP/1.1\r\nx: ", b"POST %s HTTP/1.1\r\nhost: x\r\n",
    b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\ncontent-type: application/json\r\n\r\n{",
    b"POST %s HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
    b"GET %s HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("words", SLOW)
def test_who_says_nothing_more_is_left(door, words):
    at = urlsplit(door.url)
    with ExitStack() as stack:
        lines = []
        for path, _ in door.routes:
            line = stack.enter_context(socket.create_connection((at.hostname, at.port), 60))
            line.sendall(words.replace(b"%s", re.sub("{[^}]*}", DIGEST, path).encode()))
            lines.append(line)
        for line in lines:
            answer = rest(line)
            assert not answer or is_allowed(int(answer[9:12]))


def rest(line):
    """Read to the end, which a server that waits for ever does not make."""
    answer = b""
    with suppress(ConnectionResetError):
        while more := line.recv(2**16):
            answer += more
    return answer


def test_an_upload_that_stops_is_left_and_leaves_nothing(door):
    if door.store is None or not any("PUT" in methods for _, methods in door.routes):
        return
    target = f"/v1/blobs/{'77' * 32}"
    words = f"PUT {target} HTTP/1.1\r\nhost: {door.host}\r\ncontent-length: 60000\r\n"
    words += f"authorization: {door.signed('PUT', target)}\r\n\r\n"
    assert door.ask(words.encode() + bytes(30_000), 30).startswith(b"HTTP/1.1 408")


def test_memory_is_given_back(door, caplog):
    """The requests are drawn once; then they come again and again, in any order."""
    # What is captured of the log for a report of this test would count as well.
    caplog.set_level(logging.ERROR, "uvicorn.error")
    pool = drawn(door)
    chance = random.Random(1)
    tracemalloc.start()
    try:
        for count in range(WARM + REQUESTS):
            if count == WARM:
                before = traced(door)
            door.ask(chance.choice(pool), 0.0005)
        grown = traced(door) - before
    finally:
        tracemalloc.stop()
    assert grown < MEMORY_BYTES


def traced(door):
    # Connections that wait to be read, or to be cut, are no leak.
    for _ in range(5):
        assert door.is_sound()
        time.sleep(2 * patience.HEAD_S)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def drawn(door, count=150):
    """Return some raw requests, the same ones each time."""
    pool = []

    @seed(1)
    @given(data=st.data())
    @settings(max_examples=count, database=None, suppress_health_check=list(HealthCheck))
    def draw(data):
        pool.append(data.draw(raw(door)))

    draw()
    return pool
