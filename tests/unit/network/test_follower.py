"""The loop of a node: what is counted is how often it wakes, on a clock that waits move."""

import logging
import math
import threading

import numpy as np
import pytest

from colearn import ProposedWeights, Weights
from colearn.core import Duty, Phase, Rules, calls
from colearn.errors import (
    ConfigError,
    LedgerTamperedError,
    LedgerUnavailableError,
    LocalProtocolError,
    RemoteProtocolError,
    StoreError,
)
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger
from colearn.network.follower import Follower
from colearn.node import Node, Origin
from colearn.store import Archive, MemoryStore
from colearn.weights import freeze
from colearn.worker import LocalWorker

MODEL = freeze({"w": np.zeros(2)})
SPECIFICATION = "11" * 32
PHASE_S = 100


class Adder:
    """Adds 1, and agrees with everybody."""

    def __init__(self):
        self.model = np.zeros(2)

    def mli_propose_weights(self):
        return Weights(weights={"w": self.model + 1})

    def mli_test_weights(self, weights):
        return ProposedWeights(weights=weights, vote_score=1.0, vote=True)

    def mli_accept_weights(self, weights):
        self.model = weights.weights["w"]


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return int(self.now)


class Waited(EmbeddedLedger):
    """A view that lets the others act while it waits, and otherwise time pass."""

    def __init__(self, path, clock):
        super().__init__(path, clock=clock)
        self.time, self.waits, self.others, self.fails = clock, [], (), []

    def wait(self, timeout_s):
        self.waits.append(timeout_s)
        if self.fails:
            raise self.fails.pop(0)
        for other in self.others:
            if other():
                break
        else:
            self.time.now = math.floor(self.time.now + timeout_s)
        return self.sync() > 0


class Stop(threading.Event):
    """Somebody who ends a loop; waiting for it is noted, and moves the clock."""

    def __init__(self, clock, pauses_max=50):
        super().__init__()
        self.clock, self.pauses, self.pauses_max = clock, [], pauses_max

    def wait(self, timeout=None):
        self.pauses.append(timeout)
        self.clock.now += timeout
        if len(self.pauses) >= self.pauses_max:
            self.set()
        return self.is_set()


class Slow:
    """A worker that is at work for some waits."""

    def __init__(self, worker, waits=3):
        self.worker, self.waits, self.left, self.job, self.last = worker, waits, 0, None, None

    @property
    def busy(self):
        return self.job is not None

    def work(self, job):
        if self.last is not None and self.last[0] == job:
            return self.last[1]
        if self.job is None:
            self.job, self.left = job, self.waits
        return None

    def wait(self, timeout_s):
        if self.job is not None and timeout_s:
            self.left -= 1
            if not self.left:
                self.last, self.job = (self.job, self.worker.work(self.job)), None
        return self.job is None


class Place:
    """Three members; the first has a follower, the others act when it waits."""

    def __init__(self, folder, rules, waits=0):
        self.clock = Clock()
        self.keys = [Key.from_seed(9, f"member-{place}") for place in range(3)]
        EmbeddedLedger.create(folder / "ledger.db", self.keys[0].address, drift_s=5)
        self.ledger = Waited(folder / "ledger.db", self.clock)
        self.other_ledger = EmbeddedLedger(folder / "ledger.db", clock=self.clock)
        archive = Archive(MemoryStore())
        origin = Origin(SPECIFICATION, archive.put(MODEL))
        self.workers = [LocalWorker(Adder(), archive, MODEL.digest) for _ in self.keys]
        if waits:
            self.workers[0] = Slow(self.workers[0], waits)
        views = (self.ledger, self.other_ledger, self.other_ledger)
        self.nodes = [
            Node(worker, key, view, origin, name=f"member-{place}")
            for place, (worker, key, view) in enumerate(
                zip(self.workers, self.keys, views, strict=True)
            )
        ]
        one = self.ledger
        one.submit(self.keys[0], calls.Create(SPECIFICATION, MODEL.digest, rules.to_word(), ""))
        one.submit(self.keys[0], calls.Invite(1, tuple(key.address for key in self.keys)))
        for key in self.keys:
            one.submit(key, calls.Join(1, SPECIFICATION, MODEL.digest, "00" * 32))
        one.submit(self.keys[0], calls.Start(1, one.experiment(1).roster.digest))
        one.others = [lambda node=node: self.act(node) for node in self.nodes[1:]]
        self.stop = Stop(self.clock)
        self.told = []

    def act(self, node):
        self.other_ledger.sync()
        return node.step()

    def follower(self, **more):
        return Follower(
            self.nodes[0], self.ledger, self.workers[0], listener=self.told.append, **more
        )

    def run(self, **more):
        follower = self.follower(**more)
        follower.run(self.stop)
        return follower.snapshot


