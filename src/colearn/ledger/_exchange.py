"""One question to an HTTP server and its answer, with a server that may be hostile (7.8).

Whatever the server does, a question ends in bounded time and memory, with bytes or with an
error of the ledger: sizes and the whole time are bounded while the answer is read, redirections
are not followed, cookies are not kept and compressed answers are not unpacked.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from http.cookiejar import CookieJar
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from colearn.errors import (
    ConfigError,
    LedgerUnavailableError,
    LocalProtocolError,
    MissingExtraError,
)
from colearn.ledger._wire import ANSWER_BYTES_MAX

try:
    import httpx
except ImportError as error:
    raise MissingExtraError("httpx", extra="network") from error

__all__ = ["Exchange"]

T = TypeVar("T")

_PAUSES_S = (0.1, 0.5)
"""Between the three attempts at a question."""

_OK, _CONFLICT, _SERVER_FAILED = 200, 409, 500
_KEEP_ALIVE_S = 30.0
_CLOSE_S = 5.0
_URL_MAX = 2048
_REASON_MAX = 200
_HOST = re.compile(rb"[A-Za-z0-9._:-]+")
_PORTS = range(1, 2**16)
_FAILURES = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, ValueError)
"""Of a question; a URL is read in every redirection, though none is followed."""


class _NoCookies(CookieJar):
    """Keeps no cookies, and does not read any: there are some that Python cannot read."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Leave an answer's cookies alone."""


