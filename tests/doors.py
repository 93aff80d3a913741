"""Everything that listens: the servers of this package on loopback, and how they are asked."""

import asyncio
import hashlib
import re
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from starlette.routing import Route

from colearn.core import Duty, encode_call
from colearn.identity import Key, sign_request
from colearn.identity.request import NO_BODY
from colearn.ledger import EmbeddedLedger, Head, server, serving
from colearn.ledger import _wire as wire
from colearn.network.follower import Snapshot
from colearn.network.hosting import BlobHosting
from colearn.network.metrics import Metrics
from colearn.network.peering import make_blob_app
from colearn.network.web import health_of, make_health_app
from colearn.store import DirectoryStore
from colearn.store.routes import BlobLimits
from colearn.web import door as web_door
from colearn.web import patience
from tests import blob_servers
from tests.logs import CREATE, ME, START, SetClock, filled_log, served

BLOB = bytes(range(256)) * 20
DIGEST = hashlib.sha256(BLOB).hexdigest()
LIMITS = BlobLimits(blob_bytes=2**16, piece_s=0.2, transfer_s=1.0)
QUOTA_BYTES = 2**20


@dataclass
class Door:
    """A server that runs.

    Attributes:
        url: Where it is.
        app: What it serves.
        key: A member's; None where nobody signs.
        domain: Of its ledger.
        head: Height and head of its ledger.
        store: The folder of its blobs, or None.
        bodies: What its routes take.
        sound: A path that answers 200 to everybody who signs, or to everybody.
        loop: Its event loop, from the first connection on.
        name: The Host header that it wants; empty for that of its URL.
    """

    url: str
    app: object
    key: object = None
    domain: object = None
    head: tuple = (0, "")
    store: object = None
    bodies: list = field(default_factory=list)
    sound: str = "/v1/health"
    loop: object = None
    name: str = ""

    @property
    def host(self):
        """What stands in the Host header."""
        return self.name or urlsplit(self.url).netloc

    @property
    def routes(self):
        """Path and methods of all routes, as the application has them."""
        for route in self.app.routes:
            assert isinstance(route, Route), "this kind of route is not fuzzed yet"
        found = {}
        for route in self.app.routes:
            found.setdefault(route.path, set()).update(route.methods or {"GET"})
        return [(path, sorted(methods)) for path, methods in found.items()]

    def signed(self, method, target, body=b"", key=None, head=None):
        """Return the header of a member's request."""
        digest = NO_BODY if method != "PUT" else hashlib.sha256(body).hexdigest()
        if method == "PUT" and re.search("[0-9a-f]{64}", target):
            digest = re.search("[0-9a-f]{64}", target)[0]
        return sign_request(
            key or self.key, self.domain, method, host=self.host, target=target,
            body_digest=digest, now=time.time(), head=head or self.head,
        )  # fmt: skip

    def is_sound(self):
        """Ask what is answered to everybody, or to a member."""
        header = "" if self.key is None else self.signed("GET", self.sound)
        words = f"GET {self.sound} HTTP/1.1\r\nhost: {self.host}\r\nconnection: close\r\n"
        data = self.ask(f"{words}authorization: {header}\r\n\r\n".encode(), 30)
        return data.startswith(b"HTTP/1.1 200")

    def ask(self, data, wait_s):
        """Send bytes, and return what comes until the end, or until nothing comes for a while."""
        at = urlsplit(self.url)
        answer = bytearray()
        with socket.create_connection((at.hostname, at.port), 30) as line:
            try:
                line.sendall(data)
                line.settimeout(wait_s)
                while more := line.recv(2**16):
                    answer += more
                    assert len(answer) < 2**23
            except (TimeoutError, ConnectionError):
                pass
        return bytes(answer)

    def call(self, scope, messages):
        """Call the application as a server would; return what it sends."""
        return asyncio.run_coroutine_threadsafe(
            _called(self.app, scope, messages), self.loop
        ).result()

    def strays(self):
        """Return the files of the store that are no blobs."""
        if self.store is None:
            return []
        found = [each for each in self.store.path.iterdir() if each.name != ".uploads"]
        return [
            each.name
            for each in found
            if hashlib.sha256(each.read_bytes()).hexdigest() != each.name
        ]


