"""Serving applications of this process on ports of its own (HTTP, TLS, mutual TLS)."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from colearn.errors import ConfigError, MissingExtraError
from colearn.network.patience import PatientProtocol
from colearn.network.settings import NodeSettings

try:
    import uvicorn
except ImportError as error:
    raise MissingExtraError("uvicorn", extra="network") from error

__all__ = ["Door", "Doors", "door_of"]

_REQUESTS_MAX = 128
"""Connections at once; further ones are answered that the server is busy."""

_KEEP_ALIVE_S = 75
_STOP_S = 5


@dataclass(frozen=True, slots=True)
class Door:
    """Where an application is served.

    Attributes:
        host: The address to listen on.
        port: The port; 0 for any that is free.
        certfile: A certificate chain in PEM, for HTTPS.
        keyfile: Its key, if it is not in `certfile`.
        client_ca: The authority that signs the certificates of clients, for mutual TLS.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certfile: Path | None = None
    keyfile: Path | None = None
    client_ca: Path | None = None

    @property
    def url(self) -> str:
        """The URL of a door that names its port."""
        place = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certfile else 'http'}://{place}:{self.port}"


def door_of(settings: NodeSettings) -> Door:
    """Return the door at which a node serves its blobs.

    Raises:
        ConfigError: Its settings name none.
    """
    host, colon, port = (settings.listen or "").rpartition(":")
    if not colon or not 0 < int(port) < 2**16:
        raise ConfigError(
            "Members of this experiment serve their weights themselves, and this node does not say "
            "where.",
            hint="Join again with --listen HOST:PORT --public-url URL.",
        )
    return Door(
        host.strip("[]"), int(port), settings.tls_cert, settings.tls_key, settings.client_ca
    )


class Doors:
    """The servers of a process; all are closed together."""

    def __init__(self) -> None:
        """Begin with none."""
        self._servers: list[tuple[_Server, asyncio.Task[None], socket.socket]] = []
        self._signals: dict[int, Any] = {}

    def stop_on_signals(self, stop: Callable[[], None]) -> None:
        """Call `stop` at Ctrl-C and SIGTERM, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._signals[number] = signal.signal(
                number, lambda _number, _frame: loop.call_soon_threadsafe(stop)
            )

    async def open(self, app: Any, door: Door) -> str:
        """Serve an application, and return its URL; the port is open when this returns.

        Raises:
            ConfigError: The port is taken, or the certificates cannot be used.
        """
        config = _config(app, door)
        listener = _listening(door.host, door.port)
        server = _Server(config)
        task = asyncio.create_task(server.serve([listener]))
        self._servers.append((server, task, listener))
        host, port = listener.getsockname()[:2]
        place = f"[{host}]" if ":" in host else host
        return f"{'https' if config.is_ssl else 'http'}://{place}:{port}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server, _, _ in self._servers:
            server.should_exit = True
        for _, task, listener in self._servers:
            await task
            listener.close()
        for number, handler in self._signals.items():
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        """Leave the signals to who opened the doors."""
        return nullcontext()


def _config(app: Any, door: Door) -> uvicorn.Config:
    if door.keyfile and not door.certfile:
        raise ConfigError("A key file needs its certificate.", hint="Give both.")
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_REQUESTS_MAX,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_S,
        ssl_certfile=door.certfile,
        ssl_keyfile=door.keyfile,
        ssl_ca_certs=None if door.client_ca is None else str(door.client_ca),
        ssl_cert_reqs=ssl.CERT_NONE if door.client_ca is None else ssl.CERT_REQUIRED,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"Cannot use the certificate {door.certfile}: {error}.",
            hint="Give PEM files: the chain, its key, and the authority of the clients.",
        ) from error
    return config


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, asyncio sends short answers at once; unnamed, each would wait for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            f"Cannot listen on {host} port {port}: {error}.", hint="Choose another port."
        ) from error
    return listener
