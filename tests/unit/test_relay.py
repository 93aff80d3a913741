from dataclasses import replace

import numpy as np
import pytest

from colearn import ProposedWeights, Weights
from colearn.core import Phase, Rules
from colearn.core.events import Closed, Voted
from colearn.errors import RemoteProtocolError
from colearn.experiment.group import Group
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger
from colearn.node import Node, Origin
from colearn.relay import Relay, signed_ballot
from colearn.store import Archive, MemoryStore
from colearn.weights import freeze
from colearn.worker import LocalWorker

MODEL = freeze({"w": np.zeros(3)})


class Adder:
    def __init__(self, says=True):
        self.says, self.model, self.asked = says, np.zeros(3), 0

    def mli_propose_weights(self):
        return Weights(weights={"w": self.model + 1.0})

    def mli_test_weights(self, weights):
        self.asked += 1
        return ProposedWeights(weights=weights, vote_score=1.0, vote=self.says)

    def mli_accept_weights(self, weights):
        self.model = weights.weights["w"]


@pytest.fixture
def place(tmp_path):
    """Return ledger, nodes, relay and what was told, with four members of whom one abstains."""
    time = [1000]
    keys = [Key.from_seed(5, f"member-{number}") for number in range(4)]
    EmbeddedLedger.create(tmp_path / "ledger.db", keys[0].address)
    ledger = EmbeddedLedger(tmp_path / "ledger.db", clock=lambda: time[0])
    told = []
    ledger.listen(told.append)
    archive, relay = Archive(MemoryStore()), Relay(ledger, Key.from_seed(5, "relay"))
    origin = Origin("11" * 32, archive.put(MODEL))
    nodes = [
        Node(LocalWorker(Adder(says), archive, origin.model), key, ledger, origin, relay=relay)
        for key, says in zip(keys, (True, True, None, True), strict=True)
    ]
    Group(nodes, ledger).establish(origin, Rules(propose_s=60, vote_s=60))
    yield ledger, nodes, relay, told, time
    ledger.close()


def test_one_call_brings_all_ballots_and_decides_the_round(place):
    ledger, nodes, relay, told, _ = place
    assert nodes[0].step()
    assert not relay.step()
    assert [node.step() for node in nodes[1:]] == [True, True, True]
    assert [node.step() for node in nodes[1:]] == [False, False, False]
    before = len(told)
    assert relay.step()
    (happening,) = told[before:]
    assert happening.signer == relay.key.address
    votes = [event for event in happening.events if isinstance(event, Voted)]
    assert [vote.voter for vote in votes] == [node.address for node in nodes[1:]]
    assert [vote.abstain for vote in votes] == [False, True, False]
    assert any(isinstance(event, Closed) for event in happening.events)
    assert ledger.experiment(1).round.number == 2
    assert not relay.step()


def test_a_node_whose_ballot_is_not_brought_in_time_votes_itself(place):
    _, nodes, relay, told, time = place
    nodes[0].step()
    nodes[1].step()
    assert not nodes[1].step()
    time[0] += 31
    assert nodes[1].step()
    assert told[-1].signer == nodes[1].address
    nodes[2].step()
    assert told[-1].signer == nodes[2].address
    assert not relay.step()


def test_a_relay_brings_what_it_has_without_who_is_missing(place):
    ledger, nodes, relay, _, _ = place
    for node in nodes[:3]:
        node.step()
    assert not relay.step()
    assert relay.step(now=True)
    assert ledger.experiment(1).phase is Phase.VOTE
    assert ledger.experiment(1).round.todo.bit_count() == 1


def test_ballots_that_are_no_voters_of_this_round_are_refused(place):
    ledger, nodes, relay, _, _ = place
    with pytest.raises(RemoteProtocolError, match="no open vote"):
        relay.offer(signed_ballot(nodes[0].key, ledger.experiment(1), 1))
    nodes[0].step()
    experiment = ledger.experiment(1)
    good = signed_ballot(nodes[1].key, experiment, 1)
    for bad in (
        replace(good, seat=2),
        replace(good, not_worse=0),
        replace(good, abstain=True),
        replace(good, note="11" * 32),
        replace(good, signature=None),
        replace(good, signature="zz"),
        replace(good, seat=0),
        replace(good, seat=300),
        replace(good, seat=-1),
    ):
        with pytest.raises(RemoteProtocolError, match="A ballot is refused"):
            relay.offer(bad)
    relay.offer(good)
    relay.offer(signed_ballot(nodes[1].key, experiment, 0))
    relay.step(now=True)
    assert ledger.experiment(1).round.approvals == (1,)


def test_ballots_of_a_round_that_is_past_are_forgotten(place):
    ledger, nodes, relay, _, _ = place
    nodes[0].step()
    old = signed_ballot(nodes[1].key, ledger.experiment(1), 1)
    for node in nodes[1:]:
        node.step()
    relay.step()
    nodes[0].step()
    nodes[1].step()
    with pytest.raises(RemoteProtocolError):
        relay.offer(old)
    assert not relay.holds(nodes[1].address)
