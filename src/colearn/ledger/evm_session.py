"""HTTP to a node that may be hostile: an answer is bounded in bytes and, all of it, in time.

The timeouts of `requests` count from one byte to the next, so a trickle would never end. Here the
head of an answer is cut off by a timer, and its body by a clock; redirections are not followed,
and compressed answers are not unpacked.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from colearn.errors import MissingExtraError

try:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
except ImportError as error:  # they come with web3
    raise MissingExtraError("web3", extra="evm") from error

__all__ = ["ANSWER_BYTES_MAX", "TooMuchError", "TooSlowError", "bounded_session"]

ANSWER_BYTES_MAX = 32 * 1024 * 1024
"""A block of 36 million gas can log 4 MiB, which is 9 MiB of JSON."""

_PIECE_BYTES = 64 * 1024
_LONGEST_S = 60.0


class TooMuchError(Exception):
    """An answer is longer than any is read."""


class TooSlowError(Exception):
    """An answer comes in a trickle."""


def bounded_session(timeout_s: float) -> requests.Session:
    """Return a session in which the head and the body of an answer take `timeout_s` at most.

    Beside what `requests` raises, a request raises TooMuchError or TooSlowError.
    """
    session = requests.Session()
    session.max_redirects = 0
    # Compressed answers would have to be bounded twice.
    session.headers["Accept-Encoding"] = "identity"
    for scheme in ("http://", "https://"):
        session.mount(scheme, _BoundedAdapter(timeout_s))
    return session


class _BoundedAdapter(HTTPAdapter):
    def __init__(self, timeout_s: float) -> None:
        self._within_s = timeout_s
        super().__init__()

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        super().init_poolmanager(*args, **settings)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        response = super().build_response(req, resp)
        response.raw = _BoundedBody(resp, self._within_s)
        return response


class _BoundedBody:
    """The body of an answer, as far as `requests` reads it."""

    def __init__(self, body: Any, timeout_s: float) -> None:
        self._body = body
        self._timeout_s = timeout_s

    def stream(self, _size: int, *, decode_content: bool) -> Iterator[bytes]:
        """Yield what comes as it comes, so that a trickle is seen as one."""
        del decode_content  # it was asked for as it is
        try:
            yield from self._pieces()
        except BaseException:
            # What is left of this answer must not be taken for the next one.
            self._body.close()
            raise

    def _pieces(self) -> Iterator[bytes]:
        until, count = time.monotonic() + self._timeout_s, 0
        while piece := self._body.read1(_PIECE_BYTES, decode_content=False):
            count += len(piece)
            if count > ANSWER_BYTES_MAX:
                raise TooMuchError
            if time.monotonic() > until:
                raise TooSlowError
            yield piece

    def close(self) -> None:
        self._body.close()

    def release_conn(self) -> None:
        self._body.release_conn()


@contextmanager
def _cut_off(connection: HTTPConnection) -> Iterator[None]:
    """Shut a connection whose answer has not begun in time; what reads it then ends."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        with suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(connection.timeout or _LONGEST_S, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():
            connection.close()
            raise TooSlowError


class _Connection(HTTPConnection):
    def getresponse(self) -> Any:
        with _cut_off(self):
            return super().getresponse()


class _SecureConnection(HTTPSConnection):
    def getresponse(self) -> Any:
        with _cut_off(self):
            return super().getresponse()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
