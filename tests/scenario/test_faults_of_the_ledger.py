"""The server of the ledger restarts, is slow, says nonsense, forgets, or tells two histories."""

import json
import os
import random
import shutil

import pytest
from tests.members import PHASE_S
from tests.network import Network, is_voting
from tests.wires import Switchboard, cut_log

from colearn.core import Outcome, Phase
from colearn.core.events import Proposed, Voted
from colearn.errors import LedgerTamperedError, LedgerUnavailableError
from colearn.ledger import _exchange

SEED = int(os.environ.get("COLEARN_SEED", "1"))
SIZE = 5


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(_exchange, "_PAUSES_S", (0.0, 0.0))


class Served:
    """A network of members at a served ledger."""

    def __init__(self, folder, **rules):
        self.network = Network(folder, SIZE, served_at=self.url, **rules)
        self.lines = Switchboard(SIZE, lambda: self.network.time)
        self.lines.start(self.network.log)
        self.network.start()

    def url(self, member):
        return self.lines.urls[member.number]

    def close(self):
        self.lines.set(None)
        self.network.close()
        self.lines.close()


@pytest.fixture
def make(tmp_path):
    places = []

    def made(**rules):
        places.append(Served(tmp_path, **rules))
        return places[-1].network, places[-1].lines

    yield made
    for place in places:
        place.close()


def all_unavailable(network):
    return all(isinstance(each.errors[-1], LedgerUnavailableError) for each in network.members)


def acts(network):
    """Who did what in which round, as often as it is on the ledger."""
    network.eye.sync()
    return [
        (event.round_number, getattr(event, "proposer", None) or event.voter)
        for event in network.events
        if isinstance(event, Proposed | Voted)
    ]


@pytest.mark.parametrize("phase", [Phase.PROPOSE, Phase.VOTE])
def test_a_server_that_restarts_loses_nothing(make, phase):
    network, lines = make()
    network.run_rounds(1)
    network.settle(lambda: network.experiment.phase is phase)
    lines.stop()
    for _ in range(3):
        assert not network.step_all()
    assert all_unavailable(network)
    lines.start(network.log)
    network.run_rounds(1)
    assert {event.result for event in network.closed} == {Outcome.ACCEPTED}
    assert not network.missed
    network.check(rounds=2)


def test_a_server_that_is_away_for_longer_than_all_deadlines_costs_one(make):
    network, lines = make()
    network.run_rounds(1)
    lines.stop()
    for _ in range(5):
        network.step_all()
        network.tick(PHASE_S)
    lines.start(network.log)
    network.check()
    assert len(network.missed) == 1
    assert not network.experiment.roster.missed_once


@pytest.mark.parametrize("fault", ["loses answers", "is slow"])
def test_a_call_whose_answer_is_lost_is_made_once(make, fault):
    network, lines = make()
    network.timeout_s = 0.3 if fault == "is slow" else 10.0
    network.run_rounds(1)
    for member in network.members:
        member.kill()
        member.start()
    number = network.proposer.number
    network.members[number].view.sync()
    lines.set(fault, number)
    network.members[number].step()
    assert lines.wires[number].lost
    assert isinstance(network.members[number].errors[-1], LedgerUnavailableError)
    lines.set(None)
    lines.wires[number].released.set()
    network.timeout_s = 10.0
    network.members[number].kill()
    network.members[number].start()
    network.run_rounds(2)
    assert len(acts(network)) == len(set(acts(network)))
    assert not network.missed
    network.check(rounds=2)


NONSENSE = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "an object": b"{}",
    "deep": b"[" * 10**5,
    "html": b"<html>try again later</html>",
    "noise": random.Random(SEED).randbytes(3000),
    "no page": b'{"from": 1, "height": -1, "head": "", "base": null, "rows": ""}',
}


@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_no_reason_to_stop(make, said):
    print("seed", SEED)
    network, lines = make()
    network.run_rounds(1)
    lines.set(said)
    for _ in range(2):
        assert not network.step_all()
    assert all_unavailable(network)
    assert len(network.living) == SIZE
    lines.set(None)
    network.run_rounds(1)
    assert not network.missed
    network.check(rounds=2)


def test_one_whose_line_is_bad_is_missed_and_comes_back(make):
    network, lines = make()
    network.run_rounds(1)
    lines.set("refuses", 3)
    network.run_rounds(7)
    assert len(network.missed) == 2
    lines.set(None)
    network.check()
    assert not network.experiment.roster.missed_once


