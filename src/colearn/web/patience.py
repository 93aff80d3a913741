"""How HTTP is spoken with strangers: fast, and with an end to their heads and their silence.

uvicorn waits for a request for as long as somebody keeps a connection, collects headers and
trailers of any size, and forgets the time where a body goes on after its answer or an answer is
not taken. This protocol of its own cuts all of these, and lets an application cut a connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from colearn.errors import MissingExtraError

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError as error:
    raise MissingExtraError("uvicorn", extra="network") from error

__all__ = ["ABORT", "HEAD_BYTES_MAX", "HEAD_S", "TAKE_S", "PatientProtocol"]

HEAD_S = 20.0
"""Seconds in which the head of a request has to arrive, the first after a connection was made, and
the rest of a body whose request was answered."""

HEAD_BYTES_MAX = 2**16
"""Bytes that the head of a request may have, and what stands between the bytes of a body or behind
them: sizes of chunks, and trailers, which nobody reads."""

TAKE_S = 60.0
"""Seconds in which what waits to be sent has to be taken; an application may be less patient."""

ABORT = "colearn.abort"
"""The extension of a scope with which an application cuts its connection."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools, patient up to a point: give it as ``http=``."""

    _timer: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None
    _dry_bytes = 0
    """That came since something came of them: a request, or bytes of a body."""

    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        # Requests that are not answered yet: the first one is being answered.
        self._cycles: deque[Any] = deque()
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        self._stop_taking()
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless too many came of which nothing comes."""
        self._dry_bytes += len(data)
        if self._in_head:
            self._wait()
        super().data_received(data)
        if self._dry_bytes > HEAD_BYTES_MAX:
            self._cut()
        elif self.transport.is_closing():
            # What came was no HTTP: who is still at an answer to what came before is too late.
            self._leave()

    def pause_writing(self) -> None:
        """Begin to wait until what is on its way is taken."""
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(TAKE_S, self._cut)

    def resume_writing(self) -> None:
        """Stop waiting: it was taken."""
        self._stop_taking()
        super().resume_writing()

    def on_message_begin(self) -> None:
        """Let the application cut the connection."""
        super().on_message_begin()
        self._in_head = True
        extensions: dict[str, Any] = {ABORT: self._cut}
        self.scope["extensions"] = extensions

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers come too late to be any."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop waiting: from here on the application has limits of its own."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()
        self._cycles.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Take bytes of a body."""
        self._dry_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait again when the next head begins; until then an idle connection is uvicorn's."""
        super().on_message_complete()
        self._in_head, self._dry_bytes = True, 0
        self._stop_waiting()
        if self.cycle.response_complete:
            # uvicorn waited from the answer on, and has given up with the first byte after it.
            self._wait()

    def on_response_complete(self) -> None:
        """Wait for the rest of a request that is answered already: its body has no reader."""
        while self._cycles and self._cycles[0].response_complete:
            self._cycles.popleft()
        super().on_response_complete()
        if not self._in_head and self.cycle.response_complete:
            self._wait()

    def _cut(self) -> None:
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        """Tell the application that nobody hears it: writing to a closed connection may raise."""
        for cycle in self._cycles:
            cycle.disconnected = True
            cycle.message_event.set()

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self._cut)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
