"""How HTTP is spoken with strangers: fast, and with an end to their heads and their silence.

uvicorn waits for a request for as long as somebody keeps a connection, and collects headers of
any size. This protocol of its own cuts both, and lets an application cut a connection.
"""

from __future__ import annotations

import asyncio
from typing import Any

from colearn.errors import MissingExtraError

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError as error:
    raise MissingExtraError("uvicorn", extra="network") from error

__all__ = ["HEAD_BYTES_MAX", "HEAD_S", "PatientProtocol"]

HEAD_S = 20.0
"""Seconds in which the head of a request has to arrive, the first after a connection was made."""

HEAD_BYTES_MAX = 2**16
"""Bytes that the head of a request may have."""

_ABORT = "colearn.abort"
"""As `colearn.store.routes.ABORT`."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools, patient up to a point: give it as ``http=``."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless the head that they belong to is too long."""
        if self._in_head:
            self._head_bytes += len(data)
            self._wait()
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Let the application cut the connection."""
        super().on_message_begin()
        self._in_head = True
        extensions: dict[str, Any] = {_ABORT: self.transport.abort}
        self.scope["extensions"] = extensions

    def on_headers_complete(self) -> None:
        """Stop waiting: from here on the application has limits of its own."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait again when the next head begins; until then an idle connection is uvicorn's."""
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