def test_a_log_that_lost_its_tail_is_given_it_back_by_those_who_have_it(make):
    network, lines = make()
    network.run_rounds(2)
    for member in network.members:
        member.view.sync()
    head = network.eye.head
    away = network.members[2]
    away.step()
    away.kill()
    lines.stop()
    cut_log(network.log, network.eye.head.height - 4)
    lines.start(network.log)
    # Who has restarted has no rows to give back, but knows that some are gone.
    away.start()
    away.step()
    assert isinstance(away.fatal, LedgerTamperedError)
    assert json.loads((away.path / "evidence.json").read_text())["rule"] == "7.9"
    network.members[0].step()
    network.look_again()
    assert network.eye.head.height >= head.height
    assert network.eye.replica.heads[head.height] == head.digest
    away.start()
    network.check(rounds=2)


def test_two_histories_stop_those_who_were_shown_the_other_one_with_evidence(make, tmp_path):
    network, lines = make()
    network.run_rounds(2)
    network.settle(is_voting(network))
    for member in network.members:
        member.view.sync()
    lines.stop()
    other = shutil.copy(network.log, tmp_path / "other.db")
    lines.start(network.log, 0, 1, 2)
    lines.start(other, 3, 4)
    network.run(lambda: len(network.closed) > 4)
    one, two = network.members[0].view, network.members[3].view
    lines_of_both = zip(one.replica.heads, two.replica.heads, strict=False)
    parts = [height for height, (mine, yours) in enumerate(lines_of_both) if mine != yours]
    assert parts
    # What is final on either side is the same on both (S12).
    assert max(one.certified(1), two.certified(1)) < parts[0]
    heads = [member.view.head for member in network.members]
    for victim in (3, 4):
        lines.wires[victim].upstream = lines.wires[0].upstream
    network.step_all()
    network.step_all()
    for victim in network.members[3:]:
        assert isinstance(victim.fatal, LedgerTamperedError)
        assert not victim.alive
        evidence = json.loads((victim.path / "evidence.json").read_text())
        assert evidence["head"] == str(heads[victim.number])
        # Nor is it believed after a restart.
        victim.start()
        victim.step()
        assert isinstance(victim.fatal, LedgerTamperedError)
    network.check()


@pytest.mark.parametrize("skew", [-3600, 3600])
@pytest.mark.parametrize("restarts", [False, True], ids=["runs", "restarts"])
def test_a_member_with_a_wrong_clock_is_missed_and_comes_back(make, skew, restarts, caplog):
    network, _ = make()
    network.run_rounds(1)
    wrong = network.members[3]
    wrong.step()
    wrong.skew = skew
    if restarts:
        wrong.kill()
        wrong.start()
    network.run_rounds(7)
    assert wrong.alive
    assert len(network.missed) == 2
    assert network.accepted[-1].round_number > 7
    said = [each.message for each in caplog.records if "clock right" in each.message]
    errors = [str(each) for each in wrong.errors if "clock right" in str(each)]
    # It is told what to do: once, where the ledger refuses it.
    assert len(said) == (1 if skew > 0 else 0)
    assert bool(errors) == (skew < 0 and restarts)
    wrong.skew = 0
    network.check()
    assert not network.experiment.roster.missed_once


def test_clocks_that_differ_by_less_than_the_drift_do_not_matter(make):
    network, _ = make()
    for number, member in enumerate(network.members):
        member.skew = number - 2
    network.run_rounds(6)
    assert not network.missed
    network.kill(4)
    network.run_rounds(6)
    assert len(network.missed) == 2
    network.restart(4)
    network.check()


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_a_server_with_a_wrong_clock_stops_the_group_until_it_is_right(make, skew):
    network, lines = make()
    network.run_rounds(1)
    lines.stop()
    lines.clock = lambda: network.time + skew
    lines.start(network.log)
    height = network.eye.head.height
    for _ in range(4):
        network.step_all()
        network.tick(5)
    network.eye.sync()
    assert network.eye.head.height == height
    assert len(network.living) == SIZE
    lines.stop()
    lines.clock = lambda: network.time
    lines.start(network.log)
    network.check(rounds=2)
    assert not network.missed


def test_two_processes_with_one_key_do_no_harm_at_a_server(make):
    network, _ = make()
    network.run_rounds(1)
    twin = type(network.members[2])(network, 2)
    twin.path = network.folder / "twin"
    shutil.copytree(network.members[2].path, twin.path)
    twin.start()
    network.members.append(twin)
    network.trained.clear()
    network.run_rounds(8)
    assert not network.missed
    assert len(acts(network)) == len(set(acts(network)))
    assert {member.fatal for member in network.members} == {None}
    twin.kill()
    network.members.pop()
    network.trained.clear()
    network.check(rounds=2)
