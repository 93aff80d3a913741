"""A blob of 100 MB from a peer's process to this one over loopback, against raw TCP, in pairs.

Raw TCP is what two processes can do here at all: one `sendall` from memory, `recv_into` into one
buffer that is there. A blob is more: HTTP, a signed request, a gate, a file, and sha256 of every
byte. The rows add these one after the other, and tell what raw TCP makes of the same work.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from tests.blob_servers import MEMBERS, Club, sender, serving

from benchmarks.page import put, table
from benchmarks.paired import write
from colearn.store import DirectoryStore, HoldingStore
from colearn.store._blob_client import BlobClient
from colearn.store.peers import PeersRemote
from colearn.store.routes import blob_routes

BLOB_BYTES = 100_000_000
PAIRS = 15
TARGET = 0.8


def serve_raw(port: Any, path: str) -> None:
    """Send a file from memory to everybody who connects and says a byte."""
    data = memoryview(Path(path).read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port.send(listener.getsockname()[1])
        while True:
            line, _ = listener.accept()
            with line:
                if line.recv(1):
                    line.sendall(data)


def serve_peer(port: Any, folder: str) -> None:
    """Serve the blobs of a folder as a node does, to the member that asks."""
    routes = blob_routes(DirectoryStore(folder), Club().gate(MEMBERS[1]))
    with serving(Starlette(routes=routes)) as url:
        port.send(url)
        port.recv()


class Memory:
    """Takes what a draft takes, and keeps it in one buffer: no file, no digest."""

    def __init__(self, room: memoryview) -> None:
        self.offset, self._room = 0, room

    def room(self) -> memoryview:
        return self._room[self.offset :]

    def fill(self, count: int) -> None:
        self.offset += count


class Unhashed:
    """Takes what a draft takes, and writes it to a file: no digest."""

    def __init__(self, path: Path) -> None:
        self.offset = 0
        self._piece = memoryview(bytearray(2**20))
        self._used = 0
        self._file = path.open("wb", buffering=0)

    def room(self) -> memoryview:
        if self._used == len(self._piece):
            self._flush()
        return self._piece[self._used :]

    def fill(self, count: int) -> None:
        self.offset += count
        self._used += count

    def close(self) -> None:
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        self._file.write(self._piece[: self._used])
        self._used = 0


class Bench:
    """The ways to receive one blob."""

    def __init__(self, folder: Path, raw_port: int, url: str, digest: str) -> None:
        self._folder, self._port, self._digest = folder, raw_port, digest
        self._buffer = memoryview(bytearray(BLOB_BYTES))
        self._client = BlobClient(url, sender())
        self._held = DirectoryStore(folder / "held")
        self._store = HoldingStore(self._held, PeersRemote([url], sender()))

    def close(self) -> None:
        self._client.close()
        self._store.close()

    def raw(self) -> None:
        self._receive(Memory(self._buffer))

    def raw_into_file(self) -> None:
        with closing(Unhashed(self._folder / "raw")) as draft:
            self._receive(draft)

    def raw_verified(self) -> None:
        with self._held.receive(self._digest, BLOB_BYTES) as draft:
            self._receive(draft)
            draft.finish()

    def peer_into_memory(self) -> None:
        self._fetch(Memory(self._buffer))

    def peer_into_file(self) -> None:
        with closing(Unhashed(self._folder / "raw")) as draft:
            self._fetch(draft)

    def peer_verified(self) -> None:
        """What a node does."""
        self._store.bring(self._digest, BLOB_BYTES)

    def _receive(self, draft: Any) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as line:
            line.sendall(b"x")
            while draft.offset < BLOB_BYTES:
                draft.fill(line.recv_into(draft.room()))

    def _fetch(self, draft: Any) -> None:
        self._client.fetch(self._digest, draft, BLOB_BYTES, time.monotonic() + 600)

    def clean(self) -> None:
        (self._held.path / self._digest).unlink(missing_ok=True)
        (self._folder / "raw").unlink(missing_ok=True)


def hashing() -> float:
    """Return how many GB of a buffer one thread hashes in a second."""
    data = bytes(BLOB_BYTES)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        hashlib.sha256(data).digest()
        times.append(time.perf_counter() - begin)
    return BLOB_BYTES / statistics.median(times) / 1e9


def timed(bench: Bench, work: Callable[[], None]) -> float:
    # Giving pages back takes time too, and is not what is timed.
    bench.clean()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(
    bench: Bench, what: str, base: str, first: Callable[[], None], second: Callable[[], None]
) -> dict[str, Any]:
    """Return the medians of both, and the median over pairs of second / first."""
    first(), second()
    runs = [(timed(bench, first), timed(bench, second)) for _ in range(PAIRS)]
    shares = [run[1] / run[0] for run in runs]
    return {
        "what": what,
        "against": base,
        "gb_per_s": round(BLOB_BYTES / statistics.median(run[0] for run in runs) / 1e9, 2),
        "against_gb_per_s": round(BLOB_BYTES / statistics.median(run[1] for run in runs) / 1e9, 2),
        "share": round(statistics.median(shares), 2),
        "share_min": round(min(shares), 2),
        "share_max": round(max(shares), 2),
    }


def main() -> None:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = os.urandom(BLOB_BYTES)
        digest = hashlib.sha256(data).hexdigest()
        (folder / "served").mkdir()
        (folder / "served" / digest).write_bytes(data)
        places, servers = [], []
        for serve, place in (
            (serve_raw, folder / "served" / digest),
            (serve_peer, folder / "served"),
        ):
            here, there = context.Pipe()
            server = context.Process(target=serve, args=(there, str(place)), daemon=True)
            server.start()
            servers.append((server, here))
            places.append(here.recv())
        with closing(Bench(folder, places[0], places[1], digest)) as bench:
            raw = bench.raw
            rows = [
                compare(bench, "from a peer into memory", "raw TCP", bench.peer_into_memory, raw),
                compare(bench, "from a peer into a file", "raw TCP", bench.peer_into_file, raw),
                compare(
                    bench, "from a peer, verified, a blob", "raw TCP", bench.peer_verified, raw
                ),
                compare(bench, "raw TCP, verified, a blob", "raw TCP", bench.raw_verified, raw),
                compare(
                    bench, "from a peer into a file", "raw TCP into a file",
                    bench.peer_into_file, bench.raw_into_file,
                ),
                compare(
                    bench, "from a peer, verified, a blob", "raw TCP, verified, a blob",
                    bench.peer_verified, bench.raw_verified,
                ),
            ]  # fmt: skip
        rows.append({"what": "sha256 of a buffer, one thread", "gb_per_s": round(hashing(), 2)})
        for server, _ in servers:
            server.kill()
            server.join()
    write("blobs", rows)
    columns = ("what", "GB/s", "against", "GB/s", "share", "from", "to")
    put("blobs", table(columns, [told(row) for row in rows]))


def told(row: dict[str, Any]) -> tuple[object, ...]:
    keys = ("what", "gb_per_s", "against", "against_gb_per_s", "share", "share_min", "share_max")
    return tuple(row.get(key) for key in keys)


if __name__ == "__main__":
    main()
