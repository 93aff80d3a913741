"""A node of the chain that lies, or answers with anything at all: named, or an unavailable ledger."""

import importlib.util
import json
import os
import random
import subprocess
import sys

import pytest

if importlib.util.find_spec("web3") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no web3 here: pip install 'colearn[evm]'", allow_module_level=True)

from tests.evm import FREE, anvil
from tests.evm_proxy import Raw, proxy
from tests.logs import MODEL, RULES, SPECIFICATION, Group

from colearn.core import calls
from colearn.errors import ColearnError, LedgerTamperedError, LedgerUnavailableError
from colearn.identity import Key
from colearn.ledger.evm import EvmLedger, deploy
from colearn.ledger.evm_session import ANSWER_BYTES_MAX

SEED = int(os.environ.get("COLEARN_SEED", "1"))
KEY = Key.from_seed(7, "member 0")
CREATE = calls.Create(SPECIFICATION, MODEL, RULES.to_word(), "")


@pytest.fixture(scope="module")
def chain():
    with anvil(*FREE) as running:
        yield running


@pytest.fixture(scope="module")
def contract(chain):
    """A contract on which three members have played some rounds."""
    contract = deploy(chain.url, KEY)
    with EvmLedger(f"{chain.url}/{contract}") as view:
        group = Group([view], size=3).establish()
        for index in range(3):
            group.round(approve=index != 1)
    return contract


@pytest.fixture
def node(chain):
    with proxy(chain) as running:
        yield running


def opened(node, contract, **settings):
    return EvmLedger(f"{node.url}/{contract}", **{"timeout_s": 5.0, "start": 1, **settings})


def logs_of(chain, contract):
    wanted = {"address": contract, "fromBlock": "0x0", "toBlock": "latest"}
    return chain.ask("eth_getLogs", wanted)


def flipped(text, place):
    digit = "0123456789abcdef".index(text[place])
    return text[:place] + "0123456789abcdef"[digit ^ 1] + text[place + 1 :]


def same(log, other):
    return (log["transactionHash"], log["logIndex"]) == (
        other["transactionHash"],
        other["logIndex"],
    )


def number_of(log):
    return int(log["blockNumber"], 16)


def error_of(node, contract):
    """What a fresh view finds against the node; None if nothing."""
    with opened(node, contract) as view:
        try:
            view.sync()
        except LedgerTamperedError as error:
            return error
    return None


def test_an_honest_proxy_is_believed(node, chain, contract):
    transactions = {log["transactionHash"] for log in logs_of(chain, contract)}
    with opened(node, contract) as view:
        assert view.sync() == len(transactions) == 15
        assert view.experiment(1).counted == 3


def test_a_changed_event_is_named_with_its_block_and_transaction(node, chain, contract):
    print(f"COLEARN_SEED={SEED}")
    chance, logs, named = random.Random(SEED), logs_of(chain, contract), 0
    for log in logs:
        for wrong in changed(chance, log):
            node.result("eth_getLogs", lambda found, w=wrong: replaced(found, w))
            error = error_of(node, contract)
            if error is None:
                # A note or the moments of a member: its own word, which nobody can check.
                assert wrong["topics"] == log["topics"]
                assert differs_only_behind(log, wrong)
                continue
            named += 1
            assert number_of(log) <= error.entry <= number_of(logs[-1])
            assert error.rule in ("7.3", "7.8")
            assert "transaction 0x" in str(error)
    assert named > 3 * len(logs)


def changed(chance, log):
    """The log with a digit of a topic or of its data changed, or with less data."""
    place = chance.randrange(len(log["topics"]))
    topics = list(log["topics"])
    topics[place] = flipped(topics[place], chance.randrange(2, 66))
    yield {**log, "topics": topics}
    yield {**log, "topics": log["topics"][:-1]}
    yield {**log, "data": "0x12"}
    if len(log["data"]) > 2:
        yield {**log, "data": flipped(log["data"], chance.randrange(2, len(log["data"])))}
        yield {**log, "data": log["data"][:-64]}


def differs_only_behind(log, wrong):
    """Whether only the last two words of an event's data differ, and not their number."""
    data, other = log["data"], wrong["data"]
    return len(data) == len(other) and data[: -2 * 64] == other[: -2 * 64]


def replaced(found, wrong):
    return [wrong if same(wrong, each) else each for each in found]


def without(found, log):
    return [each for each in found if not same(log, each)]


def test_an_event_that_is_left_out_is_named(node, chain, contract):
    for log in logs_of(chain, contract):
        node.result("eth_getLogs", lambda found, log=log: without(found, log))
        assert error_of(node, contract).entry >= number_of(log)


