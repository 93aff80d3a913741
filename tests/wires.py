"""Lines between members and the server of their ledger, which can be bad, and a server to restart."""

import http.client
import sqlite3
import threading
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.hosts import listening
from tests.logs import served


class Wire:
    """One member's line to the server.

    Attributes:
        upstream: Where the server is; None where there is none.
        fault: What is wrong: None, "refuses", "loses answers", "is slow", or bytes that are said
            in place of an answer.
        lost: How many answers did not come through.
    """

    def __init__(self):
        self.upstream = self.fault = None
        self.lost = 0
        self.released = threading.Event()

    def answer(self, handler):
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        fault, upstream = self.fault, self.upstream
        if fault == "refuses" or upstream is None:
            handler.close_connection = True
            return
        status, data = self._asked(handler, upstream, body)
        if fault in ("loses answers", "is slow"):
            self.lost += 1
            if fault == "is slow":
                self.released.wait(20)
            handler.close_connection = True
            return
        if isinstance(fault, bytes):
            status, data = 200, fault
        with suppress(OSError):
            handler.send_response(status)
            handler.send_header("content-length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)

    def _asked(self, handler, upstream, body):
        at = urlsplit(upstream)
        server = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
        headers = {"content-type": handler.headers.get("content-type", "")}
        try:
            server.request(handler.command, handler.path, body or None, headers)
            answer = server.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 503, b""
        finally:
            server.close()


class Switchboard:
    """The lines of all members, and the server of one log at their end."""

    def __init__(self, lines, clock):
        self.wires = [Wire() for _ in range(lines)]
        self.clock, self.path = clock, None
        self._stack, self._serving = ExitStack(), ExitStack()
        self.urls = [self._stack.enter_context(listening(self._handler(w)))[0] for w in self.wires]

    @staticmethod
    def _handler(wire):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                wire.answer(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_):
                pass

        return Handler

    def start(self, path, *numbers):
        """Serve a log to some members, or to all of them."""
        serving = self._serving.enter_context(served(path, clock=self.clock, synchronous="NORMAL"))
        for number in numbers or range(len(self.wires)):
            self.wires[number].upstream = serving.url

    def stop(self):
        """End all servers."""
        for wire in self.wires:
            wire.upstream = None
        self._serving.close()

    def set(self, fault, *numbers):
        """Let the lines of some members be bad, or those of all."""
        for number in numbers or range(len(self.wires)):
            self.wires[number].fault = fault

    def close(self):
        for wire in self.wires:
            wire.released.set()
        self.stop()
        self._stack.close()


def cut_log(path, height):
    """Let a log lose its rows above a height, as an old copy does or a power failure."""
    db = sqlite3.connect(path)
    with db:
        db.execute("delete from rows where height > ?", (height,))
    db.close()
