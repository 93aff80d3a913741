"""One experiment on the three ledgers: the same decisions, and every audit passes (7.8)."""

import importlib.util
import os
import time
from contextlib import contextmanager

import numpy as np
import pytest

if (
    not (importlib.util.find_spec("web3") and importlib.util.find_spec("starlette"))
    and os.environ.get("COLEARN_REQUIRE_ALL") != "1"
):
    pytest.skip("no web3 or no starlette here: pip install 'colearn[all]'", allow_module_level=True)

from tests.evm import anvil
from tests.integration.runner import Walker
from tests.logs import served

from colearn.audit import Verdict, audit, open_source
from colearn.core import Outcome, Phase, Rules, calls
from colearn.core.bindings import ZERO
from colearn.core.events import Closed, Voted
from colearn.experiment.specification import specification_of
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger
from colearn.node import Node, Origin
from colearn.store import Archive, DirectoryStore
from colearn.weights import freeze
from colearn.worker import LocalWorker

SIZE, ROUNDS, EXPERIMENT = 5, 6, 1
RULES = Rules(propose_s=600, vote_s=600, rounds=ROUNDS)
MODEL = freeze({"w": np.zeros(40)})
KEYS = [Key.from_seed(7, f"walker-{place}") for place in range(SIZE)]


@contextmanager
def embedded(folder):
    EmbeddedLedger.create(folder / "ledger.db", KEYS[0].address, drift_s=5)
    yield lambda: EmbeddedLedger(folder / "ledger.db"), str(folder)


@contextmanager
def hosted(folder):
    from colearn.ledger.hosted import HostedLedger

    EmbeddedLedger.create(folder / "ledger.db", KEYS[0].address, drift_s=5)
    with served(folder / "ledger.db") as serving:
        yield lambda: HostedLedger(serving.url), serving.url


@contextmanager
def evm(folder):
    from colearn.ledger.evm import EvmLedger, deploy

    with anvil() as chain:
        chain.fund(*KEYS)
        url = f"{chain.url}/{deploy(chain.url, KEYS[0])}"
        yield lambda: EvmLedger(url), url


def played(view, folder):
    """Let five nodes, each with a view of its own, run the experiment; return what was decided."""
    archive = Archive(DirectoryStore(folder / "blobs"))
    specification = archive.store.put(specification_of(RULES, MODEL.digest, None))
    origin = Origin(specification, archive.put(MODEL))
    views = [view() for _ in range(SIZE)]
    heard = []
    views[0].listen(lambda happening: heard.extend(happening.events))
    views[0].submit(KEYS[0], calls.Create(specification, MODEL.digest, RULES.to_word(), ""))
    views[0].submit(KEYS[0], calls.Invite(EXPERIMENT, tuple(key.address for key in KEYS)))
    for own, key in zip(views, KEYS, strict=True):
        own.submit(key, calls.Join(EXPERIMENT, specification, MODEL.digest, ZERO))
    views[0].sync()
    roster = views[0].experiment(EXPERIMENT).roster.digest
    views[0].submit(KEYS[0], calls.Start(EXPERIMENT, roster))
    walkers = [Walker(place) for place in range(len(KEYS))]
    nodes = [
        Node(LocalWorker(walker, archive, origin.model), key, own, origin, name=f"walker-{place}")
        for place, (walker, key, own) in enumerate(zip(walkers, KEYS, views, strict=True))
    ]
    began = time.perf_counter()
    while sum(acted(node, own) for node, own in zip(nodes, views, strict=True)):
        pass
    print(f"{(time.perf_counter() - began) / ROUNDS:.3f} s a round")
    for own in views:
        own.sync()
        assert own.experiment(EXPERIMENT).phase is Phase.OVER
        assert own.experiment(EXPERIMENT).round.todo == 0
        assert own.head == views[0].head
        own.close()
    for walker in walkers:
        assert freeze({"w": walker.model}).digest == own.experiment(EXPERIMENT).model
    decided = [
        (event.round_number, event.proposer, event.result, event.model)
        for event in heard
        if isinstance(event, Closed)
    ]
    ballots = [
        (event.round_number, event.voter, event.not_worse, event.note)
        for event in heard
        if isinstance(event, Voted)
    ]
    return decided, ballots


def acted(node, own):
    own.sync()
    return node.step()


def test_the_same_experiment_is_decided_alike_on_every_ledger_and_audits_pass(tmp_path):
    results = {}
    for adapter in (embedded, hosted, evm):
        folder = tmp_path / adapter.__name__
        folder.mkdir()
        print(adapter.__name__)
        with adapter(folder) as (view, where):
            results[adapter.__name__] = played(view, folder)
            report = audit(open_source(where, folder / "blobs"))
            assert report.passed, report
            done = {check.number for check in report.checks if check.verdict is Verdict.PASSED}
            assert done >= {3, 4, 5, 6, 7, 8, 9}
            assert report.kind == adapter.__name__
    decided, ballots = results["embedded"]
    assert results["hosted"] == results["evm"] == (decided, ballots)
    assert len(decided) == ROUNDS
    assert len(ballots) == ROUNDS * (SIZE - 1)
    assert {outcome for *_, outcome, _ in decided} == {Outcome.ACCEPTED, Outcome.REJECTED}