async def _called(app, scope, messages):
    left, sent = list(messages), []

    async def receive():
        return left.pop(0) if left else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent


def _catching(door):
    class Catching(patience.PatientProtocol):
        def connection_made(self, transport):
            door.loop = self.loop
            super().connection_made(transport)

    return Catching


@contextmanager
def hosted_door(folder):
    """A ledger's server that keeps blobs."""
    store = DirectoryStore(folder / "blobs")
    store.put(BLOB)
    hosting = BlobHosting(folder / "blobs", QUOTA_BYTES, QUOTA_BYTES, limits=LIMITS).further()
    key = Key.from_seed(7, "member 0")
    with _ledger_door(folder, hosting, Door("", None, store=store, key=key)) as door:
        yield door


@contextmanager
def ledger_door(folder):
    """A ledger's server that keeps none."""
    with _ledger_door(folder, None, Door("", None)) as door:
        yield door


@contextmanager
def _ledger_door(folder, more, door):
    path = filled_log(folder / "ledger.db", rounds=1, clock=SetClock())
    with EmbeddedLedger(path, clock=lambda: START + 1000) as view:
        view.sync()
        rows, head = tuple(view.history()), tuple(view.head)
        entry = view.replica.entry(ME.address, START + 1000, encode_call(CREATE))
        signature = ME.sign(view.replica.digest(entry))
    lost = {"from": 2, "rows": wire.write_rows(rows[1:])}
    door.bodies = [
        wire.write_entry(entry, signature),
        {"entry": entry.encode().hex(), "signature": signature.hex()},
        lost,
    ]

    def kept(desk, **settings):
        door.app = server.make_app(desk, **settings)
        return door.app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "make_app", kept)
        patch.setattr(web_door, "PatientProtocol", _catching(door))
        with served(path, clock=lambda: START + 1000, more=more, put_back_s=600.0) as ready:
            door.url, door.domain, door.head = ready.url, ready.genesis.domain, head
            yield door


@contextmanager
def peer_door(folder):
    """A node's door to its blobs."""
    club = blob_servers.Club()
    store = DirectoryStore(folder)
    store.put(BLOB)
    head = Head(len(blob_servers.HEADS) - 1, blob_servers.HEADS[-1])
    snapshot = _snapshot(club.experiment, head)
    lines = SimpleNamespace(
        at=lambda height: blob_servers.HEADS[height] if height < len(blob_servers.HEADS) else None,
        claimed=club.forks.append,
    )
    names = ("http://127.0.0.1:9", "http://ada.example")
    app = make_blob_app(store, blob_servers.MEMBERS[1], lines, lambda: snapshot, names)
    door = Door("", app, store=store, key=blob_servers.MEMBERS[0], domain=blob_servers.DOMAIN)
    door.sound, door.head, door.name = f"/v1/blobs/{DIGEST}", tuple(head), "ada.example"
    with blob_servers.serving(app, protocol=_catching(door)) as door.url:
        yield door


def _snapshot(experiment, head):
    return Snapshot(experiment, head, 0, Duty.WAIT, False, "", 0, 0, time.monotonic() + 10**6)


@contextmanager
def health_door(_folder):
    """A node's door for whoever runs it."""
    snapshot = _snapshot(blob_servers.Club().experiment, Head(1, "ab" * 32))
    app = make_health_app(lambda: health_of("ada", ME.address, snapshot), Metrics(1))
    door = Door("", app)
    with blob_servers.serving(app, protocol=_catching(door)) as url:
        door.url = url
        yield door


DOORS = {"hosted": hosted_door, "ledger": ledger_door, "peer": peer_door, "health": health_door}
