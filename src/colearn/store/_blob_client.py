"""Asks one server for blobs and gives it some; the server may be hostile (6.4, 7.6).

Whatever it does, an exchange ends in bounded time and memory, with bytes in a draft or with an
error of the store. That the bytes are the right ones is the draft's business.
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from colearn.errors import (
    BlobNotFoundError,
    BlobTooLargeError,
    PeerTimeoutError,
    PeerUnreachableError,
    RemoteProtocolError,
    SignatureError,
    StoreError,
)
from colearn.identity import Statement, read_head, sign_request
from colearn.identity.request import NO_BODY, nonce_of
from colearn.shallow import read_json
from colearn.store._wire import HEAD_S, Connection, find_proxy, read_place
from colearn.store.draft import Draft
from colearn.store.sender import Credentials, Sender

__all__ = ["BlobClient"]

_TRIES = 8
"""How often a fetch goes on after it broke off, as long as each try brings something."""

_IDLE_S = 20.0
"""Seconds after which a connection is not used again: servers close idle ones."""

_IDLE_COUNT = 4
_REASON_BYTES_MAX = 4096
_REASON_MAX = 200
_SEND_BYTES = 2**20
_STORED_S = 300.0
"""Seconds that a server may need to say that it has stored a blob."""

_LENGTH = re.compile("[0-9]{1,15}")
_SPAN = re.compile("bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
_WHOLE = re.compile(r"bytes \*/([0-9]{1,15})")


class BlobClient:
    """A client of one server. Threads may share it; each exchange has a connection for itself.

    Attributes:
        url: Where the server is.
    """

    def __init__(
        self,
        url: str,
        sender: Sender,
        credentials: Credentials | None = None,
        on_statement: Callable[[str, Statement], None] | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            url: Http or https, a host, perhaps a port and a path.
            sender: Signs the requests.
            credentials: For HTTPS.
            on_statement: Hears the URL and how far its server says it has read the ledger (7.9).
                It must not raise.

        Raises:
            ConfigError: No such URL, certificates or proxy.
        """
        self._place = read_place(url)
        self.url = self._place.url
        self._sender, self._on_statement = sender, on_statement
        secure = self._place.scheme == "https"
        self._context = (credentials or Credentials()).context() if secure else None
        self._proxy = find_proxy(self._place)
        self._idle: list[Connection] = []
        self._closed = False
        self._lock = threading.Lock()

    def fetch(self, digest: str, draft: Draft, max_bytes: int, until: float) -> None:
        """Fill a draft from its offset on, to the end that the server names; do not finish it.

        Raises:
            BlobNotFoundError: The server does not have it.
            BlobTooLargeError: It says that it has more than `max_bytes`.
            PeerUnreachableError: It refuses, talks nonsense, or broke off too often.
            PeerTimeoutError: It did not send it in time.
            StoreError: The bytes cannot be written.
        """
        for _ in range(_TRIES - 1):
            before = draft.offset
            try:
                self._fetch(digest, draft, max_bytes, until)
            except PeerUnreachableError:
                if draft.offset <= before:
                    raise
            else:
                return
        self._fetch(digest, draft, max_bytes, until)

    def upload(self, digest: str, file: BinaryIO, size: int, until: float) -> None:
        """Give the server a blob, unless it has it.

        Args:
            digest: Of the blob.
            file: Its bytes, from the beginning.
            size: How many.
            until: When to give up, by the monotonic clock.

        Raises:
            PeerUnreachableError: The server refuses, or cannot be reached.
            PeerTimeoutError: It did not take it in time.
        """
        with self._exchange("HEAD", digest, until) as exchange:
            if exchange.answer.status == 200:
                return
        headers = {"Content-Length": str(size), "Expect": "100-continue"}
        with self._exchange("PUT", digest, until, headers, file) as exchange:
            if exchange.answer.status not in (200, 201):
                raise self._refused(exchange.answer)

    def close(self) -> None:
        """Close the idle connections, and others when their exchange is over."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # --------------------------------------------------------------------------- fetching

    def _fetch(self, digest: str, draft: Draft, max_bytes: int, until: float) -> None:
        headers = {"Range": f"bytes={draft.offset}-"} if draft.offset else {}
        with self._exchange("GET", digest, until, headers) as exchange:
            answer = exchange.answer
            if answer.status == 404:
                _reason(answer)
                raise BlobNotFoundError(f"{self.url} does not have the blob {digest}.")
            if answer.status == 416 and self._is_whole(answer, draft):
                return
            size = self._size(answer, draft)
            if size > max_bytes:
                raise BlobTooLargeError(
                    f"The blob {digest} may have {max_bytes} bytes, and {self.url} says it has "
                    f"{size}."
                )
            exchange.connection.bound(until, body=True)
            while draft.offset < size:
                room = draft.room()
                count = answer.readinto(room[: size - draft.offset])
                if not count:
                    raise self._unreachable("broke off", "It goes on from there.")
                draft.fill(count)

    def _is_whole(self, answer: http.client.HTTPResponse, draft: Draft) -> bool:
        """Return whether everything is there already; else begin anew, as what came is wrong."""
        found = _WHOLE.fullmatch(answer.getheader("content-range", ""))
        if found is not None and int(found[1]) == draft.offset:
            return True
        draft.restart()
        raise self._unreachable("has fewer bytes than came")

    def _size(self, answer: http.client.HTTPResponse, draft: Draft) -> int:
        """Return how many bytes the whole blob has, as the answer says before they are read."""
        if answer.status not in (200, 206):
            raise self._refused(answer)
        length = answer.getheader("content-length", "")
        encoded = answer.getheader("content-encoding", "identity") != "identity"
        if answer.chunked or encoded or not _LENGTH.fullmatch(length):
            raise self._unreachable("does not say how many bytes come")
        if answer.status == 200:
            if draft.offset:
                draft.restart()
            return int(length)
        found = _SPAN.fullmatch(answer.getheader("content-range", ""))
        begin, end, size = map(int, found.groups()) if found else (-1, -1, -1)
        if (begin, end, size - begin) != (draft.offset, size - 1, int(length)):
            raise self._unreachable("sends other bytes than were asked for")
        return size

    # ------------------------------------------------------------------------- exchanges

    @contextmanager
    def _exchange(
        self,
        method: str,
        digest: str,
        until: float,
        headers: dict[str, str] | None = None,
        body: BinaryIO | None = None,
    ) -> Iterator[_Exchange]:
        """Send a request and yield its answer; the connection is kept if it was read to its end."""
        exchange: _Exchange | None = None
        try:
            exchange = self._sent(method, digest, until, headers or {}, body)
            yield exchange
        except PeerTimeoutError as error:
            raise PeerTimeoutError(f"{self.url} is too slow: {error}") from error
        except ssl.SSLError as error:
            raise self._unreachable(f"cannot be trusted ({_said(error)})") from error
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise self._unreachable(f"cannot be asked ({_said(error)})") from error
        finally:
            if exchange is not None:
                self._put_back(exchange)

    def _sent(
        self, method: str, digest: str, until: float, headers: dict[str, str],
        body: BinaryIO | None,
    ) -> _Exchange:  # fmt: skip
        connection = self._idle_connection()
        if connection is not None:
            try:
                return self._send(connection, method, digest, until, headers, body)
            except (http.client.HTTPException, OSError):
                # The server had closed it: only a new one tells whether it is there.
                if body is not None:
                    body.seek(0)
        connection = Connection(self._place, self._context, self._proxy)
        return self._send(connection, method, digest, until, headers, body)

    def _send(  # noqa: PLR0917  (one request)
        self, connection: Connection, method: str, digest: str, until: float,
        headers: dict[str, str], body: BinaryIO | None,
    ) -> _Exchange:  # fmt: skip
        sender, target = self._sender, f"{self._place.path}/v1/blobs/{digest}"
        authorization = sign_request(
            sender.key, sender.domain, method, host=self._place.netloc, target=target,
            body_digest=NO_BODY if body is None else digest, now=sender.clock(),
            head=sender.head(),
        )  # fmt: skip
        try:
            connection.bound(min(until, time.monotonic() + HEAD_S))
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", self._place.netloc)
            connection.putheader("Authorization", authorization)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            if body is not None and connection.wire is not None and connection.wire.wants_body():
                self._send_body(connection, body, until)
            answer = connection.getresponse()
            try:
                self._hear(answer, nonce_of(authorization))
            except BaseException:
                answer.close()
                raise
        except BaseException:
            connection.close()
            raise
        return _Exchange(connection, answer)

    def _send_body(self, connection: Connection, body: BinaryIO, until: float) -> None:
        connection.bound(until, body=True)
        room = memoryview(bytearray(_SEND_BYTES))
        while count := body.readinto(room):  # type: ignore[attr-defined]
            connection.send(room[:count])
        connection.bound(min(until, time.monotonic() + _STORED_S))

    def _hear(self, answer: http.client.HTTPResponse, nonce: str) -> None:
        """Pass on how far the server says it has read the ledger (7.9)."""
        text = answer.getheader("colearn-head")
        if text is None or self._on_statement is None:
            return
        try:
            statement = read_head(text, self._sender.domain, nonce)
        except (RemoteProtocolError, SignatureError) as error:
            raise self._unreachable("says nonsense of its ledger") from error
        self._on_statement(self.url, statement)

    def _idle_connection(self) -> Connection | None:
        now = time.monotonic()
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if now - connection.idle_since < _IDLE_S:
                    return connection
                connection.close()
        return None

    def _put_back(self, exchange: _Exchange) -> None:
        connection, answer = exchange.connection, exchange.answer
        answer.close()
        # What was not read to its end is not worth reading.
        if answer.length == 0 and not answer.will_close:
            connection.idle_since = time.monotonic()
            with self._lock:
                if len(self._idle) < _IDLE_COUNT and not self._closed:
                    self._idle.append(connection)
                    return
        connection.close()

    def _refused(self, answer: http.client.HTTPResponse) -> StoreError:
        return self._unreachable(f"answers {answer.status}{_reason(answer)}")

    def _unreachable(self, what: str, hint: str = "") -> PeerUnreachableError:
        return PeerUnreachableError(f"{self.url} {what}.", hint=hint)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A request that was answered."""

    connection: Connection
    answer: http.client.HTTPResponse


def _reason(answer: http.client.HTTPResponse) -> str:
    """Return what an answer says of itself, if it is a short printable text."""
    if answer.chunked:
        # `http.client` reads a chunk of negative size to the end of the connection, into memory.
        return ""
    try:
        reason = read_json(answer.read(_REASON_BYTES_MAX))["reason"]
    except (ValueError, TypeError, KeyError, RecursionError, OSError, StoreError,
            http.client.HTTPException):  # fmt: skip
        return ""
    fits = isinstance(reason, str) and reason.isprintable()
    return f": {reason[:_REASON_MAX].rstrip('.')}" if fits else ""


def _said(error: Exception) -> str:
    """Return what went wrong; the text of an error may be the server's."""
    text = str(error)[:_REASON_MAX]
    return (
        f"{type(error).__name__}: {text}" if text.isprintable() and text else type(error).__name__
    )
