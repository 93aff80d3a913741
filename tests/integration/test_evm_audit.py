"""The audit of a contract on a real chain (anvil): what passes, and what is named."""

import importlib.util
import json
import os

import numpy as np
import pytest

if importlib.util.find_spec("web3") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no web3 here: pip install 'colearn[evm]'", allow_module_level=True)

from tests.evm import FREE, anvil
from tests.evm_proxy import proxy
from tests.integration.test_cli import colearn
from tests.logs import RULES, Group, shifted

from colearn.audit import Verdict, audit, open_source, parse_head
from colearn.core import calls
from colearn.core.bindings import ZERO
from colearn.errors import ConfigError, LedgerUnavailableError
from colearn.experiment.specification import specification_of
from colearn.identity import Key
from colearn.ledger.evm import EvmLedger, deploy
from colearn.store import DirectoryStore
from colearn.weights import freeze

KEYS = [Key.from_seed(7, f"member {index}") for index in range(3)]


@pytest.fixture(scope="module")
def chain():
    with anvil(*FREE) as running:
        yield running


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    return DirectoryStore(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def contract(chain, blobs):
    """Two experiments: one with weights that is over, and one in the middle of a vote."""
    contract = deploy(chain.url, KEYS[0])
    models = [freeze({"w": np.full(4, float(index))}) for index in range(4)]
    rules = shifted(RULES, rounds=3)
    specification = blobs.put(specification_of(rules, models[0].digest, None))
    for model in models:
        blobs.put(model.data)
    with EvmLedger(f"{chain.url}/{contract}") as view:
        origin = (specification, models[0].digest)
        view.submit(KEYS[0], calls.Create(*origin, rules.to_word(), ""))
        view.submit(KEYS[0], calls.Invite(1, tuple(key.address for key in KEYS)))
        for key in KEYS:
            view.submit(key, calls.Join(1, *origin, ZERO))
        view.submit(KEYS[0], calls.Start(1, view.experiment(1).roster.digest))
        for number, model in enumerate(models[1:], start=1):
            before = view.experiment(1)
            proposal = calls.Propose(1, number, before.model, 0, (model.digest,), "")
            view.submit(KEYS[number - 1], proposal)
            ballot = calls.Vote(1, number, view.experiment(1).round.key, int(number != 2), 0, ZERO)
            for place, key in enumerate(KEYS):
                if place != number - 1:
                    view.submit(key, ballot)
        for key in KEYS:
            view.submit(key, calls.Confirm(1, view.experiment(1).model))
        group = Group([view], size=3).establish()
        group.round()
        group.propose()
        group.submit(0, group.ballot())
    return contract


@pytest.fixture
def node(chain):
    with proxy(chain) as running:
        yield running


def checks_of(report):
    return {check.number: check for check in report.checks}


def test_an_honest_chain_passes(chain, contract, blobs):
    newest = chain.ask("eth_getBlockByNumber", "latest", False)
    head = f"{int(newest['number'], 16)}:{newest['hash'][2:]}"
    url = f"{chain.url}/{contract}"
    report = audit(open_source(url, blobs.path), head=parse_head(head))
    assert report.passed
    assert f"{report.height}:{report.head}" == head
    assert report.kind == "evm"
    checks = checks_of(report)
    verdicts = {number: check.verdict for number, check in checks.items()}
    assert {number for number in verdicts if verdicts[number] is Verdict.NOT_DONE} == {1, 2}
    assert set(verdicts) == {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 14}
    assert checks[6].detail == "4 rounds recounted"
    assert checks[9].detail.endswith("of 2 experiments those of 1")
    assert "29 calls" in checks[13].detail
    assert "words of its storage" in checks[13].detail
    assert "up to block" in checks[8].detail


def test_without_blobs_and_a_head_the_rest_is_checked(chain, contract, tmp_path):
    checks = checks_of(audit(open_source(f"{chain.url}/{contract}")))
    assert checks[9].verdict is Verdict.NOT_DONE
    assert "--blobs" in checks[9].detail
    # Blobs of other experiments are no blobs of these.
    (tmp_path / ("ab" * 32)).write_bytes(b"something")
    checks = checks_of(audit(open_source(f"{chain.url}/{contract}", tmp_path)))
    assert checks[9].verdict is Verdict.NOT_DONE
    assert 14 not in checks
    assert checks[13].verdict is Verdict.PASSED


def test_a_damaged_blob_and_an_unknown_head_are_named(chain, contract, blobs, tmp_path):
    other = DirectoryStore(tmp_path / "blobs")
    for path in blobs.path.iterdir():
        other.put(path.read_bytes())
    model = freeze({"w": np.full(4, 1.0)}).digest
    (other.path / model).write_bytes(b"something else")
    url = f"{chain.url}/{contract}"
    report = audit(open_source(url, other.path), head=parse_head(f"3:{'ab' * 32}"))
    checks = checks_of(report)
    assert [finding.rule for finding in checks[9].findings][:1] == ["6.3"]
    (finding,) = checks[14].findings
    assert (finding.entry, finding.expected) == (3, f"hash {'ab' * 32}")
    (finding,) = checks_of(audit(open_source(url), head=parse_head(f"{10**6}:{'ab' * 32}")))[
        14
    ].findings
    assert finding.found == "no such block"


def test_an_event_that_was_changed_is_named_by_block_rule_and_both_sides(node, contract):
    def lie(found):
        return [
            {**log, "data": log["data"][:-1] + "e"} if len(log["topics"]) == 3 else log
            for log in found
        ]

    node.result("eth_getLogs", lie)
    report = audit(open_source(f"{node.url}/{contract}"))
    assert not report.passed
    (finding,) = checks_of(report)[13].findings
    assert finding.rule in ("7.3", "7.8")
    assert finding.entry > 1
    assert "0x" in finding.found


def test_an_end_that_the_events_do_not_show_is_seen_in_the_storage(node, chain, contract):
    logs = chain.ask("eth_getLogs", {"address": contract, "fromBlock": "0x0", "toBlock": "latest"})
    last = logs[-1]["transactionHash"]
    node.result(
        "eth_getLogs", lambda found: [log for log in found if log["transactionHash"] != last]
    )
    findings = checks_of(audit(open_source(f"{node.url}/{contract}")))[13].findings
    assert any("cast: the contract has 1, the rules have 0" in each.found for each in findings)


def test_experiments_that_the_events_do_not_show_are_seen_in_the_storage(node, contract):
    def lie(method, parameters, document):
        counter = method == "eth_getStorageAt" and int(parameters[1], 16) < 2
        return {**document, "result": "0x" + "00" * 31 + "09"} if counter else document

    node.answer = lie
    findings = checks_of(audit(open_source(f"{node.url}/{contract}")))[13].findings
    assert [(each.expected, each.found) for each in findings] == [("2 experiments", "9")]


def test_a_node_without_old_storage_says_so_and_a_silent_one_is_unavailable(node, contract):
    def refuse(method, _, document):
        if method == "eth_getStorageAt":
            return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "pruned"}}
        return document

    node.answer = refuse
    report = audit(open_source(f"{node.url}/{contract}"))
    assert report.passed
    assert "the node does not show it" in checks_of(report)[13].detail
    source = open_source(f"{node.url}/{contract}")
    node.answer = lambda method, _, document: {} if method == "eth_getLogs" else document
    with pytest.raises(LedgerUnavailableError):
        audit(source)


def test_what_cannot_be_audited_says_why(chain, contract, tmp_path):
    with pytest.raises(ConfigError, match="There is no folder"):
        open_source(f"{chain.url}/{contract}", tmp_path / "nothing")
    with pytest.raises(ConfigError, match="There is no contract"):
        open_source(f"{chain.url}/0x{'12' * 20}")
    with pytest.raises(ConfigError, match="0xCONTRACT"):
        open_source(chain.url)


def test_the_command_audits_a_chain(chain, contract, blobs, tmp_path):
    url = f"{chain.url}/{contract}"
    run = colearn("audit", url, "--blobs", str(blobs.path), "--json", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document["passed"] is True
    assert document["kind"] == "evm"
    head = f"{document['height']}:{document['head']}"
    shown = colearn("audit", url, "--head", head, cwd=tmp_path)
    assert shown.returncode == 0
    assert "the chain itself verifies who makes them" in shown.stdout
    wrong = colearn("audit", url, "--head", f"2:{'ab' * 32}", cwd=tmp_path)
    assert wrong.returncode == 9
    nowhere = colearn("audit", "evm+http://127.0.0.1:1/" + contract, cwd=tmp_path)
    assert nowhere.returncode == 7
    assert "cannot be reached" in nowhere.stderr
