"""A network of learners in one thread: its clock, its partitions and its deaths are made up."""

from collections import Counter
from contextlib import suppress

import numpy as np

from colearn.audit import LogSource, audit
from colearn.core import Outcome, Phase, Rules, calls
from colearn.core.events import Closed, Missed
from colearn.core.tolerance import faults
from colearn.experiment.specification import specification_of
from colearn.ledger import EmbeddedLedger
from colearn.network.invitation import Invitation
from colearn.node import Origin
from colearn.store import Archive, DirectoryStore
from tests.members import BLOB_BYTES_MAX, DRIFT_S, MODEL, PHASE_S, HostedView, Hub, Member, View


class Network:
    """Members, and what is between them.

    Attributes:
        time: What all clocks show that are right.
        trained: How often each member trained in a round from a model, and kept the outcome.
        deadlines: How many passed in the open round.
    """

    def __init__(self, folder, size=5, *, hub=False, served_at=None, **rules):
        self.folder, self.time, self.trained = folder, 1_700_000_000, Counter()
        self.served_at, self.groups, self.deadlines = served_at, None, 0
        self.timeout_s = 10.0
        self.rules = Rules(**{"propose_s": PHASE_S, "vote_s": PHASE_S, **rules})
        self.terms = specification_of(self.rules, MODEL.digest, None)
        self.hub = Hub(folder / "hub") if hub else None
        self.members = [Member(self, number) for number in range(size)]
        self.log = folder / "ledger.db"
        EmbeddedLedger.create(self.log, self.members[0].key.address, drift_s=DRIFT_S)
        self.eye = None
        self.look_again()
        self._establish()

    def look_again(self):
        """Read the log from its first row, as somebody does who has seen nothing of it."""
        if self.eye is not None:
            self.eye.close()
        self.eye, self.events = EmbeddedLedger(self.log, clock=lambda: self.time + 10**6), []
        self.eye.listen(lambda happening: self.events.extend(happening.events))
        self.eye.sync()

    def _establish(self):
        with EmbeddedLedger(self.log, clock=lambda: self.time) as ledger:
            digest = DirectoryStore(self.folder / "hub").put(self.terms)
            self.origin = Origin(digest, MODEL.digest)
            one, keys = self.members[0].key, [member.key for member in self.members]
            ledger.submit(one, calls.Create(digest, MODEL.digest, self.rules.to_word(), ""))
            ledger.submit(one, calls.Invite(1, tuple(key.address for key in keys)))
            for key in keys:
                ledger.submit(key, calls.Join(1, digest, MODEL.digest, "00" * 32))
            ledger.submit(one, calls.Start(1, ledger.experiment(1).roster.digest))
            genesis = ledger.genesis.digest
        link = Invitation("http://127.0.0.1:1", genesis, 1, digest, MODEL.digest, "hosted")
        for member in self.members:
            member.prepare(link.to_link())

    def open_view(self, member):
        if self.served_at is None:
            return View(self.log, clock=member.clock)
        return HostedView(self.served_at(member), clock=member.clock, timeout_s=self.timeout_s)

    def start(self):
        for member in self.members:
            member.start()
        return self

    def close(self):
        for member in self.members:
            if member.alive:
                member.kill()
        self.eye.close()

    # ------------------------------------------------------------------------- what happens

    def connected(self, one, other):
        """Say whether two members reach each other; None is the ledger."""
        if other is None:
            return self.groups is None or one.number in self.groups[0]
        if one.cut or other.cut:
            return False
        return self.groups is None or any(
            one.number in group and other.number in group for group in self.groups
        )

    def partition(self, *groups):
        """Let each group reach itself alone; the ledger is with the first."""
        self.groups = groups

    def heal(self):
        """Let everybody live, and nothing be wrong any more."""
        self.groups = None
        for member in self.members:
            member.die_at = None
            member.worker_alone = member.cut = member.mute = False
            member.wrong = member.half = member.full = False
            member.losing = member.skew = 0
            if not member.alive:
                member.start()

    def restart(self, *numbers):
        for number in numbers:
            self.members[number].start()

    def kill(self, *numbers):
        for number in numbers:
            self.members[number].kill()

    @property
    def living(self):
        return [member for member in self.members if member.alive]

    @property
    def experiment(self):
        self.eye.sync()
        return self.eye.experiment(1)

    @property
    def closed(self):
        self.eye.sync()
        return [event for event in self.events if isinstance(event, Closed)]

    @property
    def accepted(self):
        return [event for event in self.closed if event.result is Outcome.ACCEPTED]

    @property
    def missed(self):
        self.eye.sync()
        return [event for event in self.events if isinstance(event, Missed)]

    @property
    def proposer(self):
        """The member whose turn it is."""
        experiment = self.experiment
        address = experiment.roster.addresses[experiment.front]
        return next(member for member in self.members if member.key.address == address)

    def step_all(self, until=lambda: False):
        """Let every living member wake once; say whether anything was done."""
        done = False
        for member in self.living:
            if until():
                return True
            done |= member.step()
        return done

    def tick(self, seconds=1):
        self.time += seconds

    def settle(self, until=lambda: False):
        """Step until nobody has anything to do at this time, or until something is so."""
        for _ in range(400):
            if not self.step_all(until):
                return until()
            if until():
                return True
        raise AssertionError("there is always something to do")

    def run(self, until):
        """Step and let time pass until something is so, within the deadlines of L1 a round."""
        bound = 3 + faults(len(self.members)) + 1
        rounds = len(self.closed)
        for _ in range(400):
            if self.settle(until):
                return
            if len(self.closed) != rounds:
                rounds, self.deadlines = len(self.closed), 0
            self._pass_time()
            assert self.deadlines <= bound, "L1: the round does not close"
        raise AssertionError("it never comes to that")

    def _pass_time(self):
        """Go to the half of the open phase, where who waited for a store acts, or to its end."""
        current = self.experiment.round
        half = current.deadline - PHASE_S // 2 + 1
        if self.time < half:
            self.time = half
        else:
            self.deadlines += 1
            self.time = max(self.time + DRIFT_S, current.deadline + 1)

    def run_rounds(self, count):
        """Go on until so many further rounds were accepted."""
        wanted = len(self.accepted) + count
        self.run(lambda: len(self.accepted) >= wanted)

    # --------------------------------------------------------------------------- afterwards

    def check(self, rounds=None):
        """All is well again: everybody goes on, with one model, and nothing was lost or doubled."""
        self.run_rounds(len(self.members) + 1 if rounds is None else rounds)
        experiment = self.experiment
        weights = None
        for member in self.living:
            member.view.sync()
            member.node.catch_up()
            assert member.view.head == self.eye.head, (member.name, member.errors[-3:])
            assert member.experiment.model == experiment.model
            weights = Archive(member.held).get(experiment.model)["w"]
            assert np.array_equal(member.learner.model, weights), member.name
        assert weights is not None
        twice = {place: count for place, count in self.trained.items() if count > 1}
        assert not twice, f"trained again: {twice}"
        self.check_audit()

    def check_audit(self):
        """The audit of the log, with every blob that any member has, finds nothing."""
        store = DirectoryStore(self.folder / "all")
        for member in self.members:
            held = DirectoryStore(member.path / "blobs")
            for digest in held.digests():
                store.put(held.get(digest, BLOB_BYTES_MAX))
        rows = list(self.eye.history())
        report = audit(LogSource("the log", "embedded", self.eye.genesis, rows, store))
        assert report.passed, [str(each) for check in report.checks for each in check.findings]

    def unfinished(self, member):
        """The blobs that are on their way to a member's disk."""
        with suppress(FileNotFoundError):
            return list((member.path / "blobs").glob("*.partial"))
        return []


def is_voting(network):
    """Return a question: is the open round at its vote?"""
    return lambda: network.experiment.phase is Phase.VOTE