class Exchange:
    """Asks one server; everything runs on a thread of its own, which `close` ends.

    The thread is there because only an event loop can bound the whole time of an answer, and
    because the caller may have a loop of its own.

    Attributes:
        url: Where the server is.
    """

    def __init__(
        self,
        url: str,
        *,
        ca_file: Path | None,
        timeout_s: float,
        certfile: Path | None = None,
        keyfile: Path | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            url: Where the server is: http or https, a host, perhaps a port and a path.
            ca_file: The only authority to trust, in PEM; None for the usual ones.
            timeout_s: How long one question may take as a whole, all attempts at it included.
            certfile: The own certificate chain in PEM, for servers that ask for one.
            keyfile: Its key, if it is not in `certfile`.

        Raises:
            ConfigError: No such URL, no such certificates, a timeout that is none, or a proxy in
                the environment that cannot be used.
        """
        host = _checked_host(url)
        if not isinstance(timeout_s, int | float) or not 0 < timeout_s < threading.TIMEOUT_MAX:
            raise ConfigError(f"A timeout is a number of seconds above 0, got {timeout_s!r}.")
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._client = _client(host, _trust(ca_file, certfile, keyfile))
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="colearn-hosted", daemon=True
        )
        self._thread.start()

    def get(self, path: str, query: Mapping[str, str] | None = None, wait_s: float = 0.0) -> bytes:
        """Return what the server has at `path`.

        Args:
            path: Below the server's URL.
            query: Names and values.
            wait_s: How long the server may put its answer off, in seconds.

        Raises:
            LedgerUnavailableError: There is no such answer.
        """
        request = self._client.build_request("GET", self.url + path, params=query)
        return self._answer(request, (_OK,), wait_s)[1]

    def post(
        self, path: str, query: Mapping[str, str], body: bytes, kind: str
    ) -> tuple[bool, bytes]:
        """Send a body, again if the connection breaks before the answer, and return the answer.

        Args:
            path: Below the server's URL.
            query: Names and values.
            body: What the server takes once, however often it comes.
            kind: Its content type.

        Returns:
            Whether it was taken, and what says where to, or why not.

        Raises:
            LedgerUnavailableError: Nobody knows what became of it.
        """
        request = self._client.build_request(
            "POST", self.url + path, params=query, content=body, headers={"content-type": kind}
        )
        status, answer = self._answer(request, (_OK, _CONFLICT), 0.0)
        return status == _OK, answer

    def close(self) -> None:
        """Close the connections and end the thread; more than once does no harm."""
        if self._closed:
            return
        try:
            self._on_thread(self._shut())
        finally:
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _answer(
        self, request: httpx.Request, expected: tuple[int, ...], wait_s: float
    ) -> tuple[int, bytes]:
        until = time.monotonic() + self._timeout_s + wait_s
        for pause_s in (*_PAUSES_S, None):
            try:
                left = until - time.monotonic()
                status, data = self._on_thread(self._fetch(request, left))
            except TimeoutError as error:
                raise self._unavailable("does not answer in time") from error
            except _FAILURES as error:
                if pause_s is None:
                    raise self._unavailable(f"cannot be asked ({_said(error)})") from error
            else:
                if status in expected:
                    return status, data
                if status < _SERVER_FAILED or pause_s is None:
                    break
            time.sleep(max(0.0, min(pause_s, until - time.monotonic())))
        raise self._unavailable(f"answers {status}")

    async def _fetch(self, request: httpx.Request, limit_s: float) -> tuple[int, bytes]:
        async with asyncio.timeout(limit_s):
            response = await self._client.send(request, stream=True)
            try:
                return response.status_code, await self._body(response)
            finally:
                await response.aclose()

    async def _body(self, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self._unavailable("answers in a compressed form")
        data = bytearray()
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > ANSWER_BYTES_MAX:
                raise self._unavailable(f"answers with more than {ANSWER_BYTES_MAX} bytes")
        return bytes(data)

    async def _shut(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._client.aclose()
        await self._loop.shutdown_asyncgens()

    def _on_thread(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            coroutine.close()
            raise LocalProtocolError("The ledger was closed.", hint="Open it again.")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C leaves no question behind that is still being asked.
            future.cancel()
            raise

    def _unavailable(self, what: str) -> LedgerUnavailableError:
        return LedgerUnavailableError(
            f"The ledger at {self.url} {what}.",
            hint="Does it ask for the right certificate? --ca-file names a private authority."
            if "CERTIFICATE" in what
            else "Is the address right, and the server running? Then try again.",
        )


def _said(error: Exception) -> str:
    """Return what went wrong; the text of an error may be the server's."""
    text = str(error)[:_REASON_MAX]
    return f"{type(error).__name__}: {text}" if text.isprintable() else type(error).__name__


def _client(host: str, verify: ssl.SSLContext | bool) -> httpx.AsyncClient:  # noqa: FBT001
    try:
        return httpx.AsyncClient(
            verify=verify,
            # A proxy cannot reach this machine's own loopback; elsewhere HTTPS_PROXY counts.
            trust_env=not _is_loopback(host),
            follow_redirects=False,
            headers={"accept-encoding": "identity", "user-agent": "colearn"},
            cookies=_NoCookies(),
            timeout=None,  # noqa: S113  (every question has one over all of it)
            limits=httpx.Limits(max_connections=2, keepalive_expiry=_KEEP_ALIVE_S),
        )
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"The proxy that the environment names cannot be used: {error}.",
            hint="Set HTTPS_PROXY right, or unset it.",
        ) from error


def _checked_host(url: str) -> str:
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        parts = httpx.URL()
    fits = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.raw_host)
    if not fits or (parts.port is not None and parts.port not in _PORTS) or len(url) > _URL_MAX:
        raise ConfigError(
            "The address of a hosted ledger is like https://host:8463, and this is none.",
            hint="`colearn ledger serve` prints it.",
        )
    # They would end up in logs and in errors.
    if parts.userinfo or parts.query or parts.fragment:
        raise ConfigError("The address of a hosted ledger has no user, query or fragment.")
    return parts.host


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trust(
    ca_file: Path | None, certfile: Path | None, keyfile: Path | None
) -> ssl.SSLContext | bool:
    if ca_file is None and certfile is None:
        return True
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if certfile is not None:
            context.load_cert_chain(certfile, keyfile)
    except OSError as error:
        files = ", ".join(str(each) for each in (ca_file, certfile, keyfile) if each is not None)
        raise ConfigError(
            f"Cannot use the certificates in {files}: {error.strerror or error}.",
            hint="Give PEM files: the authority that signed the server's certificate, and your "
            "own certificate with its key.",
        ) from error
    return context
