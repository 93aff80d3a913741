import numpy as np
import pytest

from colearn import ProposedWeights, Weights
from colearn.core import MotionKind, Outcome, Phase, Rules, calls
from colearn.core.events import (
    Awoke,
    Closed,
    Committed,
    Confirmed,
    Missed,
    Revealed,
    Skipped,
    Voted,
)
from colearn.errors import ColearnError, LocalProtocolError, StoreError
from colearn.experiment.group import Group
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger
from colearn.node import FAILED, Node, Origin
from colearn.store import Archive, MemoryStore
from colearn.weights import freeze
from colearn.worker import Accept, LocalWorker

MODEL = freeze({"w": np.zeros(3)})


class Adder:
    """Adds a number; votes as it is told, or fails with what it is given."""

    def __init__(self, adds=1.0, says=True):
        self.adds, self.says, self.model, self.accepted = adds, says, np.zeros(3), 0

    def mli_propose_weights(self):
        if isinstance(self.adds, BaseException):
            raise self.adds
        if isinstance(self.adds, float):
            return Weights(weights={"w": self.model + self.adds})
        return Weights(weights=self.adds)

    def mli_test_weights(self, weights):
        if isinstance(self.says, BaseException):
            raise self.says
        return ProposedWeights(weights=weights, vote_score=1.0, vote=self.says)

    def mli_accept_weights(self, weights):
        self.accepted += 1
        self.model = weights.weights["w"]


class Place:
    """A group on a ledger with a clock that can be set."""

    def __init__(self, folder, learners, rules):
        self.time = 1000
        self.path = folder / "ledger.db"
        self.learners = learners
        self.keys = [Key.from_seed(5, f"member-{number}") for number in range(len(learners))]
        EmbeddedLedger.create(self.path, self.keys[0].address)
        self.ledger = EmbeddedLedger(self.path, clock=lambda: self.time)
        self.events, self.seen = [], []
        self.ledger.listen(lambda happening: self.events.extend(happening.events))
        self.archive = Archive(MemoryStore())
        self.origin = Origin("11" * 32, self.archive.put(MODEL))
        self.nodes = [self.node(number) for number in range(len(learners))]
        Group(self.nodes, self.ledger).establish(self.origin, rules)
        self.events.clear()

    def node(self, number):
        return Node(
            LocalWorker(
                self.learners[number],
                self.archive,
                self.origin.model,
                name=f"member-{number}",
            ),
            self.keys[number],
            self.ledger,
            self.origin,
            name=f"member-{number}",
            observer=self.seen.append,
        )

    def run(self, nodes=None, steps=50):
        """Step the nodes until nobody has anything to do."""
        for _ in range(steps):
            done = [node.step() for node in nodes or self.nodes]
            if not any(done):
                return
        raise AssertionError("there is always something to do")

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def experiment(self):
        return self.ledger.experiment(1)


@pytest.fixture
def make(tmp_path):
    places = []

    def made(learners, **rules):
        rules = Rules(**{"propose_s": 60, "vote_s": 60, "rounds": 3, **rules})
        places.append(Place(tmp_path, learners, rules))
        return places[-1]

    yield made
    for place in places:
        place.ledger.close()


def test_a_group_runs_to_its_end_and_everybody_confirms(make):
    place = make([Adder() for _ in range(4)])
    place.run()
    assert place.experiment.phase is Phase.OVER
    assert [event.result for event in place.of(Closed)] == [Outcome.ACCEPTED] * 3
    assert len(place.of(Confirmed)) == 4
    assert {float(learner.model[0]) for learner in place.learners} == {3.0}
    assert place.ledger.certified(1) >= place.ledger.head.height - 4
    assert not any(node.step() for node in place.nodes)


def test_blind_votes_are_committed_and_revealed_also_by_a_node_that_was_started_anew(make):
    place = make([Adder(), Adder(), Adder(says=False), Adder()], reveal_s=60, rounds=1)
    place.nodes[0].step()
    for node in place.nodes[1:]:
        node.step()
    assert len(place.of(Committed)) == 3
    assert place.experiment.phase is Phase.REVEAL
    place.nodes = [place.node(number) for number in range(4)]
    place.run()
    assert [event.not_worse for event in place.of(Revealed)] == [1, 0, 1]
    assert place.of(Closed)[0].result is Outcome.ACCEPTED


def test_a_commitment_of_another_key_cannot_be_opened(make):
    place = make([Adder(), Adder(), Adder()], reveal_s=60, rounds=1)
    place.nodes[0].step()
    place.ledger.submit(place.keys[1], calls.Commit(1, 1, "ab" * 32))
    place.nodes[2].step()
    with pytest.raises(LocalProtocolError, match="cannot open its commitment"):
        place.nodes[1].step()


