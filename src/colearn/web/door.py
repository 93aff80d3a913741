"""A port at which an application is served, and how uvicorn serves it (HTTP, TLS, mutual TLS)."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colearn.errors import ConfigError, MissingExtraError
from colearn.web.patience import PatientProtocol

try:
    import uvicorn
except ImportError as error:
    raise MissingExtraError("uvicorn", extra="network") from error

__all__ = ["Door", "QuietServer", "configured", "fast_loop", "listening", "url_of"]

_KEEP_ALIVE_S = 75

_STOP_S = 5
"""Seconds that answers under way have when a server stops."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where an application is served.

    Attributes:
        host: The address to listen on; others than loopback are open to the network.
        port: The port; 0 for any that is free.
        certfile: A certificate chain in PEM, for HTTPS.
        keyfile: Its key, if it is not in `certfile`.
        client_ca: The authority that signs the certificates of clients, in PEM: without one of
            its certificates nobody is let in.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certfile: Path | None = None
    keyfile: Path | None = None
    client_ca: Path | None = None

    @property
    def url(self) -> str:
        """Its URL, where it names its port."""
        return self.url_at(self.host, self.port)

    def url_at(self, host: str, port: int) -> str:
        """Return its URL at another port."""
        scheme = "https" if self.certfile else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


class QuietServer(uvicorn.Server):
    """uvicorn's server, which leaves signals to who runs it."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        """Take no signal: uvicorn would raise it again after the stop."""
        return nullcontext()


def configured(app: Any, door: Door, *, requests_max: int) -> uvicorn.Config:
    """Return how an application is served at a door.

    Args:
        app: An ASGI application.
        door: Where.
        requests_max: Connections at once; further ones are answered that the server is busy.

    Raises:
        ConfigError: The certificates cannot be used.
    """
    if (door.keyfile or door.client_ca) and not door.certfile:
        raise ConfigError(
            "A key file, or an authority for clients, needs the server's certificate.",
            hint="Give both.",
        )
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=requests_max,
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
            f"Cannot use the certificates {door.certfile}"
            f"{f' and {door.client_ca}' if door.client_ca else ''}: {error}.",
            hint="Give PEM files: the chain, its key, and the authority of the clients.",
        ) from error
    return config


def listening(door: Door) -> socket.socket:
    """Open a door's port; who gets the socket closes it.

    Raises:
        ConfigError: The port is taken, or the address is none of this machine.
    """
    family = socket.AF_INET6 if ":" in door.host else socket.AF_INET
    # Named as TCP, asyncio sends short answers at once; unnamed, each would wait for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((door.host, door.port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            f"Cannot listen on {door.host} port {door.port}: {error}.",
            hint="Choose another port.",
        ) from error
    return listener


def url_of(door: Door, listener: socket.socket) -> str:
    """Return the URL of a door whose port is open."""
    host, port = listener.getsockname()[:2]
    return door.url_at(host, port)


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes event loops here: uvloop's, which move blobs faster, where they are."""
    return uvicorn.Config(_nothing, log_config=None).get_loop_factory()


async def _nothing(*_: object) -> None:
    """Be an application that is never served."""