def test_an_event_that_is_there_twice_is_named(node, chain, contract):
    logs = logs_of(chain, contract)
    invitation = logs[1]["topics"][0]
    for log in logs:
        again = {**log, "logIndex": hex(10**6)}
        node.result(
            "eth_getLogs",
            lambda found, log=log, again=again: (
                found + [again for each in found if same(log, each)]
            ),
        )
        # Who is invited twice is invited; everything else happens once.
        if log["topics"][0] != invitation:
            assert error_of(node, contract).entry == number_of(log)


def test_a_transaction_that_is_kept_back_is_named_when_it_is_built_on(node, chain, contract):
    transactions = list(dict.fromkeys(log["transactionHash"] for log in logs_of(chain, contract)))
    for kept_back in transactions[:-1]:
        node.result(
            "eth_getLogs",
            lambda found, w=kept_back: [each for each in found if each["transactionHash"] != w],
        )
        assert error_of(node, contract) is not None


def test_the_own_call_cannot_be_kept_back(node, contract):
    with opened(node, contract) as view:
        view.sync()
        node.result("eth_getLogs", lambda _: [])
        with pytest.raises(LedgerTamperedError, match="keeps its events back"):
            view.submit(KEY, CREATE)


def test_events_of_another_place_are_no_answer(node, contract):
    other = {"address": "0x" + "12" * 20}, {"removed": True}, {"blockNumber": "0xfffff"}
    wrong = (*other, {"blockHash": "0x" + "12" * 32}, {"logIndex": "0x0"})
    for change in wrong:
        node.result("eth_getLogs", lambda found, c=change: [{**each, **c} for each in found])
        with opened(node, contract) as view, pytest.raises(LedgerUnavailableError):
            view.sync()


def test_importing_the_ledger_leaves_the_recursion_limit_alone():
    """Without it, JSON that is nested deeply enough would kill the process."""
    code = "import sys; before = sys.getrecursionlimit(); import colearn.ledger.evm; "
    code += "assert sys.getrecursionlimit() == before; import json; json.loads('[' * 10**6)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RecursionError" in done.stderr


JUNK = (
    None, True, -1, 0.5, "", "0xzz", "0x" + "f" * 65, "0x" + "f" * 64, [], [None], {},
    {"number": "0x1"}, "\x1b[31m" * 100, "x" * 10**6,
)  # fmt: skip
METHODS = (
    "eth_chainId", "eth_getCode", "eth_getBlockByNumber", "eth_getLogs", "eth_estimateGas",
    "eth_gasPrice", "eth_maxPriorityFeePerGas", "eth_getTransactionCount", "eth_sendRawTransaction",
    "eth_getTransactionReceipt",
)  # fmt: skip


def used(node, contract):
    with opened(node, contract, patience_s=0.2) as view:
        view.sync()
        view.submit(KEY, CREATE)


@pytest.mark.parametrize("method", METHODS)
def test_junk_in_the_place_of_an_answer_is_an_error_of_the_ledger(node, contract, method):
    for junk in JUNK:
        node.result(method, lambda _, j=junk: j)
        expect_error_or_success(node, contract)


@pytest.mark.parametrize("method", METHODS)
def test_junk_in_the_place_of_an_error_is_an_error_of_the_ledger(node, contract, method):
    errors = (
        0, "no", [], {}, {"code": 3}, {"code": 3, "message": None, "data": 5},
        {"code": 3, "message": "\x1b" * 9, "data": "0x08c379a0"},
        {"code": 3, "message": "execution reverted: not awaited", "data": {"data": "0x12"}},
        {"code": -32000, "message": "x" * 10**6, "data": "0x08c379a0" + "f" * 10**6},
    )  # fmt: skip
    for error in errors:

        def answer(asked, _, document, error=error):
            return {"jsonrpc": "2.0", "id": 1, "error": error} if asked == method else document

        node.answer = answer
        expect_error_or_success(node, contract)


