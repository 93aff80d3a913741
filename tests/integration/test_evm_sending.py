"""Transactions that wait, are lost, are overtaken, or cost too much; on a real chain (anvil)."""

import importlib.util
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

if importlib.util.find_spec("web3") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no web3 here: pip install 'colearn[evm]'", allow_module_level=True)

from tests.evm import FREE, anvil, paused, signed_elsewhere, spent, wait_for_pool
from tests.evm_proxy import proxy
from tests.logs import MODEL, RULES, SPECIFICATION, Group, shifted

from colearn.core import Phase, calls
from colearn.core.events import Closed, Created, Opened, Skipped, Voted
from colearn.errors import (
    LedgerConflictError,
    LedgerRejectedError,
    LedgerUnavailableError,
)
from colearn.identity import Key
from colearn.ledger.evm import EvmLedger, deploy

KEYS = [Key.from_seed(7, f"member {index}") for index in range(5)]
CREATE = calls.Create(SPECIFICATION, MODEL, RULES.to_word(), "")


@pytest.fixture(scope="module")
def chain():
    with anvil() as running:
        running.fund(*KEYS)
        yield running


@pytest.fixture
def contract(chain):
    return deploy(chain.url, KEYS[0])


@pytest.fixture
def view(chain, contract):
    with EvmLedger(f"{chain.url}/{contract}", patience_s=0.3) as opened:
        yield opened


def tried_in_the_newest_block(method, parameters):
    tried = method in ("eth_estimateGas", "eth_call")
    return ["latest" if tried and each == "pending" else each for each in parameters]


def test_voters_of_one_block_have_gas_enough_to_close_the_round(chain, contract, view):
    group = Group([view], size=5).establish()
    for member in (3, 4):
        group.submit(member, calls.Leave(1))
    proposer = group.propose()
    ballot = group.ballot()
    voters = [member for member in range(5) if member != proposer]

    def vote(member):
        with EvmLedger(f"{node.url}/{contract}", patience_s=60) as own:
            return own.submit(group.keys[member], ballot)

    with proxy(chain) as node, ThreadPoolExecutor(len(voters)) as threads:
        # A node that tries calls behind what waits already would know who comes last.
        node.question = tried_in_the_newest_block
        with paused(chain):
            voting = [threads.submit(vote, member) for member in voters]
            wait_for_pool(chain, len(voters))
        made_known = [each.result() for each in voting]
    # Each was tried as one that closes nothing; the last one closed the round and let two go.
    assert sorted(map(len, made_known)) == [1, 1, 1, 3]
    last = max(made_known, key=len)
    assert [type(event) for event in last] == [Voted, Closed, Opened]
    assert group.seen().counted == 1
    assert group.seen().roster.size == 3


def test_a_call_that_is_overtaken_in_its_block_is_refused_for_the_exact_reason(
    chain, contract, view
):
    group = Group([view], size=2).establish(shifted(RULES, propose_s=1))
    while view.now() <= group.seen().round.deadline:
        time.sleep(0.1)
    advance = calls.Advance(1, 1, int(Phase.PROPOSE))
    faster = signed_elsewhere(chain, KEYS[3], contract, advance, price=10**11)

    def overtake(method, parameters):
        if method == "eth_sendRawTransaction":
            chain.ask(method, faster)
        return parameters

    with (
        proxy(chain) as node,
        EvmLedger(f"{node.url}/{contract}", patience_s=60) as own,
        ThreadPoolExecutor(1) as threads,
    ):
        node.question = overtake
        with paused(chain):
            ending = threads.submit(own.submit, KEYS[0], advance)
            wait_for_pool(chain, 2)
        with pytest.raises(LedgerRejectedError) as caught:
            ending.result()
    assert caught.value.reason == "another phase or round"
    assert "in block" in str(caught.value)
    assert group.seen().round.number == 2


def test_a_call_whose_answer_was_lost_is_not_made_twice(chain, view):
    before = spent(chain, KEYS[0])[0]
    with paused(chain):
        for _ in range(3):
            with pytest.raises(LedgerUnavailableError, match="has not been mined yet"):
                view.submit(KEYS[0], CREATE)
        waiting = chain.ask("txpool_status")
        assert int(waiting["pending"], 16) + int(waiting["queued"], 16) == 1
    (created,) = view.submit(KEYS[0], CREATE)
    assert (type(created), created.experiment) == (Created, 1)
    assert spent(chain, KEYS[0])[0] == before + 1
    # Now that its fate is known, the same again is another one.
    assert view.submit(KEYS[0], CREATE)[0].experiment == 2


