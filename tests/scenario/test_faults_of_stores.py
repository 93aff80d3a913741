"""Disks, lines and peers that fail while blobs are moved; the others go on, and nothing is lost."""

import numpy as np
import pytest
from tests.members import BLOB_BYTES_MAX, MODEL, PHASE_S
from tests.network import Network, is_voting

from colearn.core import Outcome, Phase
from colearn.core.events import Voted
from colearn.errors import DigestMismatchError, LedgerUnavailableError, PeerUnreachableError
from colearn.store import Archive, DirectoryStore

STORES = pytest.mark.parametrize("hub", [True, False], ids=["hub", "peers"])


@pytest.fixture
def make(tmp_path):
    networks = []

    def made(size=5, **rules):
        networks.append(Network(tmp_path, size, **rules).start())
        return networks[-1]

    yield made
    for network in networks:
        network.close()


def votes(network, number):
    network.eye.sync()
    return {
        event.voter: event.not_worse
        for event in network.events
        if isinstance(event, Voted) and event.round_number == number
    }


@pytest.mark.parametrize("fault", ["wrong", "half"])
def test_one_peer_that_serves_badly_changes_nothing(make, fault):
    network = make()
    liar = network.members[3]
    setattr(liar, fault, True)
    network.run_rounds(2)
    assert [event.result for event in network.closed] == [Outcome.ACCEPTED] * 2
    assert network.time == 1_700_000_000
    network.run(lambda: network.proposer is liar)
    number = network.experiment.round.number
    network.run(lambda: network.experiment.round.number > number)
    # Nobody else has its own proposal, so all reject that when half of their time is over.
    rejected = [event for event in network.closed if event.result is Outcome.REJECTED]
    assert [event.round_number for event in rejected] == [number]
    assert set(votes(network, number).values()) == {0}
    assert not network.missed
    network.heal()
    network.check()
    for member in network.members:
        for digest in member.held.digests():
            member.held.get(digest, BLOB_BYTES_MAX)


def test_what_came_of_a_blob_is_kept_over_breaks_and_a_restart(make):
    network = make()
    network.run_rounds(1)
    proposer = network.proposer
    voter = network.members[(proposer.number + 1) % 5]
    network.settle(is_voting(network))
    proposer.half = True
    voter.step()
    assert isinstance(voter.errors[-1], PeerUnreachableError)
    assert network.unfinished(voter)
    voter.kill()
    voter.start()
    voter.fetched.clear()
    proposer.half = False
    voter.step()
    candidate = network.experiment.round.candidates[0]
    size = len(proposer.held.get(candidate, BLOB_BYTES_MAX))
    assert [offset for digest, offset in voter.fetched if digest == candidate] == [size // 2]
    assert votes(network, 2)[voter.key.address] == 1
    network.check()


@STORES
def test_who_is_cut_off_from_all_blobs_rejects_once_and_then_sleeps(make, hub):
    network = make(hub=hub)
    network.run_rounds(1)
    lonely = network.members[(network.proposer.number + 1) % 5]
    lonely.cut = True
    network.run_rounds(8)
    assert network.accepted[-1].round_number > 8
    lonely.view.sync()
    assert lonely.experiment.model == network.experiment.model
    seat = network.experiment.roster.seat_of[lonely.key.address]
    assert [event.seats for event in network.missed] == [1 << seat] * 2
    # One vote without the blob at half of its time, then two deadlines without the model.
    assert network.time - 1_700_000_000 <= 2 * (PHASE_S + 1) + PHASE_S / 2 + 1
    trained = sum(place[0] == lonely.number for place in network.trained)
    lonely.cut = False
    network.check()
    assert not network.experiment.roster.missed_once
    assert sum(place[0] == lonely.number for place in network.trained) > trained


@STORES
def test_an_upload_that_fails_for_some_time_is_repeated_and_not_trained_again(make, hub):
    network = make(hub=hub)
    network.run_rounds(1)
    proposer, number = network.proposer, network.experiment.round.number
    proposer.mute = True
    network.settle()
    assert isinstance(proposer.errors[-1], PeerUnreachableError)
    network.tick(PHASE_S // 2)
    network.settle()
    proposer.mute = False
    network.run(lambda: network.experiment.round.number > number)
    assert network.closed[-1].result is Outcome.ACCEPTED
    assert not network.missed
    network.check()


def test_an_upload_that_fails_until_the_deadline_costs_the_turn_and_the_next_one_is_taken(make):
    network = make(hub=True)
    network.run_rounds(1)
    proposer, number = network.proposer, network.experiment.round.number
    proposer.mute = True
    network.run(lambda: network.experiment.round.number > number)
    assert network.closed[-1].result is Outcome.NO_PROPOSAL
    proposer.mute = False
    network.check()
    assert len(network.missed) == 1
    mine = [place for place in network.trained if place[0] == proposer.number]
    assert len(mine) >= 2


@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "restarts"])
def test_a_full_disk_of_a_proposer_loses_nothing_that_was_trained(make, restarts):
    network = make()
    network.run_rounds(1)
    proposer, number = network.proposer, network.experiment.round.number
    proposer.full = True
    for _ in range(3):
        network.settle()
        network.tick(5)
    assert "no space left" in str(proposer.errors[-1])
    assert network.experiment.phase is Phase.PROPOSE
    proposer.full = False
    if restarts:
        # What was only in memory is gone with the process.
        proposer.kill()
        proposer.start()
    network.run(lambda: network.experiment.round.number > number)
    assert network.closed[-1].result is Outcome.ACCEPTED
    network.check()


