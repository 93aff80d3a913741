"""The pure rules and the contract's bytecode agree after every call, in random worlds (7.8)."""

import importlib.util
import os

import pytest

if importlib.util.find_spec("pyrevm") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no pyrevm here: pip install 'colearn[evm]'", allow_module_level=True)

from tests.worlds import SEED, play

from colearn.core import Reason
from colearn.core.calls import CALLS

CHUNKS = 10
CALLS_A_CHUNK = 4000
RARE = 8
"""Reasons that a chunk may happen to miss; test_bytecode_bounds.py has every one of them."""


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_rules_and_the_bytecode_agree_after_every_call(chunk):
    seed = f"{SEED} {chunk}"
    print(f"COLEARN_SEED={SEED}, chunk {chunk}")
    played = play(seed, CALLS_A_CHUNK)
    assert played.calls_count >= CALLS_A_CHUNK
    both = [
        (name, accepted)
        for name in (kind.__name__ for kind in CALLS.values())
        for accepted in (True, False)
        if not played.counts[name, accepted]
    ]
    assert both == [], "calls that were never accepted (True) or never refused (False)"
    assert set(played.outcomes) == {1, 2, 3}
    missing = set(Reason) - set(played.reasons)
    assert len(missing) <= RARE, missing


def test_a_run_of_the_tests_makes_ten_thousand_calls():
    assert CHUNKS * CALLS_A_CHUNK >= 10_000


def test_the_same_seed_plays_the_same_worlds():
    first, again, other = (play(seed, 300) for seed in ("a", "a", "b"))
    assert (first.counts, first.reasons) == (again.counts, again.reasons)
    assert first.counts != other.counts