def test_an_act_whose_answer_was_lost_is_neither_made_twice_nor_refused_as_the_second(chain, view):
    group = Group([view], size=2).establish()
    with paused(chain):
        for _ in range(3):
            with pytest.raises(LedgerUnavailableError, match="has not been mined yet"):
                group.submit(0, calls.Skip(1, 1))
    assert type(group.submit(0, calls.Skip(1, 1))[0]) is Skipped
    assert group.seen().round.number == 2


def test_a_version_that_the_node_does_not_take_leaves_the_first_one_in_its_place(chain, contract):
    with proxy(chain) as node, EvmLedger(f"{node.url}/{contract}", patience_s=0.3) as view:
        with paused(chain):
            with pytest.raises(LedgerUnavailableError, match="has not been mined yet"):
                view.submit(KEYS[0], CREATE)

            def refuse(method, _, document):
                error = {"code": -32000, "message": "insufficient funds for gas"}
                sent = method == "eth_sendRawTransaction"
                return {"jsonrpc": "2.0", "id": 1, "error": error} if sent else document

            node.answer = refuse
            # Swallowed on its way to the chain as well.
            node.question = lambda method, asked: (
                ["0x00"] if method == "eth_sendRawTransaction" else asked
            )
            with pytest.raises(LedgerUnavailableError, match="coins of the chain"):
                view.submit(KEYS[0], CREATE)
            node.honest()
        assert view.submit(KEYS[0], CREATE)[0].experiment == 1
        view.sync()
        assert view.experiment(1).creator == KEYS[0].address
        assert len(view._state.book.experiments) == 1


def test_a_lost_call_is_done_also_for_who_looks_at_the_ledger_in_between(chain, view):
    group = Group([view], size=2).establish()
    with paused(chain), pytest.raises(LedgerUnavailableError):
        group.submit(0, calls.Skip(1, 1))
    assert view.sync() == 1
    assert group.seen().round.number == 2
    assert type(group.submit(0, calls.Skip(1, 1))[0]) is Skipped
    with pytest.raises(LedgerRejectedError, match="another phase or round"):
        group.submit(0, calls.Skip(1, 1))


def test_another_call_takes_the_place_of_one_that_is_stuck(chain, view):
    group = Group([view], size=3).establish()
    with paused(chain):
        with pytest.raises(LedgerUnavailableError):
            group.submit(0, calls.Skip(1, 1))
        with pytest.raises(LedgerUnavailableError):
            group.submit(0, calls.Leave(1))
        assert int(chain.ask("txpool_status")["pending"], 16) == 1
    (left,) = group.submit(0, calls.Leave(1))
    assert left.member == group.address(0)
    assert group.seen().round.number == 1


def test_a_transaction_of_another_program_in_ones_place_is_a_conflict(chain, contract):
    with EvmLedger(f"{chain.url}/{contract}", patience_s=60) as view:
        group = Group([view], size=2).establish()
        with ThreadPoolExecutor(1) as threads, paused(chain):
            first = threads.submit(view.submit, KEYS[0], calls.Skip(1, 1))
            wait_for_pool(chain, 1)
            other = signed_elsewhere(chain, KEYS[0], contract, calls.Leave(1), price=10**11)
            chain.ask("eth_sendRawTransaction", other)
            chain.mine()
            with pytest.raises(LedgerConflictError, match="took the place of this one"):
                first.result()
        assert group.seen().roster.leaving == 1
        assert type(view.submit(KEYS[0], calls.Skip(1, 1))[0]) is Skipped


def test_a_number_that_another_program_takes_first_is_tried_once_more(chain, contract):
    with proxy(chain) as node, EvmLedger(f"{node.url}/{contract}", patience_s=5) as view:
        taken = 0

        def take(method, parameters):
            nonlocal taken
            if method == "eth_sendRawTransaction" and taken < tries:
                taken += 1
                other = signed_elsewhere(chain, KEYS[1], contract, CREATE, price=10**11)
                chain.ask("eth_sendRawTransaction", other)
                while chain.ask("txpool_status")["pending"] != "0x0":
                    time.sleep(0.01)
            return parameters

        node.question, tries = take, 1
        assert type(view.submit(KEYS[1], CREATE)[0]) is Created
        taken, tries = 0, 2
        with pytest.raises(LedgerConflictError, match="at the same time"):
            view.submit(KEYS[1], CREATE)
        assert view.sync() == 2


