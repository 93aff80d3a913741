"""A group on this machine, made with what `colearn create`, `join` and `start` use.

Its keys are real ones, and each learner has a folder of its own, as on a machine of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from colearn.experiment import ExperimentConfig
from colearn.identity import Key, save
from colearn.ledger import Ledger
from colearn.network.connect import genesis_of, open_store
from colearn.network.creating import create, found, leave_blobs
from colearn.network.invitation import Invitation
from colearn.network.joining import check_fit, fetch_offer, take_seat
from colearn.network.local import Local
from colearn.network.settings import NodeSettings
from colearn.store import DirectoryStore

__all__ = ["Members", "create_group", "join_group", "running"]

_PROGRAM = (sys.executable, "-c", "from colearn.cli import main; main()")
"""This program, as a process of its own."""

_MODEL_S = 30.0
_END_S = 20.0


@dataclass(frozen=True, slots=True)
class Members:
    """Who takes part, in join order.

    Attributes:
        folder: Where their keys and nodes are.
        names: What they are called.
        keys: Their keys, each in a file of its own; the first creates experiments.
    """

    folder: Path
    names: tuple[str, ...]
    keys: tuple[Key, ...]

    @staticmethod
    def new(folder: Path, names: Sequence[str]) -> Members:
        """Make a key for each name.

        Raises:
            ColearnError: A file cannot be written.
        """
        members = Members(folder, tuple(names), tuple(Key.generate() for _ in names))
        for name, key in zip(names, members.keys, strict=True):
            save(key, members.key_file(name), None)
        return members

    def key_file(self, name: str) -> Path:
        """Return where a member's key is."""
        return self.folder / "keys" / f"{name}.json"


def create_group(
    config: ExperimentConfig,
    members: Members,
    ledger: Ledger,
    held: DirectoryStore,
    *,
    url: str,
    store: str,
) -> Invitation:
    """Create an experiment, invite everybody, and leave the specification and model 0.

    Args:
        config: The experiment.
        members: Who is invited.
        ledger: A view.
        held: Holds the blobs afterwards.
        url: Of the ledger.
        store: Where the blobs are, as in an invitation.

    Raises:
        ColearnError: As `create` and `leave_blobs`.
    """
    founding = found(config)
    draft = founding.invitation(url, genesis_of(ledger), store, [])
    ledger.sync()
    creator, *others = members.keys
    addresses = [key.address for key in others]
    invitation = create(founding, draft, ledger, creator, invited=addresses)
    blobs = open_store(invitation, held, creator, ledger)
    try:
        leave_blobs(founding, blobs)
    finally:
        blobs.close()
    return invitation


def join_group(
    members: Members, invitation: Invitation, ledger: Ledger, held: DirectoryStore
) -> dict[str, Path]:
    """Let everybody join with its share, and return the nodes' folders by name, in join order.

    Raises:
        ColearnError: As `fetch_offer`, `check_fit` and `take_seat`.
    """
    nodes = {}
    for place, (name, key) in enumerate(zip(members.names, members.keys, strict=True), start=1):
        blobs = open_store(invitation, held, key, ledger)
        try:
            experiment = ledger.experiment(invitation.experiment)
            offer = fetch_offer(invitation, experiment, blobs, _MODEL_S)
        finally:
            blobs.close()
        check_fit(offer, Local(name, 0, share=place))
        settings = NodeSettings.of(
            name=name,
            invitation=invitation.to_link(),
            key=members.key_file(name).absolute(),
            address=key.address,
            share=place,
        )
        nodes[name] = members.folder / "nodes" / name
        take_seat(offer, ledger, key, settings, nodes[name])
    return nodes


@contextmanager
def running(
    words: Sequence[str], log: IO[str] | int, stdout: IO[str] | int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """Run a command of this program; its process does not outlive the block.

    Args:
        words: The command and its arguments.
        log: Takes standard error.
        stdout: Takes standard output.
    """
    process = subprocess.Popen(  # noqa: S603  (this program, with its own words)
        [*_PROGRAM, *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=log,
        text=True,
        # Ctrl-C is for who runs the group, and ends its processes itself.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        process.kill()
        process.communicate()
