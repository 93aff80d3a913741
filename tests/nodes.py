"""Networks of nodes on this machine, as real processes, for tests and benchmarks."""

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from colearn.experiment.config import parse_config
from colearn.identity import Key, save
from colearn.ledger import EmbeddedLedger
from colearn.network import connect, creating, joining
from colearn.network.local import Local, search_beside
from colearn.network.settings import NodeSettings
from colearn.store import DirectoryStore

ROOT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-c", "from colearn.cli import main; main()"]
NOBODY = "0x" + "00" * 20


@dataclass
class Network:
    """An experiment that everybody has joined and nobody runs yet.

    Attributes:
        folder: Where everything of it is.
        invitation: The link's content.
        keys: The members', in join order.
        nodes: Their folders.
    """

    folder: Path
    invitation: object
    keys: list
    nodes: list

    def ledger(self):
        """Return a view of the ledger, read to its end."""
        ledger = connect.open_ledger(self.invitation)
        ledger.sync()
        return ledger


def configuration(
    members, *, rounds=20, learner="tests.echo:make", settings=None, phases=4, task="iris", **more
):
    """Return an experiment of learners that learn nothing, or of others."""
    return parse_config(
        {
            "rounds": rounds,
            "task": {
                "use": f"colearn.tasks:{task}",
                "split": {"by": "iid", "learners": members, "min_rows": 3},
            },
            "learner": {"use": learner, "with": settings or {}},
            "phases": {"propose_s": phases, "vote_s": phases},
            **more,
        }
    )


def joined(folder, url, store, config, *, link_of=None, addresses=None):
    """Create an experiment, and let everybody join.

    Args:
        folder: For keys, folders of nodes, and whatever else.
        url: Of the ledger.
        store: As in an invitation.
        config: The experiment; its split says how many members.
        link_of: Returns the ledger's URL as a place knows it, for proxies; None for all the same.
        addresses: Called with the keys' addresses before anything is sent, to give them money.
    """
    search_beside(ROOT)
    members = config.task.split.learners
    doors = [f"127.0.0.1:{free_port()}" for _ in range(members)] if store == "peers" else []
    keys = [Key.generate() for _ in range(members)]
    for place, key in enumerate(keys):
        save(key, folder / f"key-{place}.json", None)
    if addresses is not None:
        addresses([key.address for key in keys])
    founding = creating.found(config)
    with connect.open_ledger_at(url) as ledger:
        ledger.sync()
        peers = [f"http://{door}" for door in doors[:1]]
        draft = founding.invitation(url, connect.genesis_of(ledger), store, peers)
        invited = [key.address for key in keys]
        invitation = creating.create(founding, draft, ledger, keys[0], invited=invited)
        leave(founding, invitation, folder, keys[0], ledger)
        nodes = [
            take_seat(folder, invitation, place, key, ledger, link_of, doors[place : place + 1])
            for place, key in enumerate(keys)
        ]
    return Network(folder, invitation, keys, nodes)


def leave(founding, invitation, folder, key, ledger):
    store = connect.open_store(invitation, DirectoryStore(folder / "founded"), key, ledger)
    creating.leave_blobs(founding, store)
    store.close()


def take_seat(folder, invitation, place, key, ledger, link_of, doors):
    held = DirectoryStore(folder / "founded")
    store = connect.open_store(invitation, held, key, ledger)
    offer = joining.fetch_offer(invitation, ledger.experiment(invitation.experiment), store, 60)
    store.close()
    own = invitation if link_of is None else replace(invitation, ledger=link_of(place))
    local = Local(f"node-{place}", 0, share=place + 1, search=ROOT)
    settings = NodeSettings(
        name=local.name, invitation=own.to_link(), key=folder / f"key-{place}.json",
        address=key.address, share=local.share, search=ROOT,
        listen=doors[0] if doors else None, public_url=f"http://{doors[0]}" if doors else None,
    )  # fmt: skip
    return joining.take_seat(offer, ledger, key, settings, folder / local.name)


def free_port():
    """Return a port that nobody uses at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def listens(port):
    """Say whether somebody listens at a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def started(node, *, quiet=True, options=()):
    """Run a node as its owner would."""
    log = (node.path / "log.txt").open("ab")
    with log:
        return subprocess.Popen(
            [*PROGRAM, "start", str(node.path), *options],
            cwd=ROOT,
            stdout=log if quiet else subprocess.PIPE,
            stderr=log,
        )


@contextmanager
def hosted(folder, *, drift_s=1, port=0, blobs=True, options=()):
    """Run ``colearn ledger serve`` as a process; yields its URL and the process."""
    path = folder / "ledger.db"
    if not path.exists():
        EmbeddedLedger.create(path, NOBODY, drift_s=drift_s)
    more = ["--blobs", str(folder / "blobs")] if blobs else []
    process = subprocess.Popen(
        [*PROGRAM, "ledger", "serve", str(path), "--port", str(port), "--json", *more, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        line = process.stdout.readline()
        yield json.loads(line)["url"], process
    finally:
        end(process)


def end(process):
    """End a process that this one started, and let go of its pipes."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


@contextmanager
def running(network, *, options=()):
    """Run all nodes of a network; they are ended with the block, if they have not ended before."""
    processes = [started(node, options=options) for node in network.nodes]
    try:
        yield processes
    finally:
        for process in processes:
            end(process)


def until(holds, timeout_s, what):
    """Wait for something that can only be looked at."""
    limit = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > limit:
            raise AssertionError(f"not in {timeout_s} s: {what}")
        time.sleep(0.05)


def log_of(node):
    """Return what a node has said."""
    path = node.path / "log.txt"
    return path.read_text() if path.exists() else ""
