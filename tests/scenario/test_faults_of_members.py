"""Members die at every point, leave, come back, and run twice; the others go on."""

import shutil

import numpy as np
import pytest
from tests.members import PHASE_S
from tests.network import Network, is_voting

from colearn.core import Outcome, Phase, calls
from colearn.core.events import Proposed
from colearn.core.phase import MotionKind
from colearn.store import Archive

PROPOSERS_DEATHS = (
    "before training", "during training", "after training", "noted", "stored", "before judging",
    "answered", "uploaded", "sent",
)  # fmt: skip
VOTERS_DEATHS = ("fetching", "before judging", "after judging", "answered", "sent")
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


def proposals(network, member):
    network.eye.sync()
    return [
        event
        for event in network.events
        if isinstance(event, Proposed) and event.proposer == member.key.address
    ]


@STORES
@pytest.mark.parametrize("point", PROPOSERS_DEATHS)
def test_a_proposer_that_dies_and_is_back_at_once_makes_its_one_proposal(make, hub, point):
    network = make(hub=hub)
    network.run_rounds(1)
    proposer, number = network.proposer, network.experiment.round.number
    proposer.die_at = point
    network.settle(lambda: not proposer.alive)
    assert not proposer.alive
    proposer.start()
    network.run(lambda: len(network.closed) > 1)
    assert network.closed[-1].result is Outcome.ACCEPTED
    assert [event.round_number for event in proposals(network, proposer)] == [number]
    assert not network.missed
    network.check()


@STORES
@pytest.mark.parametrize("point", PROPOSERS_DEATHS)
def test_a_proposer_that_dies_and_is_back_rounds_later_held_nobody_up(make, hub, point):
    network = make(hub=hub)
    network.run_rounds(1)
    proposer = network.proposer
    proposer.die_at = point
    network.settle(lambda: not proposer.alive)
    began = network.time
    network.run_rounds(7)
    # L3: two deadlines, once; and half of a vote on a proposal that nobody can fetch any more.
    assert network.time - began <= 2 * (PHASE_S + 1) + PHASE_S / 2 + 1
    proposer.start()
    network.check()
    assert not network.experiment.roster.missed_once


@STORES
@pytest.mark.parametrize("point", VOTERS_DEATHS)
@pytest.mark.parametrize("back", [True, False], ids=["at once", "rounds later"])
def test_a_voter_that_dies_and_comes_back_votes_once_or_is_missed(make, hub, point, back):
    network = make(hub=hub)
    network.run_rounds(1)
    proposer = network.proposer
    voter = network.members[(proposer.number + 2) % 5]
    if point == "sent":
        network.settle(is_voting(network))
    voter.die_at = point
    network.settle(lambda: not voter.alive)
    assert not voter.alive
    if not back:
        network.run_rounds(6)
    voter.start()
    network.run_rounds(1)
    if back:
        assert [event.result for event in network.closed] == [Outcome.ACCEPTED] * 2
    if point == "fetching" and back:
        # What had come is not fetched again.
        assert any(offset > 0 for _, offset in voter.fetched)
        assert not network.unfinished(voter)
    assert bool(network.missed) is not back
    network.check()


@pytest.mark.parametrize("point", ["before training", "stored", "answered", "after judging"])
def test_a_worker_that_dies_alone_costs_its_job_and_not_its_node(make, point):
    network = make()
    network.run_rounds(1)
    victim = network.proposer
    if point == "after judging":
        network.settle(is_voting(network))
        victim = network.members[(victim.number + 1) % 5]
    victim.die_at, victim.worker_alone = point, True
    network.run(lambda: len(network.closed) > 1)
    assert victim.alive
    assert "Died" in {seen.failure for seen in victim.seen}
    turn_lost = point != "after judging"
    assert (network.closed[-1].result is Outcome.NO_PROPOSAL) == turn_lost
    assert not network.missed
    network.check()


@pytest.mark.parametrize("reveal_s", [0, PHASE_S])
def test_a_power_failure_of_all_loses_nothing(make, reveal_s):
    network = make(reveal_s=reveal_s)
    for passes in range(1, 40):
        network.step_all()
        if passes % 3 == 0:
            network.kill(*range(5))
            network.restart(*range(5))
    accepted = len(network.accepted)
    assert accepted >= 5
    assert not network.missed
    network.check()


def test_a_member_that_is_gone_for_good_costs_two_deadlines_once(make):
    network = make()
    network.run_rounds(1)
    gone = network.members[3]
    network.kill(3)
    began = network.time
    network.run_rounds(20)
    assert network.time - began == 2 * (PHASE_S + 1)
    seat = network.experiment.roster.seat_of[gone.key.address]
    assert [event.seats for event in network.missed] == [1 << seat] * 2
    network.check()


