"""Blobs over HTTP: the server's side of ``/v1/blobs/{digest}`` (6.3, 6.4, 7.8).

Every request passes a gate first. Blobs are sent from mapped files without a copy of their own;
what is uploaded is hashed while it arrives, and is a blob only when its digest is right.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar

from colearn.errors import (
    BlobNotFoundError,
    DigestMismatchError,
    MissingExtraError,
    StoreError,
)
from colearn.identity import Claim
from colearn.identity.request import NO_BODY
from colearn.store.directory import DirectoryStore
from colearn.store.draft import Draft
from colearn.store.gate import Asked, Gate, TurnedAwayError
from colearn.store.quota import Quota
from colearn.web.patience import ABORT

try:
    from starlette.requests import ClientDisconnect, Request
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send
except ImportError as error:
    raise MissingExtraError("starlette", extra="network") from error

__all__ = ["BlobLimits", "blob_routes"]

T = TypeVar("T")

_DIGEST = re.compile("[0-9a-f]{64}")
_RANGE = re.compile("bytes=([0-9]{0,15})-([0-9]{0,15})")
_LENGTH = re.compile("[0-9]{1,15}")
_SEND_BYTES = 2**20
"""Bytes of the mapped file that are handed to the connection at once."""

_WRITE_BYTES = 2**18
"""Bytes of a body that are gathered before a thread writes them."""


@dataclass(frozen=True, slots=True)
class BlobLimits:
    """What one server does at most."""

    blob_bytes: int = 2**30
    """One blob: 1 GiB, as `WeightsLimits.proposal_bytes`."""

    downloads_count: int = 256
    """Blobs that are being sent at once."""

    uploads_count: int = 16
    """Blobs that are arriving at once; each needs some megabytes of memory."""

    address_count: int = 8
    """Transfers of one address at once."""

    piece_s: float = 30.0
    """Seconds in which a piece must go: 1 MiB of a download, 256 KiB of an upload. So a transfer
    has at least 35 or 9 kB/s, or is cut."""

    transfer_s: float = 3600.0
    """Seconds for a transfer as a whole."""


def blob_routes(
    store: DirectoryStore,
    gate: Gate,
    limits: BlobLimits | None = None,
    *,
    quota: Quota | None = None,
) -> list[Route]:
    """Return the routes that serve a store.

    Args:
        store: The blobs.
        gate: Decides about every request.
        limits: Of sizes, times and how many at once.
        quota: How much is kept; without one nothing can be uploaded.
    """
    endpoint = _Blobs(store, gate, limits or BlobLimits(), quota)
    methods = ["GET", "HEAD"] if quota is None else ["GET", "HEAD", "PUT"]
    return [Route("/v1/blobs/{digest}", endpoint, methods=methods)]


@dataclass(slots=True)
class _Busy:
    """Transfers under way."""

    most: int
    count: int = 0


@dataclass(slots=True)
class _Slots:
    """Who transfers how much at once."""

    address_count: int
    addresses: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def taken(self, address: str, busy: _Busy) -> Iterator[None]:
        """Take a slot while a transfer is under way."""
        mine = self.addresses.get(address, 0)
        if mine >= self.address_count:
            raise TurnedAwayError(429, "Too many transfers of one address at once.", peer=address)
        if busy.count >= busy.most:
            raise TurnedAwayError(503, "Too many transfers at once.", peer=address)
        self.addresses[address] = mine + 1
        busy.count += 1
        try:
            yield
        finally:
            busy.count -= 1
            self.addresses[address] -= 1
            if not self.addresses[address]:
                del self.addresses[address]


class _Blobs:
    """The endpoint, as an ASGI application: a response is under way until its last byte."""

    def __init__(
        self, store: DirectoryStore, gate: Gate, limits: BlobLimits, quota: Quota | None
    ) -> None:
        self._store, self._gate, self._limits, self._quota = store, gate, limits, quota
        self._slots = _Slots(limits.address_count)
        self._downloads = _Busy(limits.downloads_count)
        self._uploads = _Busy(limits.uploads_count)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = _Answer(scope, send)
        try:
            await self._handle(request, answer)
        except TurnedAwayError as error:
            await answer.refuse(error.status, str(error))
        except BlobNotFoundError:
            await answer.refuse(404, "This blob is not here.")
        except StoreError:
            # Its text names files of this machine.
            await answer.refuse(500, "The store failed; its owner has to look at it.")
        except ClientDisconnect:
            pass
        except TimeoutError:
            await answer.abort()

    async def _handle(self, request: Request, answer: _Answer) -> None:
        digest = str(request.path_params["digest"])
        if not _DIGEST.fullmatch(digest):
            raise TurnedAwayError(400, "A digest is 64 lower-case hexadecimal digits.")
        writing = request.method == "PUT"
        claim = await self._gate.admit(_asked(request, digest if writing else NO_BODY))
        statement = self._gate.statement(claim.nonce)
        if statement is not None:
            answer.headers.append((b"colearn-head", statement.encode("ascii")))
        if writing:
            await self._receive(request, answer, claim, digest)
        else:
            self._gate.require_readable(claim, digest)
            await self._send(request, answer, claim, digest)

    # --------------------------------------------------------------------------- sending

    async def _send(self, request: Request, answer: _Answer, claim: Claim, digest: str) -> None:
        busy = self._downloads
        with self._slots.taken(claim.address, busy), self._store.opened(digest) as file:
            size = os.fstat(file.fileno()).st_size
            begin, end, status = _span(request.headers.get("range", ""), size)
            headers = [
                (b"content-type", b"application/octet-stream"),
                (b"accept-ranges", b"bytes"),
                (b"etag", f'"{digest}"'.encode("ascii")),
            ]
            if status == 416:
                headers.append((b"content-range", f"bytes */{size}".encode("ascii")))
                await answer.refuse(status, f"This blob has {size} bytes.", headers)
                return
            if status == 206:
                span = f"bytes {begin}-{end - 1}/{size}"
                headers.append((b"content-range", span.encode("ascii")))
            headers.append((b"content-length", str(end - begin).encode("ascii")))
            async with asyncio.timeout(self._limits.transfer_s):
                await answer.start(status, headers)
                pieces = () if request.method == "HEAD" else _pieces(file, begin, end)
                await answer.body(pieces, self._limits.piece_s)

    # ------------------------------------------------------------------------- receiving

    async def _receive(self, request: Request, answer: _Answer, claim: Claim, digest: str) -> None:
        quota = self._quota
        assert quota is not None
        if self._store.has(digest):
            await answer.say(200, {"digest": digest, "stored": False}, close=True)
            return
        size = _announced(request, self._limits.blob_bytes)
        with self._slots.taken(claim.address, self._uploads):
            quota.reserve(claim.address, size)
            try:
                await self._store_body(request, digest, size)
                with suppress(OSError):
                    quota.keep(claim.address, digest, size)
            except BaseException:
                quota.release(claim.address, size)
                raise
        await answer.say(201, {"digest": digest, "stored": True})

    async def _store_body(self, request: Request, digest: str, size: int) -> None:
        try:
            async with self._draft(digest, size) as draft:
                async for data in self._body(request, size):
                    await _in_thread(lambda data=data: draft.write(data))  # type: ignore[misc]
                await _in_thread(draft.finish)
        except DigestMismatchError as error:
            raise TurnedAwayError(409, "These bytes have another digest.") from error
        except StoreError as error:
            raise TurnedAwayError(507, "The server cannot write it: is its disk full?") from error

    @asynccontextmanager
    async def _draft(self, digest: str, size: int) -> AsyncIterator[Draft]:
        def open_empty() -> Draft:
            draft = self._store.receive(digest, size)
            draft.restart()
            return draft

        draft = await _in_thread(open_empty)
        try:
            yield draft
        finally:
            # A blob already, or bytes that nobody sends again from their middle.
            draft.discard()

    async def _body(self, request: Request, size: int) -> AsyncIterator[bytes]:
        """Yield a body of exactly `size` bytes that is not slow, in pieces worth a thread."""
        came, gathered = 0, bytearray()
        chunks, clock = request.stream(), asyncio.get_running_loop().time
        end = clock() + self._limits.transfer_s
        try:
            while came < size:
                until = came + min(_WRITE_BYTES, size - came)
                async with asyncio.timeout_at(min(end, clock() + self._limits.piece_s)):
                    while came < until:
                        chunk = await anext(chunks)
                        came += len(chunk)
                        gathered += chunk
                yield bytes(gathered)
                gathered.clear()
        except TimeoutError as error:
            raise TurnedAwayError(408, "The body comes too slowly.") from error
        except StopAsyncIteration as error:
            raise TurnedAwayError(400, "The body ends too early.") from error
        if came > size:
            raise TurnedAwayError(400, "The body is longer than it said.")


class _Answer:
    """One answer; what it has begun it finishes or cuts off."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self._abort: Callable[[], None] | None = (scope.get("extensions") or {}).get(ABORT)
        self._is_head = scope["method"] == "HEAD"
        self._put = scope["method"] == "PUT"
        self._send = send
        self._started = False

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._started = True
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*self.headers, *headers, (b"cache-control", b"no-store")],
            }
        )

    async def body(self, pieces: Iterable[bytes | memoryview], piece_s: float) -> None:
        for piece in pieces:
            async with asyncio.timeout(piece_s):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        async with asyncio.timeout(piece_s):
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def say(self, status: int, document: dict[str, Any], *, close: bool = False) -> None:
        data = b"" if self._is_head else json.dumps(document).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(data)).encode("ascii")),
        ]
        # A body that nobody reads would stand before the next request.
        if close:
            headers.append((b"connection", b"close"))
        await self.start(status, headers)
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def refuse(
        self, status: int, reason: str, headers: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        if self._started:
            await self.abort()
            return
        self.headers += headers or []
        if status in (429, 503):
            self.headers.append((b"retry-after", b"1"))
        await self.say(status, {"error": "refused", "reason": reason}, close=self._put)

    async def abort(self) -> None:
        """Cut the connection: somebody does not take its bytes, or they cannot be read."""
        if self._abort is not None:
            self._abort()
            # So that the server sees the end before it sees an answer that is none.
            await asyncio.sleep(0)
            await asyncio.sleep(0)


def _asked(request: Request, body: str) -> Asked:
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope["query_string"]
    target = raw + (b"?" + query if query else b"")
    return Asked(
        method=request.method,
        host=request.headers.get("host", "").lower(),
        target=target.decode("latin-1"),
        authorization=request.headers.get("authorization", ""),
        body=body,
    )


def _announced(request: Request, most: int) -> int:
    text = request.headers.get("content-length", "")
    if not _LENGTH.fullmatch(text):
        raise TurnedAwayError(411, "An upload says its size in Content-Length.")
    if int(text) > most:
        raise TurnedAwayError(413, f"A blob may have {most} bytes.", rule="6.4")
    return int(text)


def _span(text: str, size: int) -> tuple[int, int, int]:
    """Return which bytes are asked for, the end excluded, and the status of the answer."""
    found = _RANGE.fullmatch(text)
    if found is None or not (found[1] or found[2]):
        # Several ranges, or what is none, may be answered with everything (RFC 9110, 14.2).
        return 0, size, 200
    if not found[1]:
        begin, end = max(0, size - int(found[2])), size
    else:
        begin = int(found[1])
        end = min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < begin:
            return 0, size, 200
    return (begin, end, 206) if begin < end else (0, 0, 416)


def _pieces(file: BinaryIO, begin: int, end: int) -> Iterator[memoryview]:
    if begin < end:
        # The map lives until the connection has let go of the last piece.
        view = memoryview(mmap.mmap(file.fileno(), end, access=mmap.ACCESS_READ))
        for at in range(begin, end, _SEND_BYTES):
            yield view[at : min(at + _SEND_BYTES, end)]


async def _in_thread(call: Callable[[], T]) -> T:
    """Run a call on a thread, and wait for its end even when nobody waits for its result."""
    task = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
