"""A TCP line that can be cut: what a partition looks like to the two ends."""

import selectors
import socket
import threading
from contextlib import suppress

PASS, REFUSE, SILENT = "pass", "refuse", "silent"


class TcpLine:
    """Passes connections on to a server, or refuses them, or swallows everything.

    Attributes:
        port: Where it listens on loopback.
        mode: PASS, REFUSE (connections break at once) or SILENT (nothing arrives any more).
    """

    def __init__(self, target):
        """Pass on to `target`, a (host, port)."""
        self.target = target
        self.mode = PASS
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs = {}
        self._lock = threading.Lock()
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self, mode):
        """Change the mode; connections that are open break, or fall silent."""
        with self._lock:
            if self.mode == SILENT and mode == PASS:
                # What was swallowed is gone: such connections are of no use any more.
                self._drop_all()
            self.mode = mode
            if mode == REFUSE:
                self._drop_all()

    def close(self):
        self._closed = True
        self._thread.join(10)
        with self._lock:
            self._drop_all()
        self._listener.close()
        self._selector.close()

    def _run(self):
        while not self._closed:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._pairs:
                        self._pass(key.fileobj)

    def _accept(self):
        with suppress(OSError):
            near, _ = self._listener.accept()
            if self.mode == REFUSE:
                near.close()
                return
            try:
                far = socket.create_connection(self.target, timeout=2)
            except OSError:
                near.close()
                return
            for end, other in ((near, far), (far, near)):
                end.settimeout(10)
                self._pairs[end] = other
                self._selector.register(end, selectors.EVENT_READ)

    def _pass(self, end):
        other = self._pairs[end]
        try:
            data = end.recv(65536)
            if data and self.mode == PASS:
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._drop(end)

    def _drop(self, end):
        other = self._pairs.pop(end, None)
        for each in (end, other):
            if each is not None:
                self._pairs.pop(each, None)
                with suppress(KeyError, ValueError):
                    self._selector.unregister(each)
                each.close()

    def _drop_all(self):
        for end in list(self._pairs):
            if end in self._pairs:
                self._drop(end)
