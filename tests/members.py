"""One member of a network in one thread: its learner, disk and lines, and what can be wrong.

Everything else is the real thing: ledger, node, worker, store, the notes of a node's folder. What
a member knows after `start` is what stands in its folder.
"""

import json

import numpy as np

from colearn import ProposedWeights, Weights
from colearn.core import Ballot
from colearn.errors import (
    BlobNotFoundError,
    ColearnError,
    ConfigError,
    LedgerTamperedError,
    LedgerUnavailableError,
    LocalProtocolError,
    PeerUnreachableError,
    StoreError,
)
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger
from colearn.ledger.hosted import HostedLedger
from colearn.network.folder import NodeFolder
from colearn.network.notes import Notes
from colearn.network.settings import NodeSettings
from colearn.node import Node
from colearn.store import Archive, DirectoryStore, HoldingStore
from colearn.store.holding import Remote
from colearn.weights import DEFAULT_LIMITS, freeze
from colearn.worker import Done, Judge, LocalWorker, Observation, Propose

MODEL = freeze({"w": np.zeros(2000)})
DRIFT_S, PHASE_S = 5, 60
BLOB_BYTES_MAX = DEFAULT_LIMITS.proposal_bytes
FATAL = (ConfigError, LedgerTamperedError, LocalProtocolError)


class KilledError(SystemExit):
    """A process that ends here and now."""


class Trainer:
    """Walks at random from its model, and likes everything that it is not told to dislike."""

    def __init__(self, member):
        self.member, self.model, self.round_number = member, np.zeros(2000), 0

    def begin_round(self, round_number):
        self.round_number = round_number

    def mli_propose_weights(self):
        member = self.member
        member.at("before training")
        place = (member.number, self.round_number, freeze({"w": self.model}).digest)
        member.at("during training")
        step = np.random.default_rng([member.number, self.round_number]).normal(size=2000)
        member.at("after training")
        member.network.trained[place] += 1
        proposed = freeze({"w": self.model + step})
        member.trained_last = (place, proposed.digest)
        return Weights(weights=proposed)

    def mli_test_weights(self, weights):
        self.member.at("before judging")
        score = float(weights.weights["w"][0])
        self.member.at("after judging")
        return ProposedWeights(weights=weights, vote_score=score, vote=self.member.likes)

    def mli_accept_weights(self, weights):
        self.member.at("accepting")
        self.model = weights.weights["w"]


class Folder(NodeFolder):
    """A node's folder on a disk that can be full."""

    member = None

    def keep_proposal(self, place, digest):
        self.member.need_space()
        super().keep_proposal(place, digest)
        self.member.at("noted")


class Disk(DirectoryStore):
    """A member's blobs on a disk that can be full."""

    member = None

    def _put(self, digest, data):
        self.member.need_space()
        super()._put(digest, data)
        self.member.at("stored")

    def receive(self, digest, max_bytes):
        self.member.need_space()
        return super().receive(digest, max_bytes)


