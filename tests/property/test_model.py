"""The pure rules against the oracle, call by call, honest and not (7.8)."""

import pytest
from tests.oracles.pair import SEED, Pair

from colearn.core import Phase, Reason
from colearn.core.calls import CALLS
from colearn.core.events import Opened, Proposed
from colearn.core.transitions import FOLLOWS, POSSIBLE

BATCH = 15


@pytest.mark.parametrize("batch", range(8))
def test_the_rules_the_oracle_and_the_events_agree_after_every_call(batch):
    for seed in range(SEED + batch * BATCH, SEED + (batch + 1) * BATCH):
        for _ in Pair(seed).run():
            pass


def test_the_transition_table_is_what_random_worlds_show():
    possible = {CALLS[name]: set() for name in CALLS}
    follows, reasons = {phase: set() for phase in Phase}, set()
    for seed in range(1000, 1120):
        for call, found, book in Pair(seed).run():
            if isinstance(found, Reason):
                reasons.add(found)
                continue
            before = book.experiments.get(getattr(call, "experiment", 0))
            if before is None:
                continue
            possible[type(call)].add(before.phase)
            phase = before.phase
            for event in found:
                if isinstance(event, Opened | Proposed):
                    after = Phase(event.phase) if isinstance(event, Opened) else Phase.VOTE
                    follows[phase].add(after)
                    phase = after
    assert possible == POSSIBLE
    assert follows == FOLLOWS
    # 256 seats take longer than these worlds live.
    assert reasons == set(Reason) - {Reason.FULL}
