"""A worker trains once for a turn, whatever fails or is started anew afterwards."""

import numpy as np
import pytest

from colearn import ProposedWeights, Weights
from colearn.core import Ballot
from colearn.errors import ColearnError, StoreError
from colearn.store import Archive, DirectoryStore, MemoryStore
from colearn.weights import freeze
from colearn.worker import Accept, Judge, LocalWorker, Propose

MODEL, NEXT = freeze({"w": np.zeros(3)}), freeze({"w": np.full(3, 9.0)})
TURN = Propose(1, MODEL.digest)


class Counter:
    """Counts how often it is asked."""

    def __init__(self):
        self.trained = self.judged = self.accepted = 0
        self.model, self.fails = np.zeros(3), None

    def mli_propose_weights(self):
        self.trained += 1
        if self.fails is not None:
            raise self.fails
        return Weights(weights={"w": self.model + self.trained})

    def mli_test_weights(self, weights):
        self.judged += 1
        return ProposedWeights(weights=weights, vote_score=1.0, vote=True)

    def mli_accept_weights(self, weights):
        self.accepted += 1
        self.model = weights.weights["w"]


class Kept:
    """Notes of proposals; it can be full."""

    def __init__(self):
        self.notes, self.full = {}, False

    def proposal_of(self, place):
        return self.notes.get(place)

    def keep_proposal(self, place, digest):
        if self.full:
            raise ColearnError("no space left")
        self.notes = {place: digest}


class Full(MemoryStore):
    """A store that can be full."""

    full = False

    def put(self, data):
        if self.full:
            raise StoreError("no space left")
        return super().put(data)


@pytest.fixture
def place():
    store, kept, learner = Full(), Kept(), Counter()
    archive = Archive(store)
    archive.put(MODEL)
    archive.put(NEXT)

    def make(learner=learner):
        return LocalWorker(learner, Archive(store), MODEL.digest, name="ada", proposals=kept)

    return store, kept, learner, make


def test_what_was_trained_is_proposed_again_by_a_worker_that_was_started_anew(place):
    store, _, learner, make = place
    first = make().work(TURN)
    assert store.has(first.proposal)
    assert make().work(TURN).proposal == first.proposal
    assert learner.trained == 1
    assert make().work(Propose(2, MODEL.digest)).proposal != first.proposal
    assert make().work(Propose(2, NEXT.digest)).proposal != first.proposal
    assert learner.trained == 3


@pytest.mark.parametrize("what", ["store", "notes"])
def test_a_full_disk_after_the_training_does_not_let_it_train_again(place, what):
    store, kept, learner, make = place
    broken = store if what == "store" else kept
    worker, broken.full = make(), True
    for _ in range(3):
        with pytest.raises(ColearnError, match="no space left"):
            worker.work(TURN)
    broken.full = False
    done = worker.work(TURN)
    assert store.has(done.proposal)
    assert kept.proposal_of((1, MODEL.digest)) == done.proposal
    assert (learner.trained, learner.judged) == (1, 1)
    assert done.observations[-1].vote_score == 1.0


def test_what_is_noted_and_was_never_stored_is_trained_again(place):
    store, kept, learner, make = place
    store.full = True
    with pytest.raises(StoreError):
        make().work(TURN)
    store.full = False
    done = make().work(TURN)
    assert store.has(done.proposal)
    assert kept.proposal_of((1, MODEL.digest)) == done.proposal
    assert learner.trained == 2


def test_another_job_in_between_gives_up_what_could_not_be_stored(place):
    store, _, learner, make = place
    worker, store.full = make(), True
    with pytest.raises(StoreError):
        worker.work(TURN)
    store.full = False
    assert worker.work(Judge(1, MODEL.digest, (NEXT.digest,))).ballots == (Ballot.APPROVE,)
    worker.work(Accept(1, NEXT.digest))
    done = worker.work(Propose(2, NEXT.digest))
    assert learner.trained == 2
    assert np.allclose(Archive(store).get(done.proposal)["w"], 11.0)


def test_a_model_that_cannot_be_read_is_an_error_and_the_learner_is_not_asked(place, tmp_path):
    _, kept, learner, _ = place
    archive = Archive(DirectoryStore(tmp_path))
    worker = LocalWorker(learner, archive, MODEL.digest, proposals=kept)
    for job in (
        Propose(2, NEXT.digest),
        Judge(2, NEXT.digest, (MODEL.digest,)),
        Accept(1, "ab" * 32),
    ):
        with pytest.raises(StoreError):
            worker.work(job)
    assert (learner.trained, learner.judged, learner.accepted) == (0, 0, 0)
    archive.put(NEXT)
    worker.work(Accept(1, NEXT.digest))
    assert learner.accepted == 1


def test_of_a_long_error_the_beginning_is_kept(place):
    _, _, learner, make = place
    learner.fails = RuntimeError("x" * 10**6)
    (seen,) = make().work(TURN).observations
    assert seen.failure == "RuntimeError"
    assert 100 < len(seen.reason) < 2000
