"""A chain that takes back what was read (anvil's snapshots), and one that is read later."""

import importlib.util
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

if importlib.util.find_spec("web3") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no web3 here: pip install 'colearn[evm]'", allow_module_level=True)

from tests.evm import FREE, anvil, paused
from tests.evm_proxy import proxy
from tests.logs import MODEL, RULES, SPECIFICATION, Group, digest

from colearn.core import calls
from colearn.core.events import Closed, Proposed, Skipped
from colearn.errors import LedgerError, LedgerTamperedError, LedgerUnavailableError
from colearn.identity import Key
from colearn.ledger.evm import EvmLedger, deploy

KEY = Key.from_seed(7, "deployer")


@pytest.fixture
def chain():
    with anvil(*FREE) as running:
        yield running


@pytest.fixture
def contract(chain):
    return deploy(chain.url, KEY)


def opened(chain, contract, **settings):
    return EvmLedger(f"{chain.url}/{contract}", **settings)


def closes(heard):
    return [event for each in heard for event in each.events if isinstance(event, Closed)]


@pytest.mark.parametrize("depth", [1, 5, 40])
def test_without_confirmations_a_view_follows_the_chain_to_its_new_line(chain, contract, depth):
    undone, heard = [], []
    with opened(chain, contract, undone=undone.append) as view, opened(chain, contract) as writer:
        view.listen(heard.append)
        group = Group([writer], size=3).establish()
        group.round()
        view.sync()
        place, before, snapshot = view.head, view.experiment(1), chain.ask("evm_snapshot")
        chain.mine(depth - 1)
        group.round()
        view.sync()
        assert view.experiment(1).counted == 2
        old = view.head
        chain.ask("evm_revert", snapshot)
        assert view.sync() == 0
        assert view.experiment(1) == before
        assert view.head == place
        assert undone == [place]
        chain.mine(depth + 20)
        told = len(heard)
        group.submit(1, calls.Skip(1, 2))
        assert group.seen().round.number == 3
        assert view.sync() == 1
        assert view.experiment(1) == writer.experiment(1)
        assert view.head != old
        assert type(heard[told].events[0]) is Skipped
        assert len(heard) == told + 1
        assert [each.outcome for each in closes(heard)] == [1, 1, 3]


def test_a_view_goes_back_also_when_the_new_line_is_longer_already(chain, contract):
    with opened(chain, contract) as view:
        group = Group([opened(chain, contract)], size=2).establish()
        snapshot = chain.ask("evm_snapshot")
        group.propose()
        view.sync()
        chain.ask("evm_revert", snapshot)
        chain.mine(3)
        group.propose()
        current = group.seen().round
        view.sync()
        assert view.experiment(1).round == current
        fresh = opened(chain, contract)
        fresh.sync()
        assert (fresh.head, fresh.experiment(1)) == (view.head, view.experiment(1))
        fresh.close()
        group.views[0].close()


def test_a_view_goes_back_further_than_it_keeps_places(chain, contract, monkeypatch):
    monkeypatch.setattr("colearn.ledger.evm._CHECKPOINTS", 4)
    with opened(chain, contract) as view:
        group = Group([view], size=3).establish()
        snapshot = chain.ask("evm_snapshot")
        for _ in range(3):
            group.round()
        chain.ask("evm_revert", snapshot)
        assert group.seen().counted == 0
        group.round()
        assert group.seen().counted == 1


def test_a_call_that_was_taken_back_can_be_made_again(chain, contract):
    with opened(chain, contract, patience_s=1) as view:
        group = Group([view], size=2).establish()
        snapshot = chain.ask("evm_snapshot")
        first = group.submit(0, calls.Skip(1, 1))
        chain.ask("evm_revert", snapshot)
        again = group.submit(0, calls.Skip(1, 1))
        assert [type(event) for event in again] == [type(event) for event in first]


def test_what_was_read_on_the_old_line_is_no_answer_on_the_new_one(chain, contract):
    create = calls.Create(SPECIFICATION, MODEL, RULES.to_word(), "")
    sent = []

    def remember(method, parameters):
        sent.extend(parameters if method == "eth_sendRawTransaction" else [])
        return parameters

    def lag(method, parameters, document):
        late = method == "eth_getBlockByNumber" and parameters[0] != "latest"
        return {**document, "result": None} if late else document

    with proxy(chain) as node, opened(node, contract, patience_s=0.3) as view:
        view.sync()
        node.question = remember
        with paused(chain):
            snapshot = chain.ask("evm_snapshot")
            with pytest.raises(LedgerUnavailableError):
                view.submit(KEY, create)
        assert view.sync() == 1
        chain.ask("evm_revert", snapshot)
        chain.mine(3)
        assert view.sync() == 0
        chain.ask("evm_setAutomine", True)
        chain.ask("eth_sendRawTransaction", sent[0])
        node.answer = lag
        with pytest.raises(LedgerUnavailableError, match="not confirmed yet"):
            view.submit(KEY, create)
        node.honest()
        assert view.submit(KEY, create)[0].experiment == 1