@pytest.mark.parametrize(
    ("adds", "reason"),
    [
        (RuntimeError("out of order"), "RuntimeError: out of order"),
        (0.0, "the proposal is the current model"),
        (float("nan"), "finite"),
        ([1, 2], "Expected a dict of numpy arrays"),
        ({"w": np.zeros(4)}, "shape"),
        ({"v": np.zeros(3)}, "missing"),
    ],
)
def test_what_cannot_be_proposed_skips_the_turn_and_is_never_published(make, adds, reason):
    place = make([Adder(adds), Adder(), Adder()])
    assert place.nodes[0].step()
    assert len(place.of(Skipped)) == 1
    assert place.of(Closed)[0].result is Outcome.NO_PROPOSAL
    assert any(reason in seen.reason for seen in place.seen)
    assert list(place.archive.store.digests()) == [MODEL.digest]


def test_who_cannot_judge_votes_no_with_a_note_and_nobody_waits(make):
    place = make([Adder(), Adder(says=RuntimeError("broken")), Adder(), Adder()], rounds=1)
    place.run()
    notes = {event.voter: (event.not_worse, event.note) for event in place.of(Voted)}
    assert notes[place.keys[1].address] == (0, FAILED)
    assert place.of(Closed)[0].result is Outcome.ACCEPTED
    assert any(seen.failure == "RuntimeError" for seen in place.seen)


def test_an_abstention_is_one_on_the_ledger(make):
    place = make([Adder(), Adder(says=None), Adder(), Adder()], rounds=1)
    place.run()
    assert [event.abstain for event in place.of(Voted)] == [True, False, False]


@pytest.mark.parametrize(
    "blob",
    [
        b"no weights",
        freeze({"w": np.ones(4)}).data,
        freeze({"w": np.ones(3, np.float32)}).data,
        None,
    ],
)
def test_a_proposal_that_cannot_be_had_or_verified_is_rejected_by_all(make, blob):
    place = make([Adder(), Adder(), Adder()], rounds=1)
    digest = "cd" * 32 if blob is None else place.archive.store.put(blob)
    place.ledger.submit(place.keys[0], calls.Propose(1, 1, MODEL.digest, 0, (digest,), ""))
    place.run()
    assert [event.not_worse for event in place.of(Voted)] == [0, 0]
    assert place.of(Closed)[0].result is Outcome.REJECTED
    assert sum(bool(seen.reason) for seen in place.seen) == 2


def test_of_several_candidates_each_is_judged_and_the_lowest_that_passes_wins(make):
    place = make([Adder(), Adder(), Adder()], rounds=1)
    bad = place.archive.store.put(b"no weights")
    good = place.archive.put(freeze({"w": np.ones(3)}))
    other = place.archive.put(freeze({"w": np.full(3, 2.0)}))
    proposal = calls.Propose(1, 1, MODEL.digest, 0, (bad, good, other), "")
    place.ledger.submit(place.keys[0], proposal)
    place.run()
    assert {event.not_worse for event in place.of(Voted)} == {0b110}
    assert place.of(Closed)[0].model == good


def test_a_dead_member_costs_two_deadlines_once_and_wakes_when_it_is_back(make):
    place = make([Adder() for _ in range(5)], rounds=0)
    alive = place.nodes[:4]
    while len(place.of(Closed)) < 9:
        done = [node.step() for node in alive]
        place.time += 0 if any(done) else 61
    assert [event.seats for event in place.of(Missed)] == [1 << 4, 1 << 4]
    assert place.nodes[4].step()
    assert not place.experiment.roster.missed_once
    assert place.learners[4].accepted == 1
    model = place.archive.get(place.experiment.model)["w"]
    assert place.learners[4].model == pytest.approx(model)


def test_a_member_that_is_back_wakes_where_it_has_nothing_else_to_do(make):
    place = make([Adder() for _ in range(5)], rounds=0)
    place.nodes[0].step()
    for node in place.nodes[1:4]:
        node.step()
    place.time += 61
    place.nodes[0].step()
    assert place.of(Missed)[0].seats == 1 << 4
    assert place.nodes[4].step()
    assert [event.member for event in place.of(Awoke)] == [place.keys[4].address]
    assert not place.nodes[4].step()


def test_anybody_ends_a_phase_after_its_deadline(make):
    place = make([Adder(), Adder(), Adder()])
    place.time += 61
    assert place.nodes[2].step()
    assert place.of(Missed)[0].seats == 0b001
    assert place.of(Closed)[0].result is Outcome.NO_PROPOSAL


def test_nodes_that_stand_for_the_end_pass_the_motion_and_the_open_round_is_skipped(make):
    place = make([Adder(), Adder(), Adder()], rounds=0)
    for node in place.nodes:
        node.finish = True
    place.run()
    assert place.experiment.phase is Phase.OVER
    assert place.of(Closed)[0].result is Outcome.NO_PROPOSAL
    assert len(place.of(Confirmed)) == 3


