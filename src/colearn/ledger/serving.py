"""Running the hosted ledger's server: the port, TLS, the start and the stop (7.8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from colearn.core import Genesis
from colearn.errors import MissingExtraError
from colearn.ledger._desk import Desk
from colearn.ledger.embedded import EmbeddedLedger
from colearn.ledger.log import Clock, system_clock
from colearn.ledger.server import make_app
from colearn.web.door import Door, QuietServer, configured, fast_loop, listening, url_of
from colearn.web.signals import stopped_by_signals

try:
    from starlette.routing import BaseRoute
except ImportError as error:
    raise MissingExtraError("starlette", extra="network") from error

__all__ = ["PORT", "Further", "Serving", "serve"]

PORT = 8463
"""Where a ledger is served when nobody says otherwise."""

_WAITERS_MAX = 256
_REQUESTS_MAX = _WAITERS_MAX + 64
"""Connections at once; further ones are answered that the server is busy."""


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
    """What a server serves beside its ledger.

    Attributes:
        routes: Makes the routes when the ledger is open and the port is known.
        requests_max: Connections that they need at once.
    """

    routes: Callable[[Desk, Serving], Sequence[BaseRoute]]
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
        ConfigError: There is no log in the file, the certificates cannot be read, or the port is
            taken.
        LedgerTamperedError: The log is not valid.
        LedgerUnavailableError: The file cannot be used.
    """
    desk = Desk(
        lambda: EmbeddedLedger(path, clock=clock, synchronous=synchronous),
        waiters_max=_WAITERS_MAX,
    )
    app = make_app(desk, put_back_s=put_back_s)
    door = Door(host, port, certfile, keyfile, client_ca)
    requests_max = _REQUESTS_MAX + (0 if more is None else more.requests_max)
    config = configured(app, door, requests_max=requests_max)

    def opened(serving: Serving) -> None:
        if more is not None:
            app.router.routes.extend(more.routes(desk, serving))
        if ready is not None:
            ready(serving)

    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(_run(QuietServer(config), desk, door, opened))


async def _run(
    server: QuietServer,
    desk: Desk,
    door: Door,
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
        with listening(door) as listener, stopped_by_signals(stop_from_anywhere):
            opened(Serving(url_of(door, listener), genesis, stop_from_anywhere))
            await server.serve([listener])
    finally:
        await desk.close()
