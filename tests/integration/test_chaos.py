"""Three minutes of chaos, and many nodes for many rounds; `tests.chaos` runs it for longer."""

import os
import random
import sys

import pytest
from tests.chaos import chaos
from tests.soak import soak

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
SECONDS = 180


@ON_LINUX
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_accepted_round_is_lost_and_no_node_diverges_whatever_is_killed_paused_or_cut(tmp_path):
    seed = int(os.environ.get("COLEARN_TEST_SEED", random.randrange(2**32)))
    print("seed", seed)
    closed, accepted, longest, counts = chaos(SECONDS, seed, tmp_path)
    print(f"{closed} rounds closed, {accepted} accepted, the longest {longest:.1f} s: {counts}")
    assert accepted >= 10


@ON_LINUX
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_nodes_keep_nothing_but_the_ledger(tmp_path):
    members, processes, rounds = 12, 2, 60
    for quarter, end in soak(tmp_path, members=members, processes=processes, rounds=rounds):
        print(quarter, end)
        assert end["threads"] <= quarter["threads"]
        # Connections come and go between the nodes and the server.
        assert end["files"] <= quarter["files"] + members
        # Less than 2 kB for a row: a view keeps the rows that it has read.
        rows = rounds * members * 0.65
        assert end["kb"] - quarter["kb"] < 2 * rows * members / processes + 4096