@pytest.fixture
def make(tmp_path):
    places = []

    def made(waits=0, **rules):
        rules = Rules(**{"propose_s": PHASE_S, "vote_s": PHASE_S, "rounds": 6, **rules})
        places.append(Place(tmp_path, rules, waits))
        return places[-1]

    yield made
    for place in places:
        place.ledger.close()
        place.other_ledger.close()


def test_a_node_runs_to_the_end_and_wakes_a_handful_of_times_a_round(make):
    place = make()
    end = place.run()
    assert end.experiment.phase is Phase.OVER
    assert end.duty is Duty.DONE
    assert end.steps <= 6 + 1
    assert end.wakeups <= 6 * 6
    assert not place.stop.pauses
    assert place.clock.now == 1000


def test_where_nothing_happens_the_ledger_is_waited_for_and_the_deadline_wakes(make):
    place = make()
    place.ledger.others = ()
    place.nodes[0].step()
    deadline = place.ledger.experiment(1).round.deadline
    seen = []

    def at_deadline(snapshot):
        if not seen and snapshot.experiment.round.number > 1:
            seen.append(place.clock.now)
            place.stop.set()

    follower = Follower(place.nodes[0], place.ledger, place.workers[0], listener=at_deadline)
    follower.run(place.stop)
    assert seen == [deadline + 1]
    assert place.ledger.waits == [30, 30, 30, 11]
    assert follower.snapshot.wakeups == len(place.ledger.waits) + 1
    assert not place.stop.pauses


def test_while_the_worker_is_at_work_the_ledger_is_read_and_nothing_else_is_done(make):
    place = make(waits=7, rounds=1)
    submitted = []
    submit = place.ledger.submit
    place.ledger.submit = lambda key, call: submitted.append(call) or submit(key, call)
    end = place.run()
    assert end.experiment.phase is Phase.OVER
    assert [type(call) for call in submitted] == [calls.Propose, calls.Confirm]
    # Two jobs: to train, and to accept what was trained.
    busy = {snapshot.wakeups for snapshot in place.told if snapshot.busy}
    assert 2 * 6 <= len(busy) <= 2 * 7
    assert {snapshot.steps for snapshot in place.told if snapshot.busy} == {0, 1}
    assert end.wakeups <= 2 * 7 + 10


def test_a_deadline_that_passes_while_the_worker_is_at_work_ends_the_turn(make):
    place = make(waits=10, rounds=0)
    place.ledger.others = ()

    def slowly(timeout_s, wait=place.workers[0].wait):
        place.clock.now += 20 if timeout_s else 0
        return wait(timeout_s)

    place.workers[0].wait = slowly

    def at_round_two(snapshot):
        if snapshot.experiment.round.number == 2:
            place.stop.set()

    follower = Follower(place.nodes[0], place.ledger, place.workers[0], listener=at_round_two)
    follower.run(place.stop)
    assert place.workers[0].busy
    assert place.ledger.experiment(1).roster.missed_once == 1
    assert place.clock.now <= 1000 + PHASE_S + 21


def test_what_is_due_and_refused_is_tried_again_ever_more_rarely(make):
    place = make(rounds=0)
    ahead = Clock()
    place.ledger._clock = ahead

    def never(timeout_s):
        place.ledger.waits.append(timeout_s)
        ahead.now += timeout_s
        if len(place.ledger.waits) == 12:
            place.stop.set()
        return False

    # The orderer, which is another one, stamps by its own clock.
    ahead.now += 10 * PHASE_S
    place.ledger.submit = refused_by_the_clock
    place.ledger.wait = never
    end = place.run()
    assert end.duty is Duty.ADVANCE
    assert place.ledger.waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]
    assert end.wakeups == 12
    assert not end.error


def refused_by_the_clock(_key, _call):
    from colearn.errors import LedgerRejectedError

    raise LedgerRejectedError("refused", reason="stamp and time differ by more than 5 s")


def test_a_turn_that_is_refused_is_tried_again_in_each_half_of_the_time_that_is_left(make):
    place = make(rounds=0)
    place.ledger.submit = refused_by_the_clock
    deadline = place.ledger.experiment(1).round.deadline
    tried = []

    def never(timeout_s):
        tried.append(deadline - place.clock.now)
        place.clock.now += timeout_s
        if place.clock.now > deadline:
            place.stop.set()
        return False

    place.ledger.wait = never
    place.run()
    assert sum(left <= PHASE_S / 2 for left in tried) >= 3
    assert any(0 <= left <= 1 for left in tried)
    assert len(tried) <= 20