class Peers(Remote):
    """The disks of the other members, or one that they share, over lines that can be bad."""

    def __init__(self, member):
        self.member, self.network = member, member.network

    def fetch(self, digest, draft, max_bytes, until):
        asked = [other for other in self._sources() if other is not None]
        found = None
        for other in asked:
            if other.held.has(digest):
                try:
                    self._copy(other, digest, draft)
                except StoreError as error:
                    found = error
                else:
                    return
        if found is not None:
            raise found
        if None in self._sources():
            raise PeerUnreachableError(f"somebody who may have {digest} cannot be reached")
        raise BlobNotFoundError(f"nobody has {digest}")

    def share(self, digest, held):
        if self.member.cut or self.member.mute:
            raise PeerUnreachableError("the store cannot be reached")
        if self.network.hub is not None:
            self.network.hub.held.put(held.get(digest, BLOB_BYTES_MAX))
        self.member.at("uploaded")

    def _sources(self):
        """Yield who may have a blob, and None for each that cannot be reached."""
        if self.network.hub is not None:
            yield None if self.member.cut else self.network.hub
            return
        for other in self.network.members:
            if other is not self.member:
                there = other.alive and self.network.connected(self.member, other)
                yield other if there else None

    def _copy(self, other, digest, draft):
        data = other.held.get(digest, BLOB_BYTES_MAX)
        self.member.fetched.append((digest, draft.offset))
        if other.wrong:
            draft.write(bytes(len(data) - draft.offset))
            draft.finish()
        if other.half or self.member.die_at == "fetching":
            draft.write(data[draft.offset : len(data) // 2])
            self.member.at("fetching")
            raise PeerUnreachableError(f"{other.name} broke off")
        draft.write(memoryview(data)[draft.offset :])
        draft.finish()


class Carrier(HoldingStore):
    """Brings the real way, and lets nobody wait for the real clock."""

    def bring(self, digest, max_bytes, *, timeout_s):
        super().bring(digest, max_bytes, timeout_s=timeout_s)


class Hooks:
    """A view over a line that can be cut, and that can lose answers."""

    member = None

    def sync(self):
        self._reach()
        return super().sync()

    def submit(self, key, call):
        self._reach()
        events = super().submit(key, call)
        self.member.at("sent")
        if self.member.losing:
            self.member.losing -= 1
            raise LedgerUnavailableError("the answer was lost")
        return events

    def _reach(self):
        if self.member is not None and not self.member.reaches_ledger:
            raise LedgerUnavailableError("the ledger cannot be reached")


class View(Hooks, EmbeddedLedger):
    pass


class HostedView(Hooks, HostedLedger):
    pass


class Worked:
    """The worker's process: who kills it alone leaves its node alive."""

    busy = False

    def __init__(self, member):
        self.member, self.local = member, member.make_local()
        self.lost = None

    def wait(self, timeout_s):
        return True

    def work(self, job):
        if self.lost is not None and self.lost[0] == job:
            return self.lost[1]
        try:
            done = self.local.work(job)
            if isinstance(job, Propose | Judge):
                self.member.at("answered")
        except KilledError:
            if not self.member.worker_alone:
                raise
            # As `ProcessWorker` does it: the job is given up, and a new process made.
            seen = Observation(job.round_number, self.member.name, failure="Died")
            ballots = (Ballot.SILENT,) * len(getattr(job, "candidates", ()))
            self.local, done = self.member.make_local(), Done((seen,), None, ballots)
            self.lost = (job, done)
        return done


class Member:
    """One learner: its folder, and what can be wrong with it.

    Attributes:
        die_at: Where its process is killed next.
        worker_alone: Whether that kills its worker only.
        cut: Whether it reaches no blobs; mute: whether it can give none away.
        wrong, half: What it serves to others.
        full: Whether its disk is.
        losing: How many answers of the ledger are lost.
        skew: Seconds that its clock is ahead.
        fetched: What it fetched, each with where it began.
        errors: What its steps failed with.
    """

    def __init__(self, network, number):
        self.network, self.number, self.name = network, number, f"member-{number}"
        self.key = Key.from_seed(11, self.name)
        self.path = network.folder / self.name
        self.die_at = self.fatal = self.trained_last = None
        self.worker_alone = self.cut = self.mute = self.wrong = self.half = self.full = False
        self.losing = self.skew = 0
        self.likes, self.alive = True, False
        self.fetched, self.errors, self.seen = [], [], []
        self.line = None

    def prepare(self, link):
        settings = NodeSettings(
            name=self.name, invitation=link, key=self.path / "key", address=self.key.address
        )
        with NodeFolder.drafted(self.path, settings):
            pass
        held = DirectoryStore(self.path / "blobs")
        held.put(MODEL.data)
        held.put(self.network.terms)

    @property
    def reaches_ledger(self):
        return self.network.connected(self, None)

    def clock(self):
        return self.network.time + self.skew

    def at(self, point):
        if self.die_at == point:
            self.die_at = None
            raise KilledError(point)

    def need_space(self):
        if self.full:
            raise StoreError("no space left on the device")

    def start(self):
        """Be a new process: all that it knows it reads."""
        self.held = Disk(self.path / "blobs")
        self.held.member = self
        self.folder = Folder(self.path, NodeSettings.read(self.path / "node.toml"))
        self.folder.member = self
        self.notes = Notes(self.path)
        self.view = self.network.open_view(self)
        self.view.member = self
        self.worker = Worked(self)
        self.store = Carrier(self.held, Peers(self), timeout_s=30)
        self.node = Node(
            self.worker, self.key, self.view, self.network.origin, name=self.name,
            observer=self._observe, carrier=self.store,
        )  # fmt: skip
        self.alive, self.fatal, self.checked = True, None, False

    def make_local(self):
        if self.trained_last is not None and not self._is_stored(self.trained_last[1]):
            # It died with the process that had it in memory alone, and may be made once more.
            self.network.trained[self.trained_last[0]] -= 1
        self.trained_last = None
        self.learner = Trainer(self)
        return LocalWorker(
            self.learner, Archive(self.held), MODEL.digest, name=self.name, proposals=self.folder
        )

    def _is_stored(self, digest):
        try:
            return bool(self.held.get(digest, BLOB_BYTES_MAX))
        except StoreError:
            return False

    def kill(self):
        self.alive = False
        self.view.close()

    def step(self):
        """Wake once, as `Follower` does; say whether anything was done."""
        try:
            self.view.sync()
            self._check_anchor()
            done = self.node.step()
            self.notes.keep_anchor(self.view.head)
        except KilledError:
            self.kill()
            return False
        except FATAL as error:
            self.fatal = error
            if isinstance(error, LedgerTamperedError):
                self.notes.keep_evidence(error, self.view.head)
            self.kill()
            return False
        except ColearnError as error:
            self.errors.append(error)
            return False
        return done

    def _check_anchor(self):
        if not self.checked:
            self.notes.check_anchor(self.view)
            self.checked = True

    def _observe(self, observation):
        self.need_space()
        self.notes.observe(json.dumps(observation.round_number))
        self.seen.append(observation)

    @property
    def experiment(self):
        return self.view.experiment(1)


class Hub:
    """A disk that all share."""

    name, alive, wrong, half = "hub", True, False, False

    def __init__(self, folder):
        self.held = DirectoryStore(folder)