def test_a_learner_that_fails_to_accept_keeps_its_turn_and_its_vote(make):
    class Stubborn(Adder):
        def mli_accept_weights(self, weights):
            raise RuntimeError("I will not")

    place = make([Adder(), Stubborn(), Adder()], rounds=3)
    place.run()
    # Its own model never changes, so that what it proposes in round 2 is the model already.
    assert place.experiment.phase is Phase.OVER
    failed = [seen for seen in place.seen if seen.failure == "RuntimeError"]
    assert [seen.round_number for seen in failed] == [1, 3, 4]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_the_user_may_stop_a_node(make, error):
    place = make([Adder(error), Adder(says=error), Adder()])
    with pytest.raises(type(error)):
        place.nodes[0].step()
    place.learners[0].adds = 1.0
    place.nodes[0].step()
    with pytest.raises(type(error)):
        place.nodes[1].step()


def test_a_council_is_refused_until_it_is_built(make):
    place = make([Adder(), Adder(), Adder()], contribute_s=60)
    with pytest.raises(LocalProtocolError, match="not built"):
        place.nodes[0].step()


class Slow:
    """A worker whose jobs end while nobody looks, as those of another process do."""

    def __init__(self, worker):
        self.worker, self.begun, self.held = worker, [], False
        self.job = self.last = None

    @property
    def busy(self):
        return self.job is not None

    def work(self, job):
        if self.last is not None and self.last[0] == job:
            return self.last[1]
        if self.job is None:
            self.job = job
            self.begun.append(job)
        return None

    def wait(self, _timeout_s):
        if self.job is not None and not self.held:
            self.last, self.job = (self.job, self.worker.work(self.job)), None
        return self.job is None


def test_each_job_is_done_once_however_the_worker_and_the_node_interleave(make):
    place = make([Adder() for _ in range(3)], rounds=4)
    slow = [Slow(node._worker) for node in place.nodes]
    for node, worker in zip(place.nodes, slow, strict=True):
        node._worker = worker
    for _ in range(100):
        for node, worker in zip(place.nodes, slow, strict=True):
            node.step()
            worker.wait(0)
    assert place.experiment.phase is Phase.OVER
    for worker in slow:
        assert len(worker.begun) == len(set(worker.begun))
    assert len([seen for seen in place.seen if seen.vote_score is not None]) == 12


def test_a_member_confirms_the_final_model_when_its_learner_has_it(make):
    place = make([Adder() for _ in range(3)], rounds=1)
    place.nodes[0].step()
    slow = place.nodes[2]._worker = Slow(place.nodes[2]._worker)
    place.nodes[1].step()
    place.nodes[2].step()
    slow.wait(0)
    place.nodes[2].step()
    assert place.experiment.phase is Phase.OVER
    slow.held = True
    assert not any(place.nodes[2].step() for _ in range(3))
    assert isinstance(slow.begun[-1], Accept)
    assert not place.of(Confirmed)
    slow.held = False
    slow.wait(0)
    assert place.nodes[2].step()
    assert [event.member for event in place.of(Confirmed)] == [place.keys[2].address]
    assert place.learners[2].accepted == 1


class Nothing:
    """A carrier that has nothing."""

    def bring(self, digest, max_bytes, *, timeout_s):
        raise StoreError("nobody has it")

    def share(self, digest):
        raise StoreError("nobody takes it")


def test_who_cannot_have_the_model_still_ends_a_phase_after_its_deadline(make):
    place = make([Adder() for _ in range(3)], rounds=0)
    place.nodes[0].step()
    place.nodes[1].step()
    place.nodes[2].step()
    assert place.experiment.round.number == 2
    place.nodes[2]._carrier = Nothing()
    with pytest.raises(StoreError, match="nobody has it"):
        place.nodes[2].step()
    place.time += 61
    assert place.nodes[2].step()
    assert place.experiment.round.number == 3
    assert not place.of(Awoke)


def test_what_could_not_be_written_down_is_told_again_and_not_trained_again(make):
    place = make([Adder() for _ in range(3)], rounds=1)
    written, full = [], [True]

    def observer(observation):
        if full[0]:
            raise ColearnError("no space left")
        written.append(observation)

    place.nodes[0]._observer = observer
    for _ in range(2):
        with pytest.raises(ColearnError, match="no space left"):
            place.nodes[0].step()
    assert place.experiment.phase is Phase.PROPOSE
    full[0] = False
    assert place.nodes[0].step()
    assert [seen.vote_score for seen in written] == [1.0]


def test_a_motion_that_is_refused_keeps_nobody_from_its_duty(make):
    place = make([Adder() for _ in range(4)], rounds=0)
    place.nodes[0].finish = True
    motion = calls.Motion(
        1, place.experiment.roster.epoch, int(MotionKind.EXPEL), place.keys[3].address
    )
    place.ledger.submit(place.keys[0], motion)
    assert place.nodes[0].step()
    assert place.experiment.phase is Phase.VOTE
