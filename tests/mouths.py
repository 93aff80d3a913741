"""A server that says anything: a fuzzed answer over TCP, and what a client made of it."""

import socket
import socketserver
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.fuzz import PIECES, spoiled

FLOOD_BYTES = 64 * 2**20
"""What a flood has at most; a client that takes all of it has no bound."""

CLOSE, HANG, FLOOD = "close", "hang", "flood"


@dataclass(frozen=True)
class Speech:
    """What is said to one question, and what then happens.

    Attributes:
        words: The bytes.
        ending: Whether the server closes, says nothing more, or says `refrain` without an end.
        refrain: See `ending`.
    """

    words: bytes
    ending: str = CLOSE
    refrain: bytes = b""


class Mouth:
    """What a server is to say.

    Attributes:
        speech: A `Speech`.
        first: By the beginning of a request, answers that are given first of all.
        url: Where it is.
    """

    def __init__(self):
        self.speech, self.first, self.url = Speech(b""), {}, ""
        self.stopped = threading.Event()

    def says(self, request):
        for beginning, words in self.first.items():
            if request.startswith(beginning):
                return Speech(words)
        return self.speech

    def answer(self, line):
        request = b""
        while b"\r\n\r\n" not in request:
            if not (more := line.recv(2**16)):
                return
            request += more
        speech = self.says(request)
        line.sendall(speech.words)
        if speech.ending == HANG:
            # Until the client leaves.
            while line.recv(2**16):
                pass
        sent = 0
        while speech.ending == FLOOD and sent < FLOOD_BYTES and not self.stopped.is_set():
            piece = speech.refrain * (2**16 // len(speech.refrain))
            line.sendall(piece)
            sent += len(piece)


@contextmanager
def speaking_freely():
    """Run a server on loopback; yield its `Mouth`."""
    mouth = Mouth()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError):
                mouth.answer(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        mouth.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield mouth
        finally:
            mouth.stopped.set()
            server.shutdown()
            thread.join(10)


STATUSES = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 201 Created", b"HTTP/1.1 204 No Content", b"HTTP/1.1 206 x",
    b"HTTP/1.1 304 x", b"HTTP/1.1 302 Found", b"HTTP/1.1 404 x", b"HTTP/1.1 409 x",
    b"HTTP/1.1 416 x", b"HTTP/1.1 429 x", b"HTTP/1.1 500 x", b"HTTP/1.1 503 x", b"HTTP/1.0 200 OK",
    b"HTTP/1.1 100 Continue", b"HTTP/1.1 101 x", b"HTTP/1.1 103 x", b"HTTP/2 200", b"HTTP/1.1 99 x",
    b"HTTP/1.1 999 x", b"HTTP/1.1 -200 x", b"HTTP/1.1 2e2 x", b"HTTP/1.1 200", b"HTTP/1.1  ",
    b"HTTP/9.9 200 OK", b"ICY 200 OK", b"HTTP/1.1 200 \xff\x00", b"",
]  # fmt: skip
FRAMES = [
    b"transfer-encoding: chunked", b"transfer-encoding: gzip, chunked", b"transfer-encoding: x",
    b"content-length: 0", b"content-length: 1", b"content-length: -1", b"content-length: +1",
    b"content-length: 0x1", b"content-length: 1, 1", b"content-length: 99999999999999999999",
    b"content-length: 999999999999999", b"content-length: \xd9\xa1", b"content-length:",
    b"connection: close", b"connection: keep-alive", b"connection: upgrade",
]  # fmt: skip
HEADERS = [
    b"content-encoding: gzip", b"content-encoding: identity", b"content-type: application/json",
    b"content-range: bytes 0-0/1", b"content-range: bytes */0", b"content-range: bytes 5-4/3",
    b"content-range: bytes 0-999999999999999/999999999999999", b"content-range: x",
    b"location: foo:bar", b"location: //", b"location: http://[::1", b"location: \xff",
    b"location: http://127.0.0.1:1/", b"location: file:///etc/passwd", b"location: data:,x",
    b"set-cookie: a=b; expires=x; max-age=x; domain=.; path=x", b"set-cookie: ;=;", b"set-cookie:",
    b"set-cookie: a=b; expires=Thu, 99 Foo 9999 99:99:99 GMT; version=x; port=x",
    b"colearn-head: 1:" + b"ab" * 32, b"colearn-head: 0:" + b"AB" * 32, b"colearn-head: \xff",
    b"colearn-head: 1:" + b"ab" * 32 + b" address=0x" + b"cd" * 20 + b", signature=" + b"ef" * 65,
    b"retry-after: 99999999", b"x: " + b"y" * 70_000, b": x", b"x", b" folded", b"x y: z", b"\x00: z",
    b"x: \x00", b"trailer: x", b"warning: 299 - x", b"date: x", b"alt-svc: h3=':443'",
]  # fmt: skip
BODIES = [
    b"", b"{}", b"[]", b"null", b"x", b"0\r\n\r\n", b"-1\r\n", b"-1\r\nx", b"1\r\nx\r\n0\r\n\r\n",
    b"ffffffffffffffffffff\r\n", b"7fffffffffffffff\r\n", b"1;a=b\r\nx\r\n0\r\nx: y\r\n\r\n",
    b"0x1\r\nx\r\n", b"+1\r\nx\r\n", b"1_0\r\n", b"zz\r\n", b"\r\n", *PIECES,
    b'{"reason": "\\u001b[2J"}', b'{"reason": 7}', b'{"error":"refused"}',
]  # fmt: skip
REFRAINS = [
    b"\x00",
    b"x",
    b"x: y\r\n",
    b"1\r\nx\r\n",
    b"[",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"\r\n",
]


@st.composite
def speeches(draw, bodies=(), lengths=()):
    """An answer that is nearly one; `bodies` and `lengths` are ones that fit the question."""
    frames = [*FRAMES, *(b"content-length: %d" % length for length in lengths)]
    body = draw(st.sampled_from([*bodies, *BODIES]) | st.binary(max_size=50))
    lines = draw(st.lists(st.sampled_from(frames), max_size=2))
    if draw(st.booleans()):
        lines.append(b"content-length: %d" % len(body))
    lines += draw(st.lists(st.sampled_from(HEADERS), max_size=3))
    head = draw(st.sampled_from(STATUSES)) if draw(st.booleans()) else STATUSES[0]
    words = b"\r\n".join([head, *draw(st.permutations(lines)), b"", body])
    kind = draw(st.integers(0, 9))
    if kind == 0:
        words = draw(spoiled(words))
    elif kind == 1:
        words = draw(st.binary(max_size=200))
    ending = draw(st.sampled_from([CLOSE] * 30 + [HANG] + [FLOOD] * 4))
    return Speech(words, ending, draw(st.sampled_from(REFRAINS)))