def test_a_full_disk_of_a_voter_holds_nobody_up_for_longer_than_silence(make):
    network = make()
    network.run_rounds(1)
    voter = network.members[(network.proposer.number + 2) % 5]
    voter.full = True
    network.run_rounds(6)
    assert voter.alive
    assert network.time - 1_700_000_000 <= 2 * (PHASE_S + 1) + PHASE_S / 2 + 1
    voter.full = False
    network.check()


@pytest.mark.parametrize("left", [0, 100, None])
def test_a_blob_that_a_power_failure_has_damaged_is_fetched_anew(make, left):
    network = make()
    network.run_rounds(2)
    network.settle(lambda: network.experiment.phase is Phase.PROPOSE)
    victim = next(each for each in network.members if each is not network.proposer)
    victim.view.sync()
    victim.node.catch_up()
    victim.kill()
    file = victim.path / "blobs" / network.experiment.model
    data = file.read_bytes()
    file.write_bytes(data[:-8] + bytes(8) if left is None else data[:left])
    victim.start()
    victim.step()
    assert not victim.errors
    assert file.read_bytes() == data
    network.check()


def test_a_proposal_that_a_power_failure_has_damaged_is_made_again(make):
    network = make()
    network.run_rounds(1)
    proposer = network.proposer
    proposer.die_at = "answered"
    network.settle(lambda: not proposer.alive)
    (place,) = [place for place in network.trained if place[:2] == (proposer.number, 2)]
    digest = proposer.folder.proposal_of(place[1:])
    (proposer.path / "blobs" / digest).write_bytes(b"")
    proposer.start()
    network.check()
    assert [event.result for event in network.closed][:2] == [Outcome.ACCEPTED] * 2


def test_the_last_who_has_the_model_need_not_be_there_for_long(make):
    network = make()
    network.run_rounds(1)
    network.settle(is_voting(network))
    late = network.members[4]
    network.kill(4)
    network.run(lambda: network.experiment.phase is Phase.PROPOSE)
    model = network.experiment.model
    holders = [each for each in network.members if each.held.has(model) and each.alive]
    assert len(holders) >= 3
    # Only one of those who have the model is there; it is enough.
    network.kill(*[each.number for each in holders[1:]])
    late.start()
    late.step()
    assert np.array_equal(late.learner.model, Archive(late.held).get(model)["w"])
    network.heal()
    network.check()


def test_a_partition_stops_the_smaller_part_and_heals_without_two_histories(make):
    network = make(7)
    network.run_rounds(2)
    network.partition({0, 1, 2, 3, 4}, {5, 6})
    accepted = len(network.accepted)
    network.run_rounds(6)
    for member in network.members[5:]:
        assert isinstance(member.errors[-1], LedgerUnavailableError)
        assert member.view.head.height < network.eye.head.height
    assert len(network.accepted) == accepted + 6
    network.heal()
    network.check()
    assert not network.experiment.roster.missed_once


def test_a_partition_in_which_no_part_is_large_enough_accepts_nothing_until_it_heals(make):
    network = make(6)
    network.run_rounds(1)
    network.partition({0, 1, 2}, {3, 4, 5})
    accepted = len(network.accepted)
    network.run(lambda: len(network.closed) >= 5)
    assert len(network.accepted) == accepted
    network.heal()
    network.check()


def test_blobs_split_while_the_ledger_is_whole_and_the_group_goes_on_when_it_heals(make):
    network = make(5)
    network.run_rounds(1)
    for member in network.members:
        member.cut = True
    network.run(lambda: len(network.closed) >= 5)
    # Rounds are closed by their deadlines though nobody can have a proposal.
    assert len(network.accepted) == 1
    assert len({member.experiment.model for member in network.members}) == 1
    for member in network.members:
        member.cut = False
    network.check()


def test_wrong_bytes_never_get_a_name(make, tmp_path):
    network = make(3)
    network.settle(is_voting(network))
    proposer, voter = network.members[0], network.members[1]
    proposer.wrong = True
    voter.step()
    candidate = network.experiment.round.candidates[0]
    assert isinstance(voter.errors[-1], DigestMismatchError)
    assert not voter.held.has(candidate)
    assert set(DirectoryStore(voter.path / "blobs").digests()) == {
        MODEL.digest,
        network.origin.specification,
    }
    proposer.wrong = False
    network.check()
