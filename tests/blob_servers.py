"""Servers of blobs for tests: real ones on loopback, with members and a gate, and liars."""

import asyncio
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import Queue

import uvicorn
from starlette.applications import Starlette

from colearn.core import Experiment, Phase, Roster, Round
from colearn.core.bindings import Domain
from colearn.identity import Key, sign_request
from colearn.identity.request import NO_BODY
from colearn.network.hosting import names_of
from colearn.store import DirectoryStore
from colearn.store.gate import MemberGate
from colearn.store.routes import BlobLimits, blob_routes
from colearn.store.sender import Sender
from colearn.web.patience import PatientProtocol

DOMAIN = Domain(1, "0x" + "12" * 20)
HEADS = [f"{height:02x}" * 32 for height in range(8)]
MEMBERS = [Key.from_seed(11, f"member {number}") for number in range(4)]
CREATOR, INVITED, STRANGER = (Key.from_seed(11, name) for name in ("creator", "invited", "none"))


class Club:
    """What a gate needs to know: members, a ledger's line, and what it has complained about."""

    def __init__(self):
        addresses = tuple(key.address for key in MEMBERS)
        self.experiment = Experiment(
            number=1,
            domain=DOMAIN,
            creator=CREATOR.address,
            roster=Roster(
                addresses=addresses,
                seat_of={address: seat for seat, address in enumerate(addresses)},
                members=0b0111,
                invited={INVITED.address: 1},
            ),
        )
        self.forks = []
        self.hosts = None
        self.withheld = set()

    def contribute(self, phase, *digests):
        current = Round(number=1, phase=phase, contributions=dict(enumerate(digests)))
        self.experiment = replace(self.experiment, round=current)

    def gate(self, key=None):
        return MemberGate(
            domain=DOMAIN,
            experiments=lambda: {1: self.experiment},
            head=lambda: (len(HEADS) - 1, HEADS[-1]),
            line=lambda height: HEADS[height] if height < len(HEADS) else None,
            on_fork=self.forks.append,
            key=key,
            hosts=lambda: self.hosts,
            withheld=self.withheld.__contains__,
        )


def sender(key=MEMBERS[0], **changed):
    said = {"domain": DOMAIN, "head": lambda: (3, HEADS[3]), **changed}
    return Sender(key, **said)


def authorization(key, method, host, digest, *, now, body=NO_BODY, head=(3, HEADS[3])):
    return sign_request(
        key, DOMAIN, method, host=host, target=f"/v1/blobs/{digest}", body_digest=body,
        now=now, head=head,
    )  # fmt: skip


@contextmanager
def serving(app, *, protocol=PatientProtocol, **options):
    """Serve an application on loopback; yield its URL."""
    config = uvicorn.Config(
        app, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False,
        timeout_graceful_shutdown=1, **options,
    )  # fmt: skip
    config.load()
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals
    ready = Queue()

    def run():
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(server, ready))

    thread = threading.Thread(target=run)
    thread.start()
    port = ready.get(timeout=30)
    try:
        yield f"{'https' if config.is_ssl else 'http'}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


@contextmanager
def _no_signals():
    yield


async def _serve(server, ready):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        ready.put(listener.getsockname()[1])
        await server.serve([listener])


@contextmanager
def serving_blobs(folder, club=None, *, key=None, limits=None, quota=None, **options):
    """Serve the blobs of a folder to the members of a club; yield URL and store."""
    club = Club() if club is None else club
    store = DirectoryStore(folder)
    made = None if quota is None else quota(store)
    routes = blob_routes(store, club.gate(key), limits or BlobLimits(), quota=made)
    with serving(Starlette(routes=routes), **options) as url:
        if club.hosts is None:
            club.hosts = names_of(url)
        yield url, store


@contextmanager
def hearing(speech):
    """A server that reads the head of a request and then runs `speech(socket, stopped)`."""
    stopped = threading.Event()
    threads = []

    def serve(line):
        with line, suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                data = line.recv(1)
                if not data:
                    return
                head += data
            speech(line, stopped)

    def accept():
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(line,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(30)


CONTRIBUTE, PROPOSE = Phase.CONTRIBUTE, Phase.PROPOSE
