"""What strangers can do to a connection: each of these once held a server's memory or its place."""

import asyncio
import socket
from contextlib import contextmanager
from queue import Queue
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from tests.blob_servers import serving

from colearn.web import patience

LARGE = bytes(2**24)
answered = Queue()


async def early(request):
    """Answer before the body is read."""
    return Response(repr(request.headers.get("late")))


async def late(request):
    """Answer when the body is there."""
    body = await request.body()
    return Response(f"{len(body)} {request.headers.get('late')}")


async def slow(_request):
    """Answer after a while."""
    await asyncio.sleep(0.2)
    answered.put(True)
    return Response("slow")


async def large(_request):
    return Response(LARGE)


ROUTES = [
    Route(f"/{each.__name__}", each, methods=["GET", "POST"]) for each in (early, late, slow, large)
]


@pytest.fixture(scope="module")
def url():
    with serving(Starlette(routes=ROUTES)) as url:
        yield url


@pytest.fixture
def hurry(monkeypatch):
    monkeypatch.setattr(patience, "HEAD_S", 0.3)
    monkeypatch.setattr(patience, "TAKE_S", 0.3)


@contextmanager
def line_to(url):
    at = urlsplit(url)
    with socket.create_connection((at.hostname, at.port), 60) as line:
        yield line


def head(path, *headers):
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: x", *headers, "", ""]).encode()


CHUNKED = "transfer-encoding: chunked"


def ends(line):
    """Read to the end of a connection; a server that never ends it lets this fail."""
    data = b""
    try:
        while more := line.recv(2**16):
            data += more
    except ConnectionResetError:
        pass
    return data


def answer(line):
    """Read an answer with a body of one line."""
    data = b""
    while b"\r\n\r\n" not in data or data.endswith(b"\r\n\r\n"):
        more = line.recv(2**16)
        assert more, data
        data += more
    return data


def pours(line, piece):
    """Say whether a server takes 16 MB of a piece that leads nowhere."""
    piece *= 6000 // len(piece)
    try:
        for _ in range(16 * 2**20 // len(piece)):
            line.sendall(piece)
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize("path", ["/early", "/late"])
@pytest.mark.parametrize("piece", [b"x: y\r\n", b"y"])
def test_trailers_without_an_end_cut_the_connection(url, path, piece):
    with line_to(url) as line:
        line.sendall(head(path, CHUNKED) + b"0\r\nx: ")
        assert not pours(line, piece)


@pytest.mark.parametrize("piece", [b"; a=b", b"0"])
def test_a_size_of_a_chunk_without_an_end_cuts_the_connection(url, piece):
    with line_to(url) as line:
        line.sendall(head("/late", CHUNKED) + b"1\r\nx\r\n1")
        assert not pours(line, piece)


def test_trailers_are_no_headers(url):
    with line_to(url) as line:
        line.sendall(head("/late", CHUNKED) + b"2\r\nab\r\n0\r\nlate: true\r\n\r\n")
        assert answer(line).endswith(b"2 None")


def test_a_long_body_in_small_chunks_comes_whole(url):
    count = 200_000
    with line_to(url) as line:
        line.sendall(head("/late", CHUNKED) + b"1\r\nx\r\n" * count + b"0\r\n\r\n")
        assert answer(line).endswith(f"{count} None".encode())


@pytest.mark.parametrize("more", [b"", b"x"])
def test_a_body_whose_request_is_answered_does_not_hold_the_connection(url, hurry, more):
    with line_to(url) as line:
        line.sendall(head("/early", "content-length: 100"))
        assert answer(line).startswith(b"HTTP/1.1 200")
        line.sendall(more)
        assert ends(line) == b""


def test_silence_after_a_body_that_came_after_the_answer_ends(url, hurry):
    with line_to(url) as line:
        line.sendall(head("/early", "content-length: 3"))
        assert answer(line).startswith(b"HTTP/1.1 200")
        line.sendall(b"abc")
        assert ends(line) == b""


def test_the_next_request_after_such_a_body_is_answered(url):
    with line_to(url) as line:
        for _ in range(3):
            line.sendall(head("/early", "content-length: 3"))
            assert answer(line).startswith(b"HTTP/1.1 200")
            line.sendall(b"abc")


def test_an_answer_that_nobody_takes_does_not_hold_the_connection(hurry):
    lost = Queue()

    class Watched(patience.PatientProtocol):
        def connection_lost(self, exc):
            lost.put(self)
            super().connection_lost(exc)

    with serving(Starlette(routes=ROUTES), protocol=Watched) as url, line_to(url) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
        line.sendall(head("/large"))
        lost.get(timeout=60)
        assert len(ends(line)) < len(LARGE)


def test_a_large_answer_that_is_taken_comes_whole(url):
    with line_to(url) as line:
        line.sendall(head("/large", "connection: close"))
        assert len(ends(line)) > len(LARGE)


def test_an_answer_to_who_has_been_cut_off_since_is_no_error_of_the_server(caplog):
    with serving(Starlette(routes=ROUTES)) as url:
        with line_to(url) as line:
            whole = head("/slow", "content-length: 0") + head("/early", "content-length: 0")
            line.sendall(whole + b"no HTTP\r\n\r\n")
            assert ends(line).startswith(b"HTTP/1.1 400")
        answered.get(timeout=60)
    assert [each.message for each in caplog.records if each.exc_info] == []
