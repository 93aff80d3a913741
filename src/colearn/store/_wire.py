"""One connection to a server of blobs, which may be hostile: every wait on it has an end.

`http.client` reads whatever comes for as long as something comes. Here the socket below it keeps
the time: a whole exchange, the head of an answer, and the bytes in a while are bounded.
"""

from __future__ import annotations

import base64
import http.client
import io
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from colearn.errors import ConfigError, PeerTimeoutError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["DRIP_BYTES_S", "HEAD_S", "Connection", "Place", "Proxy", "find_proxy", "read_place"]

CONNECT_S = 10.0
HEAD_S = 20.0
"""Seconds until the head of an answer is there."""

DRIP_BYTES_S = 8192
"""A peer that sends or takes fewer bytes a second, for `_WINDOW_S`, is left."""

_WINDOW_S = 10.0
_INTERIM_BYTES_MAX = 4096
_URL_MAX = 2048
_PORTS = {"http": 80, "https": 443}
_PROXY_HINT = "Set HTTPS_PROXY to http://HOST:PORT, or unset it."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is.

    Attributes:
        url: As it is shown.
        scheme: Http or https.
        host: Its name or number.
        port: Its port.
        path: What stands before ``/v1``.
        netloc: The Host header: lower-case, without the scheme's own port.
    """

    url: str
    scheme: str
    host: str
    port: int
    path: str
    netloc: str

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that passes connections on; what it may be sent stands in no text."""

    host: str
    port: int
    headers: dict[str, str] = field(repr=False)