def test_when_too_few_are_left_nothing_is_accepted_and_with_them_it_goes_on(make):
    network = make()
    network.run_rounds(1)
    network.kill(1, 2, 3)
    accepted = len(network.accepted)
    network.run(lambda: len(network.closed) >= 6)
    assert len(network.accepted) == accepted
    assert {member.experiment.model for member in network.living} == {network.experiment.model}
    network.restart(1, 2, 3)
    network.check()


@STORES
def test_a_member_that_is_back_after_50_rounds_fetches_one_model_and_takes_its_turns(make, hub):
    network = make(hub=hub)
    network.run_rounds(2)
    late = network.members[4]
    network.kill(4)
    network.run_rounds(50)
    late.fetched.clear()
    trained = len([place for place in network.trained if place[0] == 4])
    late.start()
    late.step()
    assert [digest for digest, _ in late.fetched] == [network.experiment.model]
    assert len(list(late.held.digests())) <= 10
    model = Archive(late.held).get(network.experiment.model)["w"]
    assert np.array_equal(late.learner.model, model)
    network.check()
    assert not network.experiment.roster.missed_once
    assert len([place for place in network.trained if place[0] == 4]) > trained


def test_a_member_that_leaves_is_done_and_the_others_go_on(make):
    network = make()
    network.run_rounds(1)
    leaver = network.members[2]
    leaver.view.submit(leaver.key, calls.Leave(1))
    network.run_rounds(1)
    leaver.view.sync()
    assert leaver.node.due.duty == "done"
    assert network.experiment.roster.size == 4
    before = len(leaver.fetched)
    network.check()
    assert not network.missed
    assert len(leaver.fetched) >= before


def test_a_member_that_is_expelled_is_done_and_the_others_go_on(make):
    network = make()
    network.run_rounds(1)
    target = network.members[2]
    epoch = network.experiment.roster.epoch
    for member in network.members:
        if member is not target and network.experiment.roster.epoch == epoch:
            motion = calls.Motion(1, epoch, int(MotionKind.EXPEL), target.key.address)
            if not network.experiment.roster.changed:
                member.view.submit(member.key, motion)
    network.run_rounds(1)
    target.view.sync()
    assert network.experiment.roster.size == 4
    assert target.node.due.duty == "done"
    network.check()


@pytest.mark.parametrize("reveal_s", [0, PHASE_S])
@STORES
def test_two_processes_with_one_key_do_no_harm(make, hub, reveal_s):
    network = make(hub=hub, reveal_s=reveal_s)
    network.run_rounds(1)
    twin = type(network.members[2])(network, 2)
    twin.path = network.folder / "twin"
    shutil.copytree(network.members[2].path, twin.path)
    twin.start()
    network.members.append(twin)
    # Both may train: the second one finds its turn over. What both did counts once each.
    network.trained.clear()
    network.run_rounds(10)
    assert not network.missed
    assert max(network.trained.values()) <= 2
    twins = [count for place, count in network.trained.items() if place[0] == 2]
    assert len([count for count in network.trained.values() if count > 1]) <= len(twins)
    network.kill(5)
    network.members.pop()
    network.trained.clear()
    network.check()


def test_the_end_comes_for_who_was_away_as_well(make):
    network = make(rounds=6)
    network.run_rounds(2)
    network.kill(4)
    network.run(lambda: network.experiment.phase is Phase.OVER)
    network.settle()
    assert network.experiment.round.todo == 1 << 4
    network.restart(4)
    network.settle()
    assert network.experiment.round.todo == 0
    assert {member.node.due.duty for member in network.members} == {"done"}
    assert len({member.learner.model.tobytes() for member in network.members}) == 1
    network.check_audit()


@STORES
def test_a_member_that_left_and_is_admitted_again_joins_with_the_newest_model(make, hub):
    network = make(hub=hub)
    network.run_rounds(1)
    leaver = network.members[2]
    leaver.view.submit(leaver.key, calls.Leave(1))
    leaver.kill()
    network.run_rounds(4)
    epoch = network.experiment.roster.epoch
    for member in network.living:
        if leaver.key.address not in network.experiment.roster.invited:
            motion = calls.Motion(1, epoch, int(MotionKind.ADMIT), leaver.key.address)
            member.view.submit(member.key, motion)
    leaver.start()
    leaver.fetched.clear()
    leaver.step()
    assert [digest for digest, _ in leaver.fetched] == [network.experiment.model]
    network.check(rounds=8)
    assert network.experiment.roster.size == 5
    assert leaver.number in {place[0] for place in network.trained if place[1] > 5}
    # The round in which it left still waited for it (S6).
    assert len(network.missed) == 1