def test_a_chain_that_was_replaced_is_named(chain, contract):
    with opened(chain, contract) as view:
        Group([view], size=2).establish()
        chain.ask("anvil_reset")
        with pytest.raises(LedgerTamperedError, match="was replaced by one without it"):
            view.sync()


def test_a_contract_that_is_deployed_anew_on_the_new_line_is_read_from_there(chain):
    empty = chain.ask("evm_snapshot")
    chain.mine()
    contract = deploy(chain.url, KEY)
    with opened(chain, contract) as view:
        group = Group([view], size=2).establish()
        chain.ask("evm_revert", empty)
        chain.mine()
        assert deploy(chain.url, KEY) == contract
        assert view.sync() == 0
        with pytest.raises(LedgerError, match="no experiment 1"):
            view.experiment(1)
        group.establish()
        assert group.seen().roster.size == 2


def confirmed(chain, view, work):
    """Do something that waits for confirmations, while somebody else makes blocks."""
    with ThreadPoolExecutor(1) as threads:
        doing = threads.submit(work)
        limit = time.monotonic() + 60
        while not doing.done():
            assert time.monotonic() < limit
            time.sleep(0.03)
            chain.mine()
        return doing.result()


def test_with_confirmations_a_call_is_there_when_enough_blocks_stand_on_it(chain, contract):
    with opened(chain, contract, confirmations=3, patience_s=60) as view:
        create = calls.Create(SPECIFICATION, MODEL, RULES.to_word(), "")
        (created,) = confirmed(chain, view, lambda: view.submit(KEY, create))
        assert created.experiment == 1
        assert view.head.height <= chain.height - 3
        assert view.certified(1) == view.head.height
    with opened(chain, contract, confirmations=3, patience_s=0.3) as impatient:
        impatient.sync()
        with pytest.raises(LedgerUnavailableError, match="not confirmed yet"):
            impatient.submit(KEY, create)
        chain.mine(3)
        (created,) = impatient.submit(KEY, create)
        assert created.experiment == 2


def test_what_is_not_confirmed_can_be_taken_back_unseen(chain, contract):
    with (
        opened(chain, contract) as writer,
        opened(chain, contract, confirmations=5) as view,
    ):
        group = Group([writer], size=2).establish()
        chain.mine(5)
        view.sync()
        snapshot = chain.ask("evm_snapshot")
        group.propose()
        assert view.sync() == 0
        chain.ask("evm_revert", snapshot)
        group.submit(0, calls.Skip(1, 1))
        chain.mine(5)
        assert view.sync() == 1
        assert view.experiment(1).round.number == 2


def test_what_was_confirmed_and_is_taken_back_is_evidence_and_the_view_stops(chain, contract):
    with (
        opened(chain, contract) as writer,
        opened(chain, contract, confirmations=2) as view,
    ):
        group = Group([writer], size=2).establish()
        snapshot = chain.ask("evm_snapshot")
        group.propose()
        chain.mine(2)
        view.sync()
        old = view.head
        chain.ask("evm_revert", snapshot)
        with pytest.raises(LedgerUnavailableError, match="was read before"):
            view.sync()
        chain.mine(5)
        new = chain.ask("eth_getBlockByNumber", hex(old.height), False)["hash"]
        with pytest.raises(LedgerTamperedError) as caught:
            view.sync()
        assert (caught.value.entry, caught.value.rule) == (old.height, "7.8")
        assert old.digest in str(caught.value)
        assert new in str(caught.value)
        for use in (view.sync, lambda: view.wait(0), lambda: view.submit(KEY, calls.Leave(1))):
            with pytest.raises(LedgerTamperedError, match="took back"):
                use()
        assert view.head == old
        assert view.experiment(1).round.candidates == (digest("candidate", 1),)


def test_before_anything_was_read_the_chain_can_take_nothing_back(chain):
    snapshot = chain.ask("evm_snapshot")
    contract = deploy(chain.url, KEY)
    with opened(chain, contract, confirmations=4, start=chain.height + 1) as view:
        chain.ask("evm_revert", snapshot)
        chain.mine(2)
        assert deploy(chain.url, KEY) == contract
        chain.mine(8)
        assert view.sync() == 0


def test_a_view_hears_of_the_proposal_it_votes_on_in_its_new_form(chain, contract):
    """A ballot names what it judged, so it cannot count for what came in its place (7.4)."""
    with opened(chain, contract) as view:
        group = Group([view], size=3).establish()
        snapshot = chain.ask("evm_snapshot")
        group.propose()
        ballot = group.ballot()
        chain.ask("evm_revert", snapshot)
        heard = []
        view.listen(heard.append)
        group.propose()
        assert type(heard[0].events[0]) is Proposed
        with pytest.raises(LedgerError, match="other candidates"):
            group.submit(1, ballot)
        group.submit(1, group.ballot())