class Broken:
    """A carrier that fails for some time."""

    def __init__(self, times):
        self.times = times

    def bring(self, digest, max_bytes, *, timeout_s):
        if self.times:
            self.times -= 1
            raise StoreError("the store is down")

    def share(self, digest):
        pass


def test_failures_back_off_are_said_once_and_are_forgotten_when_it_works_again(make, caplog):
    place = make(rounds=1, propose_s=10_000)
    place.nodes[0]._carrier = Broken(10)
    with caplog.at_level(logging.WARNING, "colearn.network.follower"):
        end = place.run()
    assert end.experiment.phase is Phase.OVER
    assert place.stop.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10]
    assert [record.message for record in caplog.records] == ["member-0: the store is down"]
    assert "the store is down" in {snapshot.error for snapshot in place.told}
    assert end.error == ""


def test_a_ledger_that_cannot_be_reached_ends_nothing(make):
    place = make(rounds=1)
    place.nodes[0].step()
    place.ledger.fails = [LedgerUnavailableError("not reached") for _ in range(3)]
    end = place.run()
    assert end.experiment.phase is Phase.OVER
    assert place.stop.pauses == [0.1, 0.2, 0.4]


@pytest.mark.parametrize(
    "error",
    [
        LedgerTamperedError("two histories", entry=3, rule="7.9"),
        LocalProtocolError("a bug"),
        ConfigError("no such thing"),
        RuntimeError("a bug of another kind"),
    ],
)
def test_what_no_repetition_makes_better_ends_the_loop(make, error):
    place = make()
    place.nodes[0].step()
    place.ledger.fails = [error]
    with pytest.raises(type(error)) as caught:
        place.run()
    assert caught.value is error
    assert not place.stop.pauses


def test_a_ledger_that_turns_out_to_lie_while_something_else_fails_ends_the_loop(make):
    place = make()
    place.nodes[0]._carrier = Broken(5)

    def forked():
        raise LedgerTamperedError("two histories", entry=3, rule="7.9")

    place.ledger.sync = forked
    with pytest.raises(LedgerTamperedError):
        place.run()
    assert len(place.stop.pauses) == 1


def test_nonsense_of_somebody_else_ends_nothing(make):
    place = make(rounds=1)
    place.nodes[0].step()
    place.ledger.fails = [RemoteProtocolError("nonsense", peer="x", rule="7.3")]
    assert place.run().experiment.phase is Phase.OVER
    assert place.stop.pauses == [0.1]


def test_stop_ends_the_loop_at_once_and_also_in_a_pause(make):
    place = make()
    place.stop.set()
    follower = place.follower()
    follower.run(place.stop)
    assert follower.snapshot is None
    place.stop = Stop(place.clock, pauses_max=3)
    place.nodes[0]._carrier = Broken(100)
    assert place.run().wakeups == 3
    place.nodes[0]._carrier = None
    place.stop.clear()
    place.ledger.others = [lambda: place.stop.set() or False]
    waits = len(place.ledger.waits)
    place.run()
    assert len(place.ledger.waits) == waits + 1


def test_what_else_may_be_due_is_done_before_the_node_steps(make):
    place, done = make(rounds=1), []

    def other():
        done.append(place.ledger.experiment(1).round.phase)
        return len(done) == 1

    end = place.run(others=(other,))
    assert done[:2] == [Phase.PROPOSE, Phase.PROPOSE]
    assert end.steps == 3


def test_a_snapshot_says_how_far_the_ledger_was_read(make):
    place = make(rounds=1)
    end = place.run()
    assert end.head == place.ledger.head
    assert end.certified == place.ledger.certified(1) > 0
    assert place.told[-1] is end
    wakeups = [snapshot.wakeups for snapshot in place.told]
    assert wakeups == sorted(wakeups)


def test_a_clock_that_was_set_back_is_said_once_until_it_is_right(make, caplog):
    place = make(rounds=0)
    behind = Clock()
    place.ledger._clock = behind
    place.clock.now += 50

    def set_right():
        # The others go on, and only then somebody looks at the clock.
        if len(place.ledger.waits) > 12:
            behind.now = place.clock.now
        return False

    place.ledger.others += [set_right]
    errors = []

    def at_round_four(snapshot):
        errors.append(snapshot.error)
        if snapshot.experiment.round.number == 4:
            place.stop.set()

    place.ledger.time = Clock()
    with caplog.at_level(logging.WARNING, "colearn.network.follower"):
        Follower(place.nodes[0], place.ledger, place.workers[0], listener=at_round_four).run(
            place.stop
        )
    assert any("they wait until it reaches" in error for error in errors)
    assert errors[-1] == ""
    assert sum("they wait until it reaches" in each.message for each in caplog.records) == 1
