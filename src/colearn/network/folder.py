"""A node's folder: which experiment it takes part in, with which key and which learner."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colearn.errors import ConfigError
from colearn.experiment.plan import Plan
from colearn.experiment.specification import SPECIFICATION_BYTES_MAX
from colearn.identity import Key, Statement, load
from colearn.interface import MachineLearningInterface
from colearn.ledger import Head, Ledger
from colearn.network._files import inside, locked, moments, remove, writing
from colearn.network.connect import open_ledger, open_store
from colearn.network.invitation import Invitation, read_invitation
from colearn.network.local import Local, learner_of, local_plan, search_beside
from colearn.network.settings import NodeSettings
from colearn.network.terms import Terms, read_terms
from colearn.node import Origin
from colearn.store import DirectoryStore, HoldingStore
from colearn.store.sender import Credentials

__all__ = ["NodeFolder", "NodeState", "local_of"]

_FILE = "node.toml"
_STATE_BYTES_MAX = 2**16


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a running node says of itself in ``state.json``.

    Attributes:
        pid: Its process.
        health: Where its health is served; None where it serves nothing.
        started: When, seconds since 1970.
    """

    pid: int
    health: str | None
    started: int


class NodeFolder:
    """Reads and writes the folder of one node.

    Attributes:
        path: The folder.
        settings: What node.toml says.
        invitation: Which experiment it is, and where.
    """

    def __init__(self, path: Path, settings: NodeSettings) -> None:
        """Take a folder and what stands in it; `open` and `drafted` are the ways in."""
        self.path = path
        self.settings = settings
        self.invitation: Invitation = read_invitation(settings.invitation)

    @staticmethod
    def holds_node(path: Path) -> bool:
        """Say whether there is a node in a folder."""
        return (path / _FILE).is_file()

    @staticmethod
    def refuse_taken(path: Path) -> None:
        """Refuse a place at which there is something.

        Raises:
            ConfigError: There is.
        """
        if os.path.lexists(path):
            raise ConfigError(f"{path} is there already.", hint="Name another folder with -d.")

    @staticmethod
    def open(path: Path) -> NodeFolder:
        """Open the folder of a node.

        Raises:
            ConfigError: There is none in it, or its node.toml is not understood; names the key.
        """
        file = path / _FILE
        if not file.is_file():
            raise ConfigError(
                f"There is no node in {path}.", hint="Join an experiment with `colearn join LINK`."
            )
        return NodeFolder(path, NodeSettings.read(file))

    @staticmethod
    @contextmanager
    def drafted(path: Path, settings: NodeSettings) -> Iterator[NodeFolder]:
        """Make a folder beside `path`, which gets its name when the block ends well.

        Nothing of it is left when the block raises.

        Raises:
            ConfigError: There is something at `path` already.
            ColearnError: It cannot be written.
        """
        NodeFolder.refuse_taken(path)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
        try:
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                draft.mkdir(mode=0o700)
                folder = NodeFolder(draft, settings)
                folder._replace(_FILE, settings.to_toml().encode())
            yield folder
            with writing(path):
                draft.rename(path)
            folder.path = path
        finally:
            if draft.exists():
                remove(draft)

    def change(self, settings: NodeSettings) -> None:
        """Replace node.toml in one step.

        Raises:
            ColearnError: It cannot be written.
        """
        self._replace(_FILE, settings.to_toml().encode())
        self.settings = settings
        self.invitation = read_invitation(settings.invitation)

    @property
    def name(self) -> str:
        """What the node is called."""
        return self.settings.name

    @property
    def blobs(self) -> Path:
        """The folder of the blobs that are held here."""
        return self.path / "blobs"

    @property
    def local(self) -> Local:
        """What this member decided alone."""
        return local_of(self.settings)

    @property
    def tls(self) -> Credentials:
        """Whom this node trusts under HTTPS, and the certificate that it shows."""
        own = self.settings
        return Credentials(own.ca_file, own.tls_cert, own.tls_key)

    def load_key(self, passphrase: str | None = None) -> Key:
        """Read the key.

        Raises:
            ConfigError: It cannot be read, or is another one than the node joined with.
        """
        if not self.settings.key.exists():
            raise ConfigError(
                f"There is no key file {self.settings.key}, with which this node joined as "
                f"{self.settings.address}.",
                hint="Put it back: another key is another member.",
            )
        key = load(self.settings.key, passphrase)
        if key.address != self.settings.address:
            raise ConfigError(
                f"{self.settings.key} holds the key of {key.address}, and this node joined as "
                f"{self.settings.address}.",
                hint="Put the first key back, or join with this one.",
            )
        return key

    def ledger(self) -> Ledger:
        """Open the experiment's ledger; no row is read yet.

        Raises:
            ColearnError: As `open_ledger`.
        """
        own = self.settings
        return open_ledger(self.invitation, tls=self.tls, node_url=own.node_url)

    def store(
        self,
        key: Key,
        ledger: Ledger,
        on_statement: Callable[[str, Statement], None] | None = None,
    ) -> HoldingStore:
        """Return the blobs that are held here, with a way to the others.

        Args:
            key: Signs the requests.
            ledger: Read up to the experiment.
            on_statement: Hears the URL and how far its server says it has read the ledger (7.9).

        Raises:
            ColearnError: As `open_store`.
        """
        held, tls = DirectoryStore(self.blobs), self.tls
        return open_store(
            self.invitation, held, key, ledger, tls=tls, on_statement=on_statement
        )  # fmt: skip

    def terms(self) -> Terms:
        """Read what was agreed on, from the specification that is held here.

        Raises:
            StoreError: It is not here.
            ConfigError: It is not understood.
        """
        digest = self.invitation.specification
        return read_terms(DirectoryStore(self.blobs).get(digest, SPECIFICATION_BYTES_MAX))

    def agreed(self) -> Origin:
        """Return what the node joined with (6.1).

        Raises:
            ColearnError: As `terms`.
        """
        invitation = self.invitation
        return Origin(invitation.specification, invitation.model, self.terms().grows)

    def plan(self) -> Plan:
        """Load the rows of this member.

        The folder that it joined in is searched first for modules, and relative paths in its
        settings start there, wherever the node is started.

        Raises:
            ConfigError: Something does not fit; names the key.
        """
        terms = self.terms()
        search_beside(self.settings.search)
        with inside(self.settings.search):
            return local_plan(terms, self.local)

    def make_learner(self) -> MachineLearningInterface:
        """Return the learner, as it is before any round.

        Raises:
            ConfigError: Something does not fit; names the key.
        """
        prepared = self.plan()
        with inside(self.settings.search):
            return learner_of(prepared, self.local)

    # ---------------------------------------------------------------- while the node runs

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the folder's lock, so that one process runs this node.

        Raises:
            ConfigError: Another process holds it.
            ColearnError: It cannot be written.
        """
        with writing(self.path):
            lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not any(locked(lock) for _ in moments()):
                raise ConfigError(
                    f"Another process runs the node in {self.path}.",
                    hint="Stop it with `colearn stop`.",
                )
            # What an earlier process said of itself is not true any more.
            self._forget_state()
            yield
            self._forget_state()
        finally:
            os.close(lock)

    def is_running(self) -> bool:
        """Say whether a process runs this node."""
        try:
            lock = os.open(self.path / ".lock", os.O_RDWR)
        except OSError:
            return False
        try:
            return not locked(lock)
        finally:
            os.close(lock)

    def write_state(self, state: NodeState) -> None:
        """Say who runs this node, and where its health is.

        Raises:
            ColearnError: It cannot be written.
        """
        document = {"pid": state.pid, "health": state.health, "started": state.started}
        self._replace("state.json", json.dumps(document).encode())

    def state(self) -> NodeState | None:
        """Read who runs this node, or ran it last; None where nobody says."""
        document = self._json("state.json")
        try:
            state = NodeState(document["pid"], document["health"], document["started"])
        except (KeyError, TypeError):
            return None
        numbers = type(state.pid) is int and state.pid > 0 and type(state.started) is int
        return state if numbers and isinstance(state.health, str | None) else None

    def _forget_state(self) -> None:
        with suppress(OSError):
            (self.path / "state.json").unlink()

    def keep_proposal(self, place: tuple[int, str], digest: str) -> None:
        """Note the newest own proposal, so that a restart does not train again.

        Args:
            place: The round, and the digest of the model it was trained from.
            digest: Of the proposal.

        Raises:
            ColearnError: It cannot be written.
        """
        document = {"round": place[0], "parent": place[1], "digest": digest}
        self._replace("proposal.json", json.dumps(document).encode())

    def proposal_of(self, place: tuple[int, str]) -> str | None:
        """Return the digest of the own proposal in a round from a model, if it was noted."""
        document = self._json("proposal.json")
        if not isinstance(document, dict) or not isinstance(document.get("digest"), str):
            return None
        if (document.get("round"), document.get("parent")) != place:
            return None
        return str(document["digest"])

    def anchor(self) -> Head | None:
        """Return the newest head of the log that this node has verified; None before one."""
        document = self._json("anchor.json")
        try:
            head = Head(document["height"], document["head"])
        except (KeyError, TypeError):
            return None
        return head if type(head.height) is int and isinstance(head.digest, str) else None

    def _json(self, name: str) -> Any:
        """Return what a small file of this node holds; None where it is not there or damaged."""
        try:
            with (self.path / name).open("rb") as file:
                return json.loads(file.read(_STATE_BYTES_MAX))
        except (OSError, ValueError, RecursionError):
            return None

    def _replace(self, name: str, data: bytes) -> None:
        path = self.path / name
        draft = path.with_name(f".{name}.{secrets.token_hex(4)}.draft")
        with writing(path):
            try:
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                draft.replace(path)
            except BaseException:
                with suppress(OSError):
                    draft.unlink()
                raise


def local_of(settings: NodeSettings) -> Local:
    """Return what a member decided alone."""
    own = settings
    return Local(own.name, own.seed, own.share, own.overrides, own.search)