def read_place(url: str) -> Place:
    """Read the address of a server.

    Raises:
        ConfigError: It is none, or has a user, a query or a fragment in it.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in _PORTS or not parts.hostname:
        raise ConfigError(
            "The address of a server of blobs is like https://host:8464, and this is none.",
            hint="Copy it as the server prints it.",
        )
    if parts.username is not None or parts.query or parts.fragment:
        # They would end up in logs and in errors.
        raise ConfigError("The address of a server has no user, query or fragment.")
    host, own = parts.hostname, _PORTS[parts.scheme]
    port = parts.port or own
    name = f"[{host}]" if ":" in host else host
    netloc = name if port == own else f"{name}:{port}"
    path = parts.path.rstrip("/")
    return Place(f"{parts.scheme}://{netloc}{path}", parts.scheme, host, port, path, netloc)


def find_proxy(place: Place) -> Proxy | None:
    """Return the proxy that HTTPS_PROXY names, unless the server is this machine or NO_PROXY's.

    Raises:
        ConfigError: It cannot be used. Its address is not repeated: it may hold a password.
    """
    proxies = getproxies_environment()
    url = proxies.get("https")
    if place.scheme != "https" or place.is_loopback or not url:
        return None
    if proxy_bypass(place.host):
        return None
    parts = _split(url if "://" in url else f"http://{url}")
    if parts is None or parts.scheme != "http" or not parts.hostname:
        raise ConfigError("The proxy in HTTPS_PROXY cannot be used.", hint=_PROXY_HINT)
    headers = {}
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(secret).decode("ascii")
    return Proxy(parts.hostname, parts.port or 8080, headers)


class Connection(http.client.HTTPConnection):
    """A connection whose every wait has an end.

    Attributes:
        idle_since: When it was last used, by the monotonic clock.
    """

    def __init__(self, place: Place, context: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        """Prepare to connect; nothing is sent yet."""
        first = place if proxy is None else proxy
        super().__init__(first.host, first.port)
        if proxy is not None:
            self.set_tunnel(place.host, place.port, proxy.headers)
        self._server_name, self._context = place.host, context
        self._until = 0.0
        self.wire: _Wire | None = None
        self.idle_since = 0.0

    def bound(self, until: float, *, body: bool = False) -> None:
        """Say when the exchange must be over, by the monotonic clock.

        Args:
            until: When.
            body: Whether bytes should come or go all the time from now on.
        """
        self._until = until
        if self.wire is not None:
            self.wire.bound(until, body=body)

    def connect(self) -> None:
        """Connect, through the proxy if there is one, and agree on keys if it is HTTPS."""
        raw = socket.create_connection((self.host, self.port), min(CONNECT_S, _left(self._until)))
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._use(raw)
            if self._tunnel_host:  # type: ignore[attr-defined]
                self._tunnel()  # type: ignore[attr-defined]
            if self._context is not None:
                raw.settimeout(min(CONNECT_S, _left(self._until)))
                self._use(self._context.wrap_socket(raw, server_hostname=self._server_name))
        except BaseException:
            raw.close()
            self.sock = self.wire = None
            raise

    def close(self) -> None:
        """Close the connection; more than once does no harm."""
        super().close()
        self.wire = None

    def _use(self, line: socket.socket) -> None:
        self.wire = _Wire(line)
        self.wire.bound(self._until, body=False)
        self.sock = self.wire


class _Wire:
    """The socket as `http.client` uses one, with the time kept."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._until = 0.0
        self._timeout_s = -1.0
        self._body = False
        self._window, self._count = 0.0, 0
        self._pending = b""
        self._files, self._closing = 0, False

    def bound(self, until: float, *, body: bool) -> None:
        self._until, self._body = until, body
        self._window, self._count = time.monotonic(), 0

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        self._files += 1
        return io.BufferedReader(_Raw(self), 2**16)

    def sendall(self, data: ReadableBuffer) -> None:
        left = memoryview(data).cast("B")
        while left:
            self._keep_time()
            try:
                sent = self._line.send(left)
            except TimeoutError as error:
                raise _late() from error
            self._count += sent
            left = left[sent:]

    def recv_into(self, room: WriteableBuffer) -> int:
        if self._pending:
            view = memoryview(room).cast("B")
            count = min(len(view), len(self._pending))
            view[:count], self._pending = self._pending[:count], self._pending[count:]
            return count
        self._keep_time()
        try:
            count = self._line.recv_into(room)
        except TimeoutError as error:
            raise _late() from error
        self._count += count
        return count

    def wants_body(self) -> bool:
        """Return whether the server says that it wants the body; else its answer is next."""
        head = bytearray()
        room = bytearray(1)
        while not head.endswith(b"\r\n\r\n") and len(head) < _INTERIM_BYTES_MAX:
            if not self.recv_into(room):
                break
            head += room
            if len(head) == 12 and not head.startswith((b"HTTP/1.1 100", b"HTTP/1.0 100")):
                break
        if head[9:12] == b"100" and head.endswith(b"\r\n\r\n"):
            return True
        self._pending = bytes(head)
        return False

    def close(self) -> None:
        """Close the socket as soon as no answer is being read from it any more.

        `http.client` closes before the body is read where a server says that it will.
        """
        self._closing = True
        self._close_if_unused()

    def file_closed(self) -> None:
        self._files -= 1
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._closing and self._files <= 0:
            with suppress(OSError):
                self._line.close()

    def _keep_time(self) -> None:
        now = time.monotonic()
        left = self._until - now
        if self._body:
            passed = now - self._window
            if passed >= _WINDOW_S:
                if self._count < DRIP_BYTES_S * passed:
                    raise PeerTimeoutError(
                        f"{self._count / passed:.0f} bytes a second are fewer than {DRIP_BYTES_S}."
                    )
                self._window, self._count = now, 0
            left = min(left, _WINDOW_S)
        if left <= 0:
            raise _late()
        # A system call each time it changes, so it changes seldom.
        if not self._timeout_s - 0.5 < left < self._timeout_s + 0.05:
            self._line.settimeout(left)
            self._timeout_s = left


class _Raw(io.RawIOBase):
    def __init__(self, wire: _Wire) -> None:
        super().__init__()
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, room: WriteableBuffer) -> int:
        return self._wire.recv_into(room)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._wire.file_closed()


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url if len(url) <= _URL_MAX and url.isprintable() else "")
        _ = parts.port
    except (ValueError, TypeError, AttributeError):
        return None
    fits = parts.hostname is not None and " " not in url
    return parts if fits and parts.port != 0 else None


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise _late()
    return left


def _late() -> PeerTimeoutError:
    return PeerTimeoutError("The time is over.")
