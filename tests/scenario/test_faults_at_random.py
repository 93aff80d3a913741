"""Everything that can go wrong goes wrong at random; afterwards the group is as if nothing had."""

import os
import random

import pytest
from tests.members import DRIFT_S, PHASE_S
from tests.network import Network

from colearn.core import Phase

SEED = int(os.environ.get("COLEARN_SEED", random.randrange(2**32)))
RUNS = int(os.environ.get("COLEARN_RUNS", "6"))
PASSES = 120

POINTS = (
    "before training", "during training", "after training", "noted", "stored", "before judging",
    "after judging", "answered", "uploaded", "sent", "fetching", "accepting",
)  # fmt: skip
SWITCHES = ("cut", "mute", "wrong", "half", "full")


class Chaos:
    """Lets things go wrong, and some of them be right again."""

    def __init__(self, network, chance):
        self.network, self.chance = network, chance

    def strike(self):
        what = self.chance.choice(
            (self.die, self.die, self.kill, self.restart, self.restart, self.switch, self.mend,
             self.mend, self.lose, self.skew, self.split, self.heal, self.wait, self.wait)
        )  # fmt: skip
        what()

    def one(self):
        return self.chance.choice(self.network.members)

    def die(self):
        member = self.one()
        member.die_at, member.worker_alone = self.chance.choice(POINTS), self.chance.random() < 0.3

    def kill(self):
        member = self.one()
        if member.alive:
            member.kill()

    def restart(self):
        dead = [member for member in self.network.members if not member.alive]
        if dead:
            member = self.chance.choice(dead)
            member.die_at = None
            member.start()

    def switch(self):
        setattr(self.one(), self.chance.choice(SWITCHES), True)

    def mend(self):
        member = self.one()
        for switch in SWITCHES:
            setattr(member, switch, False)

    def lose(self):
        self.one().losing = self.chance.randint(1, 3)

    def skew(self):
        self.one().skew = self.chance.randint(-DRIFT_S // 2, DRIFT_S // 2)

    def split(self):
        numbers = [member.number for member in self.network.members]
        self.chance.shuffle(numbers)
        cut = self.chance.randint(1, len(numbers) - 1)
        self.network.partition(set(numbers[:cut]), set(numbers[cut:]))

    def heal(self):
        self.network.groups = None

    def wait(self):
        self.network.tick(self.chance.choice((1, DRIFT_S, PHASE_S // 2, PHASE_S + 1)))


@pytest.mark.parametrize("run", range(RUNS))
@pytest.mark.parametrize("size", [3, 6])
def test_whatever_goes_wrong_all_have_one_model_in_the_end_and_go_on(tmp_path, size, run):
    print("COLEARN_SEED =", SEED)
    chance = random.Random(f"{SEED} {size} {run}")
    rules = {"reveal_s": chance.choice((0, PHASE_S)), "early_close": chance.random() < 0.5}
    network = Network(tmp_path, size, hub=chance.random() < 0.5, **rules).start()
    chaos = Chaos(network, chance)
    try:
        for _ in range(PASSES):
            chaos.strike()
            network.step_all()
            models = {event.round_number: event.model for event in network.accepted}
        assert not [member.fatal for member in network.members if member.fatal]
        if network.experiment.phase is Phase.OVER:
            # Nobody proposed for 2n rounds running, which ends an experiment (7.2).
            network.heal()
            network.settle()
            network.check_audit()
            return
        network.heal()
        network.check()
        # What was once accepted stays accepted.
        now = {event.round_number: event.model for event in network.accepted}
        assert models.items() <= now.items()
    finally:
        network.close()
