"""Servers between a hosted ledger and its log, or in the log's place: lossy ones and liars."""

import http.client
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from colearn.core import Row
from colearn.core.chain import head_after
from colearn.ledger import _wire as wire
from colearn.ledger.log import StoredRow


@contextmanager
def listening(handler):
    """Run an HTTP server of this handler class on loopback; yield its URL and the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class Line:
    """What a relay is to do, and what it has seen.

    Attributes:
        upstream: The URL of the real server.
        lose: How many of the next answers to entries get lost on their way back.
        swallow: How many of the next entries get lost on their way there.
        seen: Method and path of every request.
        bodies: The entries.
    """

    def __init__(self, upstream):
        self.upstream = upstream
        self.lose = self.swallow = 0
        self.seen = []
        self.bodies = []


@contextmanager
def relay(upstream):
    """A line to a server that can lose things."""
    line = Line(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            entry = self.command == "POST" and self.path.startswith("/v1/entries")
            line.seen.append((self.command, urlsplit(self.path).path))
            if entry:
                line.bodies.append(body)
            if entry and line.swallow:
                line.swallow -= 1
                self.close_connection = True
                return
            at = urlsplit(line.upstream)
            server = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
            headers = {"content-type": self.headers.get("content-type", "")}
            try:
                server.request(self.command, self.path, body or None, headers)
                answer = server.getresponse()
                data = answer.read()
            except OSError:
                self.close_connection = True
                return
            finally:
                server.close()
            if entry and line.lose:
                line.lose -= 1
                self.close_connection = True
                return
            with suppress(OSError):
                self.send_response(answer.status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_POST = pass_on  # noqa: N815

        def log_message(self, *_):
            pass

    with listening(Handler) as (url, _):
        yield url, line


class Liar:
    """A server whose every answer can be chosen; what is not chosen it answers honestly.

    Attributes:
        genesis: Of its log.
        rows: Of its log.
        heads: At each height.
        say: By path, what to answer: a document, bytes (an HTTP answer as it is), or a function
            of the honest document.
        asked: Method, path and query of every request.
    """

    def __init__(self, view, now):
        """Take over the log of a view; `now` stamps what is appended."""
        self.genesis, self.rows, self.now = view.genesis, list(view.history()), now
        self.heads = list(view.replica.heads)
        self.say = {}
        self.asked = []

    def cut(self, height):
        del self.rows[height:], self.heads[height + 1 :]

    def page(self, query):
        begin = int(query.get("from", ["1"])[0])
        height = len(self.rows)
        base = self.heads[begin - 1] if begin - 1 <= height else None
        rows = tuple(self.rows[begin - 1 :])
        return wire.Page(begin, height, self.heads[height], base, rows).document()

    def append(self, entry, signature):
        """Take an entry as a row, whatever it is."""
        row = Row(entry, signature, self.now)
        self.rows.append(StoredRow(row, head_after(self.heads[-1], row)))
        self.heads.append(self.rows[-1].head)

    def honest(self, method, path, query, body):
        if path == "/v1/genesis":
            return self.genesis.encode()
        if (method, path) == ("GET", "/v1/rows"):
            return self.page(query)
        said = self.say.get(path)
        if path == "/v1/entries" and (said is None or callable(said)):
            self.append(*wire.read_entry(body))
            return {"height": len(self.rows), "stamp": self.now, "page": self.page(query)}
        return {"error": "refused", "condition": "rules", "reason": "not running"}

    def answer(self, method, path, query, body):
        self.asked.append((method, path, query))
        honest = self.honest(method, path, query, body)
        said = self.say.get((method, path), self.say.get(path, honest))
        said = said(honest) if callable(said) else said
        if isinstance(said, bytes) and path != "/v1/genesis":
            return said
        status = 409 if isinstance(said, dict) and "error" in said else 200
        return http_answer(said if isinstance(said, bytes) else wire.dump(said), status)


def http_answer(body, status=200, headers=""):
    return (
        f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\n{headers}connection: close\r\n\r\n"
    ).encode() + body


@contextmanager
def lying(liar):
    """Run a liar; yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def tell(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            parts = urlsplit(self.path)
            said = liar.answer(self.command, parts.path, parse_qs(parts.query), body)
            self.close_connection = True
            with suppress(OSError):
                self.wfile.write(said)

        do_GET = do_POST = tell  # noqa: N815

        def log_message(self, *_):
            pass

    with listening(Handler) as (url, _):
        yield url


@contextmanager
def speaking(speech):
    """A server that reads a request and then runs `speech(socket, stopped)` on the connection."""
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def speak(self):
            self.close_connection = True
            self.rfile.read(int(self.headers.get("content-length", 0)))
            with suppress(OSError):
                speech(self.connection, stopped)

        do_GET = do_POST = speak  # noqa: N815

        def log_message(self, *_):
            pass

    with listening(Handler) as (url, _):
        try:
            yield url
        finally:
            stopped.set()


@contextmanager
def tunnel(port):
    """A proxy for CONNECT that leads every name to one port of loopback; yield URL and names."""
    names = []

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self):
            names.append(self.path)
            with socket.create_connection(("127.0.0.1", port)) as inner:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=pump, args=(inner, self.connection))
                back.start()
                pump(self.connection, inner)
                back.join()
            self.close_connection = True

        def log_message(self, *_):
            pass

    with listening(Handler) as (url, _):
        yield url, names


def pump(source, target):
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
