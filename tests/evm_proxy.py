"""A node that lies: it asks a real one, and changes questions and answers on the way."""

import json
import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Raw:
    """An answer that is no JSON-RPC at all: bytes, or a way to write them."""

    def __init__(self, body=b"", *, status=200, headers=(), pause_s=0.0):
        self.body, self.status, self.headers, self.pause_s = body, status, headers, pause_s


class Proxy:
    """A node in front of a real one.

    Attributes:
        question: Called with method and parameters; returns the parameters to ask with.
        answer: Called with method, parameters and the answer's document; returns another document
            or a `Raw`.
        asked: The methods that came, in order.
    """

    def __init__(self, chain, port):
        self.chain = chain
        self.url = f"evm+http://127.0.0.1:{port}"
        self.asked = []
        self.honest()

    def honest(self):
        """Lie no more."""
        self.question = lambda _, parameters: parameters
        self.answer = lambda _, __, document: document

    def result(self, wanted, change):
        """Change the results of a method alone."""

        def answer(method, _, document):
            if method == wanted and "result" in document:
                return {**document, "result": change(document["result"])}
            return document

        self.answer = answer

    def respond(self, request):
        method, parameters = request["method"], request["params"]
        self.asked.append(method)
        parameters = self.question(method, parameters)
        document = self.chain.answer({**request, "params": parameters})
        return self.answer(method, parameters, document)


@contextmanager
def proxy(chain):
    """Put a proxy in front of a chain."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self):
            super().setup()
            self.server.connections.add(self.connection)

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = self.server.proxy.respond(request)
            raw = answer if isinstance(answer, Raw) else Raw(json.dumps(answer).encode())
            self.send_response(raw.status)
            for name, value in raw.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw.body)))
            self.end_headers()
            try:
                self.trickle(raw)
            except OSError:  # the reader has had enough
                self.close_connection = True

        def trickle(self, raw):
            if not raw.pause_s:
                self.wfile.write(raw.body)
                return
            for byte in raw.body:
                self.wfile.write(bytes((byte,)))
                self.wfile.flush()
                time.sleep(raw.pause_s)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.connections = set()
    server.proxy = Proxy(chain, server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()
        for connection in server.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join(10)
