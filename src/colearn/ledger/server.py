"""The hosted ledger's server: a small HTTP door to the log in one SQLite file (7.8, 7.9).

It orders entries and stamps them; its own replay through the pure rules decides what becomes a
row, and every reader decides again for itself. It holds no key. Whoever runs it can refuse or
delay entries; it cannot forge one, reorder rows past anchors, or show two groups two certified
histories (7.10).
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice

from colearn.core import Entry, InvalidRowError
from colearn.errors import (
    LedgerConflictError,
    LedgerError,
    LedgerRejectedError,
    LedgerTamperedError,
    MissingExtraError,
    RemoteProtocolError,
)
from colearn.ledger import _wire as wire
from colearn.ledger._desk import Desk
from colearn.ledger.embedded import EmbeddedLedger
from colearn.ledger.log import StoredRow

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Route
except ImportError as error:
    raise MissingExtraError("starlette", extra="network") from error

__all__ = ["make_app"]

_BODY_S = 30.0
"""Seconds in which a request's body has to arrive."""

_NUMBER = re.compile("[0-9]{1,18}")
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")

_DAMAGED = (500, "damaged", "The log is damaged; its owner has to look at it.")
_UNAVAILABLE = (503, "unavailable", "The log cannot be used now; try again.")

_Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(desk: Desk, *, put_back_s: float = 60.0) -> Starlette:
    """Return the application that serves an open desk's ledger.

    Args:
        desk: Opened before the first request; who opened it closes it.
        put_back_s: For how long after the opening readers may put rows back that the log has
            lost, in seconds.
    """
    return Starlette(
        routes=_Routes(desk, put_back_s).routes(),
        exception_handlers={HTTPException: _refused_request, Exception: _failed},
    )


class _Routes:
    """The endpoints of one log."""

    def __init__(self, desk: Desk, put_back_s: float) -> None:
        self._desk = desk
        self._put_back_s = put_back_s

    def routes(self) -> list[Route]:
        """Return where each endpoint is, and by which method."""
        table: tuple[tuple[str, str, _Endpoint], ...] = (
            ("GET", "/v1/genesis", self.genesis),
            ("GET", "/v1/rows", self.rows),
            ("POST", "/v1/rows", self.put_back),
            ("POST", "/v1/entries", self.entries),
            ("GET", "/v1/health", self.health),
        )
        return [Route(path, _answered(call), methods=[method]) for method, path, call in table]

    async def genesis(self, _request: Request) -> Response:
        """Answer what the log was born with."""
        return _json(await self._desk.ask(lambda ledger: ledger.genesis.encode()))

    async def health(self, _request: Request) -> Response:
        """Answer how far the log was read; the ledger itself is not asked."""
        height, head = self._desk.head
        return _document({"height": height, "head": head, "waiting": self._desk.waiting})

    async def rows(self, request: Request) -> Response:
        """Answer rows; if there is none yet, wait for the first."""
        begin = _number(request, "from", 1)
        limit = _number(request, "limit", wire.ROWS_MAX)
        wait_s = min(_seconds(request, "wait_s"), wire.WAIT_S_MAX)
        page = await self._desk.ask(lambda ledger: _page(ledger, begin, limit))
        if wait_s > 0 and page.height == begin - 1:
            await self._desk.wait_above(page.height, wait_s)
            page = await self._desk.ask(lambda ledger: _page(ledger, begin, limit))
        return _document(page.document())

    async def entries(self, request: Request) -> Response:
        """Take an entry, and answer its place and the rows that the sender has not read."""
        begin = _number(request, "from", 0)
        entry, signature = await _entry(request)
        place = await self._desk.ask(lambda ledger: _placed(ledger, entry, signature, begin))
        return _document(place.document())

    async def put_back(self, request: Request) -> Response:
        """Take rows that a reader holds and the log has lost (7.9)."""
        if time.monotonic() > self._desk.opened + self._put_back_s:
            return _refusal("place", "rows are put back only after a start of the server")
        begin, rows = await _lost_rows(request)
        height = await self._desk.ask(lambda ledger: ledger.put_back(begin, rows))
        return _document({"height": height})


