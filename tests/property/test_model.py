"""The pure rules against the oracle, call by call, honest and not (7.8)."""

import pytest
from tests.oracles.pair import SEED, Pair

from colearn.core import Reason
from colearn.core.transitions import FOLLOWS, POSSIBLE

BATCH = 15

TELLING = [1265, 1128, 1185, 1004, 1013, 1016, 1039, 1063, 1108]
"""Seeds of worlds that show a lot; others come after them as long as something is missing."""


@pytest.mark.parametrize("batch", range(8))
def test_the_rules_the_oracle_and_the_events_agree_after_every_call(batch):
    for seed in range(SEED + batch * BATCH, SEED + (batch + 1) * BATCH):
        for _ in Pair(seed).run():
            pass


def test_the_transition_table_is_what_random_worlds_show():
    # That they show nothing else is asked of every world after every call.
    possible = {(kind, phase) for kind, phases in POSSIBLE.items() for phase in phases}
    follows = {(phase, after) for phase, phases in FOLLOWS.items() for after in phases}
    # 256 seats take longer than these worlds live.
    reasons = set(Reason) - {Reason.FULL}
    for seed in (*TELLING, *range(1000, 1300)):
        pair = Pair(seed)
        for _ in pair.run():
            pass
        possible -= pair.possible
        follows -= pair.follows
        reasons -= pair.reasons
        if not (possible or follows or reasons):
            break
    assert not possible
    assert not follows
    assert not reasons