def expect_error_or_success(node, contract):
    try:
        used(node, contract)
    except ColearnError as error:
        said = str(error)
        assert len(said) < 2500
        assert said.isprintable()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (Raw(b"hello"), "does not answer with JSON"),
        (Raw(b"\xff\xfe"), "does not answer with JSON"),
        (Raw(b"[" * 10**5), "does not answer with JSON"),
        (Raw(b'{"result": ' + b"9" * 10**5 + b"}"), "does not answer with JSON"),
        (Raw(b"[]"), "does not answer as JSON-RPC says"),
        (Raw(b"{}"), "does not answer as JSON-RPC says"),
        (Raw(b""), "does not answer with JSON"),
        (Raw(b"{}", status=500), "answers with status 500"),
        (Raw(b"{}", status=429), "answers with status 429"),
        (Raw(b"", status=302, headers=(("Location", "http://127.0.0.1:1/"),)), "elsewhere"),
        (Raw(b"{}", headers=(("Content-Encoding", "gzip"),)), "JSON"),
        (Raw(b'{"result": "' + b"x" * ANSWER_BYTES_MAX + b'"}'), "more than 33554432 bytes"),
        (Raw(json.dumps({"result": []}).encode() * 9, pause_s=0.05), "within 0.5 s"),
    ],
    ids=lambda value: None if isinstance(value, Raw) else value[:30],
)
def test_what_is_no_answer_ends_in_time_and_says_what_it_is(node, contract, raw, message):
    with opened(node, contract, timeout_s=0.5) as view:
        view.sync()
        node.answer = lambda *_: raw
        with pytest.raises(LedgerUnavailableError, match=message):
            view.sync()
        node.honest()
        view.sync()


def test_a_block_that_does_not_follow_the_one_before_is_not_read(node, chain, contract):
    with opened(node, contract) as view, EvmLedger(f"{chain.url}/{contract}") as writer:
        view.sync()
        head = view.head
        for _ in range(3):
            writer.submit(KEY, CREATE)
        wrong = hex(head.height + 1)

        def lie(method, parameters, document):
            if method == "eth_getBlockByNumber" and parameters[0] == wrong:
                other = {**document["result"], "parentHash": "0x" + "12" * 32}
                return {**document, "result": other}
            return document

        node.answer = lie
        with pytest.raises(LedgerUnavailableError, match="changed while it was read"):
            view.sync()
        assert view.head == head
        node.honest()
        assert view.sync() == 3


def test_a_node_that_is_gone_is_unavailable_and_comes_back(chain, contract):
    with proxy(chain) as running:
        view = opened(running, contract)
        view.sync()
    with pytest.raises(LedgerUnavailableError, match="cannot be reached"):
        view.sync()
    with pytest.raises(LedgerUnavailableError, match="cannot be reached"):
        opened(running, contract)
    view.close()


def test_no_error_shows_the_path_or_the_user_of_a_nodes_address(chain, contract):
    with proxy(chain) as running:
        host = running.url.removeprefix("evm+http://")
        view = EvmLedger(f"evm+http://user:SECRET@{host}/v3/SECRET/{contract}?k=SECRET")
        assert view.sync() > 0
        running.answer = lambda *_: Raw(b"{}", status=401)
        with pytest.raises(LedgerUnavailableError) as refused:
            view.sync()
    with pytest.raises(LedgerUnavailableError) as gone:
        view.sync()
    for caught in (refused, gone):
        assert "SECRET" not in str(caught.value)
        assert caught.value.__suppress_context__
    assert "SECRET" not in str(view.place)
    view.close()


def test_a_node_that_gives_few_blocks_at_once_is_asked_for_few(node, chain, contract):
    chain.mine(100)
    most = 3

    def answer(method, parameters, document):
        if method == "eth_getLogs" and "fromBlock" in parameters[0]:
            begin, end = (int(parameters[0][name], 16) for name in ("fromBlock", "toBlock"))
            if end - begin >= most:
                return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "too many"}}
        return document

    node.answer = answer
    with opened(node, contract) as view, EvmLedger(f"{chain.url}/{contract}") as honest:
        assert view.sync() == honest.sync()
        assert view.head == honest.head
    most = 0
    with opened(node, contract) as view, pytest.raises(LedgerUnavailableError, match="too many"):
        view.sync()


def test_a_node_that_has_forgotten_old_states_is_read_from_the_beginning(node, contract):
    def answer(method, parameters, document):
        if method == "eth_getCode" and parameters[1] != "latest":
            return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "pruned"}}
        return document

    node.answer = answer
    with opened(node, contract, start=None) as view:
        assert view.place.start == 1
        assert view.sync() > 0


def test_a_node_that_lags_behind_is_waited_for(node, chain, contract):
    with opened(node, contract) as view, EvmLedger(f"{chain.url}/{contract}") as writer:
        view.sync()
        number = writer.submit(KEY, CREATE)[0].experiment
        height = chain.height

        def answer(method, parameters, document):
            late = method == "eth_getBlockByNumber" and parameters[0] == hex(height)
            return {**document, "result": None} if late else document

        node.answer = answer
        assert view.sync() == 0
        node.honest()
        assert view.sync() == 1
        assert view.experiment(number).creator == KEY.address
