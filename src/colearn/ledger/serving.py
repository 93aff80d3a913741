"""Running the hosted ledger's server: the port, TLS, the start and the stop (7.8)."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from colearn.core import Genesis
from colearn.errors import ConfigError, LedgerUnavailableError, MissingExtraError
from colearn.ledger._desk import Desk
from colearn.ledger.embedded import EmbeddedLedger
from colearn.ledger.log import Clock, system_clock
from colearn.ledger.server import make_app

try:
    import uvicorn
    from starlette.routing import BaseRoute
except ImportError as error:
    raise MissingExtraError("uvicorn", extra="network") from error

__all__ = ["PORT", "Further", "Serving", "serve"]

PORT = 8463
"""Where a ledger is served when nobody says otherwise."""

_WAITERS_MAX = 256
_REQUESTS_MAX = _WAITERS_MAX + 64
"""Connections at once; further ones are answered that the server is busy."""

_KEEP_ALIVE_S = 75
_STOP_S = 5
"""Seconds that answers under way have when the server stops."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that is ready.

    Attributes:
        url: Where it is.
        genesis: What its log was born with; readers pin its digest.
        stop: Stops it; any thread may.
    """

    url: str
    genesis: Genesis
    stop: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Further:
    """What a server serves beside its ledger, and how.

    Attributes:
        routes: Makes the routes when the ledger is open and the port is known.
        protocol: Speaks HTTP on every connection.
        requests_max: Connections that they need at once.
    """

    routes: Callable[[Desk, Serving], Sequence[BaseRoute]]
    protocol: type[asyncio.Protocol]
    requests_max: int


def serve(
    path: Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    certfile: Path | None = None,
    keyfile: Path | None = None,
    clock: Clock = system_clock,
    synchronous: Literal["NORMAL", "FULL"] = "FULL",
    put_back_s: float = 60.0,
    client_ca: Path | None = None,
    more: Further | None = None,
    ready: Callable[[Serving], None] | None = None,
) -> None:
    """Serve the log in a file until it is stopped; Ctrl-C and SIGTERM stop it in the main thread.

    Args:
        path: An ordinary ledger file; its genesis should have a drift of 5 s (7.9).
        host: The address to listen on; others than loopback are open to the network.
        port: The port; 0 for any that is free.
        certfile: A certificate chain, for HTTPS.
        keyfile: Its key, if it is not in `certfile`.
        clock: Stamps the rows, seconds since 1970.
        synchronous: FULL, as others rely on every row that they have seen.
        put_back_s: For how long after the start readers may put rows back that the log has lost.
        client_ca: The authority that signs the certificates of clients, in PEM: without one of
            its certificates nobody is let in.
        more: What else is served at this port.
        ready: Called once the port is open.

    Raises:
        ConfigError: There is no log in the file, or the certificates cannot be read.
        LedgerTamperedError: The log is not valid.
        LedgerUnavailableError: The file cannot be used, or the port is taken.
    """
    desk = Desk(
        lambda: EmbeddedLedger(path, clock=clock, synchronous=synchronous),
        waiters_max=_WAITERS_MAX,
    )
    app = make_app(desk, put_back_s=put_back_s)
    config = uvicorn.Config(
        app,
        loop="asyncio" if more is None else "auto",
        http="h11" if more is None else more.protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_REQUESTS_MAX + (0 if more is None else more.requests_max),
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_S,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
        ssl_ca_certs=None if client_ca is None else str(client_ca),
        ssl_cert_reqs=ssl.CERT_NONE if client_ca is None else ssl.CERT_REQUIRED,
    )
    _load(config, client_ca)

    def opened(serving: Serving) -> None:
        if more is not None:
            app.router.routes.extend(more.routes(desk, serving))
        if ready is not None:
            ready(serving)

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_run(_Server(config), desk, (host, port), opened))


class _Server(uvicorn.Server):
    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        """Leave the signals to `serve`: uvicorn would raise them again after the stop."""
        return nullcontext()


async def _run(
    server: _Server,
    desk: Desk,
    address: tuple[str, int],
    opened: Callable[[Serving], None],
) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        desk.release()
        server.should_exit = True

    def stop_from_anywhere() -> None:
        loop.call_soon_threadsafe(stop)

    try:
        # The file before the port, so that nobody is let in to a log that is not valid.
        await desk.open()
        genesis = await desk.ask(lambda ledger: ledger.genesis)
        with _listening(*address) as listener, _stopped_by_signals(stop_from_anywhere):
            scheme = "https" if server.config.is_ssl else "http"
            opened(Serving(_url(scheme, listener), genesis, stop_from_anywhere))
            await server.serve([listener])
    finally:
        await desk.close()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, asyncio sends short answers at once; unnamed, each would wait for 40 ms.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except (OSError, OverflowError) as error:
            raise LedgerUnavailableError(
                f"Cannot listen on {host} port {port}: {error}.", hint="Choose another port."
            ) from error
        yield listener


def _url(scheme: str, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda _number, _frame: stop())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _load(config: uvicorn.Config, client_ca: Path | None) -> None:
    if (config.ssl_keyfile or client_ca) and not config.ssl_certfile:
        raise ConfigError(
            "A key file, or an authority for clients, needs the server's certificate.",
            hint="Give both.",
        )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"Cannot use the certificates {config.ssl_certfile}"
            f"{f' and {client_ca}' if client_ca else ''}: {error}.",
            hint="Give PEM files: the chain, its key, and the authority of the clients.",
        ) from error
