"""The doors of a process, opened one after the other and closed together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from colearn.errors import ConfigError
from colearn.network.settings import NodeSettings
from colearn.web.door import Door, QuietServer, configured, listening, url_of
from colearn.web.signals import stopped_by_signals

__all__ = ["Doors", "door_of", "parse_door"]

_REQUESTS_MAX = 128


def door_of(settings: NodeSettings) -> Door:
    """Return the door at which a node serves its blobs.

    Raises:
        ConfigError: Its settings name none.
    """
    if settings.listen is None:
        raise ConfigError(
            "Members of this experiment serve their weights themselves, and this node does not say "
            "where.",
            hint="Join again with --listen HOST:PORT --public-url URL.",
        )
    door = parse_door(settings.listen)
    return replace(
        door,
        certfile=settings.tls_cert,
        keyfile=settings.tls_key,
        client_ca=settings.client_ca,
    )


def parse_door(text: str) -> Door:
    """Return the door at HOST:PORT, with an IPv6 address in brackets.

    Raises:
        ConfigError: The text is none.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 2**16:
        raise ConfigError(f"Expected HOST:PORT, got {text[:100]!r}.", hint="Write 127.0.0.1:9464.")
    return Door(host.strip("[]"), int(port))


class Doors:
    """The servers of a process; all are closed together."""

    def __init__(self) -> None:
        """Begin with none."""
        self._servers: list[tuple[QuietServer, asyncio.Task[None], socket.socket]] = []
        self._signals = ExitStack()

    def stop_on_signals(self, stop: Callable[[], None]) -> None:
        """Call `stop` on the loop at Ctrl-C and SIGTERM, if this is the main thread."""
        loop = asyncio.get_running_loop()

        def stop_on_loop() -> None:
            loop.call_soon_threadsafe(stop)

        self._signals.enter_context(stopped_by_signals(stop_on_loop))

    async def open(self, app: Any, door: Door) -> str:
        """Serve an application, and return its URL; the port is open when this returns.

        Raises:
            ConfigError: The port is taken, or the certificates cannot be used.
        """
        config = configured(app, door, requests_max=_REQUESTS_MAX)
        listener = listening(door)
        server = QuietServer(config)
        task = asyncio.create_task(server.serve([listener]))
        self._servers.append((server, task, listener))
        return url_of(door, listener)

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
        self._signals.close()