def _page(ledger: EmbeddedLedger, begin: int, limit: int = wire.ROWS_MAX) -> wire.Page:
    ledger.sync()
    height, heads = ledger.replica.height, ledger.replica.heads
    rows: list[StoredRow] = []
    size = 0
    most = min(limit, wire.ROWS_MAX, max(height - begin + 1, 0))
    for stored in islice(ledger.history(begin), most):
        size += wire.row_bytes(stored)
        if rows and size > wire.ROWS_BYTES:
            break
        rows.append(stored)
    base = heads[begin - 1] if begin - 1 <= height else None
    return wire.Page(begin, height, heads[height], base, tuple(rows))


def _placed(ledger: EmbeddedLedger, entry: Entry, signature: bytes, begin: int) -> wire.Place:
    height, stamp = ledger.append(entry, signature)
    return wire.Place(height, stamp, _page(ledger, begin) if begin else None)


def _answered(endpoint: _Endpoint) -> _Endpoint:
    """Return the endpoint with the ledger's errors turned into answers, which name no file."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except LedgerRejectedError as error:
            cause = error.__cause__
            condition = cause.condition if isinstance(cause, InvalidRowError) else "rules"
            return _refusal(condition, error.reason)
        except LedgerConflictError as error:
            return _refusal("conflict", str(error))
        except RemoteProtocolError as error:
            return _error(400, "malformed", str(error))
        except LedgerError as error:
            damaged = isinstance(error, LedgerTamperedError)
            return _error(*(_DAMAGED if damaged else _UNAVAILABLE))
        except ClientDisconnect as error:
            raise HTTPException(400, "The request broke off.") from error

    return answered


async def _entry(request: Request) -> tuple[Entry, bytes]:
    body = await _body(request, 2 * wire.ENTRY_BYTES_MAX + 1024)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/octet-stream":
        return wire.read_entry(body)
    if kind == "application/json":
        document = wire.load(body)
        return wire.read_entry(document if isinstance(document, dict) else {})
    raise HTTPException(415, "Send application/json or application/octet-stream.")


async def _lost_rows(request: Request) -> tuple[int, tuple[StoredRow, ...]]:
    document = wire.load(await _body(request, wire.BODY_BYTES_MAX))
    if not isinstance(document, dict) or type(document.get("from")) is not int:
        raise HTTPException(400, "Send the rows and the height of the first.")
    begin = document["from"]
    if begin < 1:
        raise HTTPException(400, "Rows count from 1.")
    return begin, wire.read_rows(document.get("rows"))


async def _body(request: Request, most: int) -> bytes:
    """Read a body that is neither long nor slow."""
    data = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > most:
                    raise HTTPException(413, f"A body may have {most} bytes.")
    except TimeoutError as error:
        raise HTTPException(408, f"A body has to arrive in {_BODY_S:.0f} s.") from error
    return bytes(data)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or int(text) < 1:
        raise HTTPException(400, f"{name!r} is a whole number of at least 1.")
    return int(text)


def _seconds(request: Request, name: str) -> float:
    text = request.query_params.get(name, "0")
    if not _SECONDS.fullmatch(text) or not math.isfinite(float(text)):
        raise HTTPException(400, f"{name!r} is a number of seconds.")
    return float(text)


def _document(document: Mapping[str, object]) -> Response:
    return _json(wire.dump(document))


def _json(data: bytes, status: int = 200) -> Response:
    return Response(data, status, media_type="application/json")


def _refusal(condition: str, reason: str) -> Response:
    return _json(wire.dump(wire.Refusal(condition, reason).document()), 409)


def _error(status: int, kind: str, reason: str) -> Response:
    return _json(wire.dump({"error": kind, "reason": reason}), status)


async def _refused_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = _error(error.status_code, "malformed", str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _failed(_request: Request, _cause: Exception) -> Response:
    return _error(500, "internal", "The server failed; its own log says how.")
