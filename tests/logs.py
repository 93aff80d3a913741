"""A group on ledgers that keep a log: its keys, its clock, its calls, and a server for it."""

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import Queue

from colearn.core import Phase, Rules, calls
from colearn.core.bindings import ZERO
from colearn.core.experiment import NOBODY
from colearn.core.phase import MotionKind
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger

START = 1_700_000_000
DRIFT_S = 5
RULES = Rules(propose_s=600, vote_s=600)


def digest(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()


SPECIFICATION, MODEL = digest("specification"), digest("model 0")

ME = Key.from_seed(1, "me")
CREATE = calls.Create(SPECIFICATION, MODEL, RULES.to_word(), "")


class SetClock:
    """A clock that stands until it is set; threads may share it."""

    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now

    def pass_s(self, seconds):
        self.now += seconds


class Group:
    """Members, each with a view of one ledger, that do what is due.

    Args:
        views: Of one ledger; members share them in turn if there are fewer.
    """

    def __init__(self, views, size=4, number=1):
        self.views = [views[index % len(views)] for index in range(size)]
        self.keys = [Key.from_seed(7, f"member {index}") for index in range(size)]
        self.number = number
        self.count = 0

    @property
    def size(self):
        return len(self.keys)

    def submit(self, member, call):
        return self.views[member].submit(self.keys[member], call)

    def seen(self, member=0):
        self.views[member].sync()
        return self.views[member].experiment(self.number)

    def address(self, member):
        return self.keys[member].address

    def member_at(self, seat):
        addresses = [key.address for key in self.keys]
        return addresses.index(self.seen().roster.addresses[seat])

    def establish(self, rules=RULES):
        (created,) = self.submit(0, calls.Create(SPECIFICATION, MODEL, rules.to_word(), ""))
        self.number = created.experiment
        self.submit(0, calls.Invite(self.number, tuple(key.address for key in self.keys)))
        for member in range(self.size):
            self.submit(member, calls.Join(self.number, SPECIFICATION, MODEL, ZERO))
        self.submit(0, calls.Start(self.number, self.seen().roster.digest))
        return self

    def propose(self):
        experiment = self.seen()
        self.count += 1
        candidate = digest("candidate", self.count)
        proposer = self.member_at(experiment.front)
        self.submit(
            proposer,
            calls.Propose(
                self.number, experiment.round.number, experiment.model, 0, (candidate,), "ipfs://x"
            ),
        )
        return proposer

    def ballot(self, approve=True):
        current = self.seen().round
        return calls.Vote(self.number, current.number, current.key, int(approve), 0, ZERO)

    def round(self, approve=True):
        """Let the front propose, and all the others vote in seat order."""
        proposer = self.propose()
        for member in range(self.size):
            if member != proposer and self.seen().phase is Phase.VOTE:
                self.submit(member, self.ballot(approve))

    def finish(self):
        """End the experiment by a motion, and let everybody confirm."""
        zero = "0x" + "00" * 20
        for member in range(self.size):
            if not self.seen().finish:
                epoch = self.seen().roster.epoch
                self.submit(member, calls.Motion(self.number, epoch, int(MotionKind.FINISH), zero))
        self.round()
        for member in range(self.size):
            self.submit(member, calls.Confirm(self.number, self.seen().model))


def make_log(path, drift_s=DRIFT_S, creator=NOBODY):
    EmbeddedLedger.create(path, creator, drift_s=drift_s)
    return path


def filled_log(path, rounds=3, size=4, clock=None):
    """A log of a group that played some rounds; every call took a second."""
    clock = clock or SetClock()
    make_log(path)
    with EmbeddedLedger(path, clock=lambda: (clock.pass_s(1), clock.now)[1]) as ledger:
        group = Group([ledger], size).establish()
        for index in range(rounds):
            group.round(approve=index % 2 == 0)
    return path


@contextmanager
def served(path, *, clock=None, **settings):
    """The log in a file behind a real server on a free port of loopback, in a thread."""
    from colearn.ledger.serving import serve

    ready, failed = Queue(), []

    def run():
        try:
            serve(
                Path(path),
                port=settings.pop("port", 0),
                ready=ready.put,
                **({"clock": clock} if clock else {}),
                **settings,
            )
        except BaseException as error:  # noqa: BLE001
            failed.append(error)
            ready.put(None)

    thread = threading.Thread(target=run)
    thread.start()
    serving = ready.get(timeout=30)
    try:
        if serving is None:
            raise failed[0]
        yield serving
    finally:
        if serving is not None:
            serving.stop()
        thread.join(30)
        assert not thread.is_alive()
    assert not failed, failed


def shifted(rules, **changes):
    return replace(rules, **changes)