def test_behind_a_dearer_transaction_of_another_program_one_waits_in_line(chain, contract):
    with proxy(chain) as node, EvmLedger(f"{node.url}/{contract}", patience_s=60) as view:
        other = signed_elsewhere(chain, KEYS[2], contract, CREATE, price=10**11)

        def come_first(method, parameters):
            if method == "eth_sendRawTransaction":
                chain.answer({"id": 1, "method": method, "params": [other], "jsonrpc": "2.0"})
            return parameters

        node.question = come_first
        with ThreadPoolExecutor(1) as threads:
            with paused(chain):
                second = threads.submit(view.submit, KEYS[2], CREATE)
                wait_for_pool(chain, 2)
            assert second.result()[0].experiment == 2


def test_nothing_dearer_than_allowed_is_sent(chain, contract):
    before = spent(chain, KEYS[2])
    with (
        EvmLedger(f"{chain.url}/{contract}", max_fee_wei=1) as view,
        pytest.raises(LedgerUnavailableError, match="max_fee_wei"),
    ):
        view.submit(KEYS[2], CREATE)
    assert spent(chain, KEYS[2]) == before
    gas = 230_000
    newest = chain.ask("eth_getBlockByNumber", "latest", False)
    enough = gas * (int(newest["baseFeePerGas"], 16) + 10**9)
    with EvmLedger(f"{chain.url}/{contract}", max_fee_wei=enough) as view:
        view.submit(KEYS[2], CREATE)
    assert before[1] - spent(chain, KEYS[2])[1] <= enough


def test_a_key_without_coins_is_told_where_to_send_them(chain, contract):
    poor = Key.from_seed(7, "poor")
    with (
        EvmLedger(f"{chain.url}/{contract}") as view,
        pytest.raises(LedgerUnavailableError, match=f"coins of the chain to {poor.address}"),
    ):
        view.submit(poor, CREATE)
    with pytest.raises(LedgerUnavailableError, match="coins of the chain"):
        deploy(chain.url, poor)


def test_what_the_rules_refuse_is_refused_also_for_who_cannot_pay(chain, contract):
    with (
        EvmLedger(f"{chain.url}/{contract}") as view,
        pytest.raises(LedgerRejectedError, match="not running"),
    ):
        view.submit(Key.from_seed(7, "poor"), calls.Leave(1))


@pytest.mark.parametrize(
    ("hardfork", "options"),
    [("berlin", ()), ("berlin", ("--gas-price", "0")), ("london", FREE), ("london", ("-b", "1"))],
    ids=["without base fee", "without base fee, free", "free", "a block a second"],
)
def test_chains_with_other_fees_and_rhythms(hardfork, options):
    with anvil(*options, hardfork=hardfork) as other:
        if "0" not in options:
            other.fund(*KEYS)
            time.sleep(1.5 if "-b" in options else 0)
        contract = deploy(other.url, KEYS[0])
        with EvmLedger(f"{other.url}/{contract}", max_fee_wei=10**17) as view:
            group = Group([view], size=2).establish()
            group.round()
            assert group.seen().counted == 1


def test_a_node_without_tips_and_one_that_tries_calls_in_old_time(chain, contract):
    """Some nodes know no eth_maxPriorityFeePerGas, and take "pending" for the newest block."""

    def poorer(method, _, document):
        if method == "eth_maxPriorityFeePerGas":
            return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "unknown"}}
        if "error" in document and method == "eth_estimateGas":
            return {**document, "error": {"code": -32000, "message": "it reverts"}}
        return document

    ahead = 0
    with proxy(chain) as node:
        node.question, node.answer = tried_in_the_newest_block, poorer
        view = EvmLedger(f"{node.url}/{contract}", clock=lambda: int(time.time()) + ahead)
        group = Group([view], size=2).establish(shifted(RULES, propose_s=30))
        advance = calls.Advance(1, 1, int(Phase.PROPOSE))
        with pytest.raises(LedgerRejectedError, match="deadline has not passed"):
            group.submit(1, advance)
        ahead = 31
        chain.pass_s(70)
        # By the own clock it is over, but the chain may make blocks yet.
        with pytest.raises(LedgerRejectedError, match="deadline has not passed"):
            group.submit(1, advance)
        ahead = 70
        assert len(group.submit(1, advance)) == 3
        view.close()


def test_a_signature_and_a_secret_leave_no_trace(chain, contract, caplog):
    caplog.set_level("DEBUG")
    key = KEYS[3]
    secret = key.reveal_secret()
    with EvmLedger(f"{chain.url}/{contract}", max_fee_wei=1) as view:
        with pytest.raises(LedgerUnavailableError) as caught:
            view.submit(key, CREATE)
        held = repr(vars(view)) + repr(vars(view._sender))
    said = caplog.text + str(caught.value) + held
    assert secret.hex() not in said
    assert str(int.from_bytes(secret, "big")) not in said
    assert repr(secret) not in said
