"""The contract on a real EVM node: the same events as the pure rules, and gas within the targets."""

import importlib.util
import os
import random

import pytest

if importlib.util.find_spec("pyrevm") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no pyrevm here: pip install 'colearn[evm]'", allow_module_level=True)

from tests.evm import anvil_binary
from tests.receipts import Group, Node, Receipts
from tests.worlds import SEED, World, random_word


@pytest.fixture(scope="module")
def node():
    with Node(str(anvil_binary())) as running:
        yield running


class OnNode(Receipts):
    """The node's clock never stands still, so neither does that of the calls."""

    def apply(self, call, sender, now):
        self.node.now = max(self.node.now + 1, now)
        return super().apply(call, sender, self.node.now)


@pytest.mark.parametrize("council", [False, True])
@pytest.mark.parametrize("blind", [False, True])
def test_a_real_node_takes_every_accepted_call_and_logs_the_same(node, council, blind):
    node.now += 1000
    chance = random.Random(f"{SEED} {council} {blind}")
    twins = OnNode(node)
    word = random_word(chance, council=council, blind=blind)
    world = World(twins, chance, size=5, word=word)
    world.now = node.now
    for _ in range(250):
        world.step()
    assert sum(twins.outcomes.values()) > 3
    assert len(twins.gas) > 50


def test_rounds_cost_no_more_gas_than_the_targets(node):
    for size, target in ((5, 260_000), (20, 920_000)):
        group = Group(node, size)
        for _ in range(2):
            propose, votes = group.propose(), group.vote()
        assert max(votes[:-1]) <= 45_000
        assert votes[-1] <= 65_000
        assert propose + sum(votes) <= target
    group.propose()
    assert group.relay() <= 18_000 * 19
    assert group.receipts.deployment_gas < 5_500_000
