"""The EVM ledger on a real chain (anvil): deploying, calling, reading, paying."""

import importlib.util
import os
import time

import pytest

if importlib.util.find_spec("web3") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no web3 here: pip install 'colearn[evm]'", allow_module_level=True)

from tests.evm import FREE, anvil, spent
from tests.logs import MODEL, RULES, SPECIFICATION, Group, SetClock, digest, shifted

from colearn.core import Phase, calls
from colearn.core.bindings import ZERO, ballot_digest
from colearn.core.calls import SignedBallot
from colearn.core.events import Closed, Missed, Opened, Voted
from colearn.core.experiment import NOBODY
from colearn.errors import (
    ConfigError,
    LedgerRejectedError,
    LedgerTamperedError,
    LocalProtocolError,
)
from colearn.identity import Key
from colearn.ledger.evm import EvmLedger, deploy

SIZE = 3
KEYS = [Key.from_seed(7, f"member {index}") for index in range(5)]
OUTSIDER = Key.from_seed(7, "outsider")


@pytest.fixture(scope="module")
def chain():
    with anvil() as running:
        running.fund(*KEYS, OUTSIDER)
        yield running


@pytest.fixture(scope="module")
def free_chain():
    with anvil(*FREE) as running:
        yield running


@pytest.fixture
def opened():
    views = []

    def open_view(chain, contract, **settings):
        views.append(EvmLedger(f"{chain.url}/{contract}", **settings))
        return views[-1]

    yield open_view
    for view in views:
        view.close()


@pytest.fixture
def contract(chain):
    return deploy(chain.url, KEYS[0])


def test_three_members_with_a_view_each_and_one_that_comes_later_see_the_same(
    chain, contract, opened
):
    views = [opened(chain, contract) for _ in range(SIZE)]
    heard = []
    views[0].listen(heard.append)
    group = Group(views, size=SIZE).establish(shifted(RULES, rounds=4))
    group.round()
    later, heard_later = opened(chain, contract), []
    later.listen(heard_later.append)
    while group.seen().phase is not Phase.OVER:
        group.round(approve=group.seen().round.number != 2)
    for member in range(SIZE):
        group.submit(member, calls.Confirm(1, group.seen().model))
    for view in (*views, later):
        view.sync()
        assert view.experiment(1) == views[0].experiment(1)
        assert view.head == views[0].head
        assert view.certified(1) == view.head.height == chain.height
    newest = chain.ask("eth_getBlockByNumber", hex(chain.height), False)
    assert str(later.head) == f"{chain.height}:{newest['hash'][2:]}"
    assert heard_later == heard
    assert views[0].experiment(1).counted == 4
    assert views[0].experiment(1).round.todo == 0
    signers = {happening.signer for happening in heard}
    assert signers == {group.address(member) for member in range(SIZE)}


def test_an_open_view_says_where_the_contract_is(chain, contract, opened):
    view = opened(chain, contract)
    assert view.place.start == chain.height
    assert str(view.place).startswith(f"{chain.url}/0x")
    chain.mine(40)
    again = opened(chain, contract)
    assert again.place.start == view.place.start
    assert opened(chain, f"{contract}@{view.place.start}").place == again.place
    assert opened(chain, contract, start=0).place.start == 1


@pytest.mark.parametrize(
    ("member", "call", "reason"),
    [
        (1, calls.Start(1, ZERO), "only the creator may"),
        (0, calls.Start(1, ZERO), "already started"),
        (0, calls.Join(1, SPECIFICATION, MODEL, ZERO), "not invited"),
        (1, calls.Propose(1, 1, MODEL, 0, (digest("c"),), ""), "not your turn"),
        (0, calls.Propose(1, 1, digest("x"), 0, (digest("c"),), ""), "parent is not the model"),
        (0, calls.Propose(1, 1, MODEL, 0, (), ""), "no candidate"),
        (1, calls.Vote(1, 1, ZERO, 1, 0, ZERO), "another phase or round"),
        (2, calls.Advance(1, 1, 2), "deadline has not passed"),
        (2, calls.Wake(1), "nothing missed"),
        (0, calls.Create(SPECIFICATION, MODEL, 0, ""), "threshold out of range"),
        (0, calls.Leave(9), "not running"),
    ],
)
def test_a_refusal_has_the_exact_reason_and_costs_nothing(
    chain, contract, opened, member, call, reason
):
    group = Group([opened(chain, contract)], size=SIZE).establish()
    before = spent(chain, group.keys[member])
    with pytest.raises(LedgerRejectedError) as caught:
        group.submit(member, call)
    assert caught.value.reason == reason
    assert spent(chain, group.keys[member]) == before


def test_the_contract_counts_seconds_of_the_drift(chain, opened):
    contract = deploy(chain.url, KEYS[0], 5)
    clock = SetClock(int(time.time()) + 10_000)
    view = opened(chain, contract, clock=clock)
    view.sync()
    assert view.drift_s == 5
    # A clock that is ahead by no more than the drift ends nothing early.
    assert view.now() == clock() - 5
    clock.now = 1_000
    newest = chain.ask("eth_getBlockByNumber", "latest", False)
    assert view.now() == int(newest["timestamp"], 16)
    short = shifted(RULES, propose_s=19)
    with pytest.raises(LedgerRejectedError, match="deadline too short"):
        view.submit(KEYS[0], calls.Create(SPECIFICATION, MODEL, short.to_word(), ""))


def test_a_deadline_passes_on_a_chain_on_which_nothing_happens(free_chain, opened):
    contract = deploy(free_chain.url, KEYS[0])
    group = Group([opened(free_chain, contract)], size=2).establish(shifted(RULES, propose_s=1))
    view, height = group.views[0], free_chain.height
    deadline = group.seen().round.deadline
    while view.now() <= deadline:
        time.sleep(0.1)
    assert free_chain.height == height
    missed, closed, after = group.submit(1, calls.Advance(1, 1, int(Phase.PROPOSE)))
    assert (type(missed), type(closed), type(after)) == (Missed, Closed, Opened)
    assert (missed.seats, closed.outcome, after.proposer) == (1, 3, 1)


def relayed(group, approve=1):
    """The ballots of everybody but the proposer, signed for a relay."""
    experiment = group.seen()
    ballots = []
    for seat, address in enumerate(experiment.roster.addresses):
        if seat != experiment.front:
            ballot = SignedBallot(seat, approve, 0, ZERO, False, None)
            key = next(key for key in group.keys if key.address == address)
            covered = ballot_digest(
                experiment.domain,
                group.number,
                experiment.round.number,
                experiment.round.key,
                ballot,
            )
            signature = key.sign(covered).hex()
            ballots.append(SignedBallot(seat, approve, 0, ZERO, False, signature))
    return calls.VoteMany(group.number, experiment.round.number, tuple(ballots))


@pytest.mark.parametrize("early", [False, True])
def test_a_relay_brings_all_ballots_in_one_call_that_settles_once(chain, contract, opened, early):
    view, other = opened(chain, contract), opened(chain, contract)
    heard = []
    other.listen(heard.append)
    group = Group([view], size=5).establish(shifted(RULES, early_close=early))
    group.propose()
    events = view.submit(OUTSIDER, relayed(group))
    assert [type(event) for event in events] == [Voted] * 4 + [Closed, Opened]
    other.sync()
    assert other.experiment(1) == view.experiment(1)
    assert heard[-1].signer == NOBODY
    assert heard[-1].events == events
    with pytest.raises(LedgerRejectedError, match="another phase or round"):
        view.submit(OUTSIDER, calls.VoteMany(1, 1, ()))


WALLET = """
# pragma evm-version london
owner: address

@deploy
def __init__():
    self.owner = msg.sender

@external
def send(target: address, data: DynArray[Bytes[1024], 4]):
    assert msg.sender == self.owner
    for each: Bytes[1024] in data:
        raw_call(target, each)
"""


@pytest.fixture(scope="module")
def wallet_code():
    vyper = pytest.importorskip("vyper")
    return vyper.compile_code(WALLET, output_formats=["bytecode"])["bytecode"]


class Wallet:
    """A contract that calls for its owner, several calls in one transaction if it likes."""

    def __init__(self, chain, code):
        self.chain, self.owner = chain, chain.ask("eth_accounts")[1]
        receipt = self.transact({"from": self.owner, "data": code})
        self.address = receipt["contractAddress"].lower()

    def transact(self, transaction):
        digest = self.chain.ask("eth_sendTransaction", transaction)
        while (receipt := self.chain.ask("eth_getTransactionReceipt", digest)) is None:
            time.sleep(0.01)
        assert receipt["status"] == "0x1"
        return receipt

    def send(self, contract, *made):
        from eth_abi import encode

        from colearn.ledger.abi import to_calldata

        data = encode(["address", "bytes[]"], [contract, [to_calldata(call) for call in made]])
        from colearn.crypto import keccak256

        selector = keccak256(b"send(address,bytes[])")[:4]
        self.transact(
            {"from": self.owner, "to": self.address, "data": "0x" + (selector + data).hex()}
        )


def test_calls_of_other_contracts_are_read_as_well_also_several_of_a_transaction(
    chain, contract, opened, wallet_code
):
    view = opened(chain, contract)
    wallet = Wallet(chain, wallet_code)
    group = Group([view], size=SIZE)
    group.submit(0, calls.Create(SPECIFICATION, MODEL, RULES.to_word(), ""))
    group.submit(0, calls.Invite(1, (*(key.address for key in group.keys), wallet.address)))
    for member in range(SIZE):
        group.submit(member, calls.Join(1, SPECIFICATION, MODEL, ZERO))
    wallet.send(contract, calls.Join(1, SPECIFICATION, MODEL, ZERO))
    group.submit(0, calls.Start(1, group.seen().roster.digest))
    assert group.seen().roster.addresses[3] == wallet.address
    group.propose()
    heard = []
    view.listen(heard.append)
    motion = calls.Motion(1, 0, 3, NOBODY)
    wallet.send(contract, group.ballot(), motion, calls.Leave(1))
    assert view.sync() == 3
    assert [happening.signer for happening in heard] == [wallet.address] * 3
    assert group.seen().roster.motions == {(3, NOBODY): 0b1000}
    assert group.seen().round.cast == 1
    for member in (1, 2):
        group.submit(member, group.ballot())
    assert group.seen().roster.names(group.seen().roster.members) == [
        key.address for key in group.keys[:SIZE]
    ]


def test_two_ballots_of_one_transaction_are_no_different_from_a_relays(
    chain, contract, opened, wallet_code
):
    view = opened(chain, contract)
    wallet = Wallet(chain, wallet_code)
    group = Group([view], size=5).establish()
    group.propose()
    both = relayed(group).ballots
    one, other = (calls.VoteMany(1, 1, part) for part in (both[:3], both[3:]))
    wallet.send(contract, one, other)
    assert view.sync() == 1
    assert group.seen().counted == 1


def test_a_call_that_logs_nothing_is_a_call(chain, contract, opened):
    group = Group([opened(chain, contract)], size=2)
    group.submit(0, calls.Create(SPECIFICATION, MODEL, RULES.to_word(), ""))
    assert group.submit(0, calls.Invite(1, ())) == ()


@pytest.mark.parametrize(
    ("url", "settings", "message"),
    [
        ("{node}/0x" + "12" * 20, {}, "There is no contract"),
        ("{node}/{rich}", {}, "There is no contract"),
        ("{node}/{wallet}", {}, "not the one of this version"),
        ("{node}/{contract}", {"chain_id": 1}, "is on chain 31337, and 1 was asked for"),
        ("{node}/{contract}@999999", {}, "There is no block 999998 yet"),
        ("{node}/{contract}", {"confirmations": -1}, "confirmations is from 0"),
        ("{node}", {}, "0xCONTRACT"),
    ],
)
def test_what_cannot_be_opened_says_why(chain, contract, wallet_code, url, settings, message):
    names = {
        "node": chain.url,
        "contract": contract,
        "rich": chain.ask("eth_accounts")[0],
        "wallet": Wallet(chain, wallet_code).address,
    }
    with pytest.raises(ConfigError, match=message):
        EvmLedger(url.format(**names), **settings)


def test_a_contract_that_differs_in_one_byte_is_another_one(chain, contract):
    code = chain.ask("eth_getCode", contract, "latest")
    other = "0x" + "77" * 20
    for place in (100, len(code) // 2, len(code) - 1):
        digit = "0123456789abcdef".index(code[place])
        changed = code[:place] + f"{digit ^ 1:x}" + code[place + 1 :]
        chain.ask("anvil_setCode", other, changed)
        with pytest.raises(ConfigError, match="not the one of this version"):
            EvmLedger(f"{chain.url}/{other}", start=1)
    chain.ask("anvil_setCode", other, code)
    EvmLedger(f"{chain.url}/{other}", start=1).close()


def test_a_view_that_begins_behind_the_first_event_says_so(chain, contract, opened):
    group = Group([opened(chain, contract)], size=2).establish()
    late = opened(chain, contract, start=chain.height)
    with pytest.raises(LedgerTamperedError, match="an experiment that was created"):
        late.sync()
    with pytest.raises(LedgerTamperedError, match="an experiment that was created"):
        late.submit(group.keys[0], calls.Leave(1))


def test_a_long_quiet_history_is_read_in_ranges(chain, contract, opened):
    first = opened(chain, contract)
    group = Group([first], size=2).establish()
    for _ in range(2):
        group.round()
        chain.mine(2500)
    group.round()
    later = opened(chain, contract)
    assert later.sync() == 5 + 3 * 2
    first.sync()
    assert later.experiment(1) == first.experiment(1)
    assert later.head == first.head
    assert later.sync() == 0
    group.round()
    assert later.sync() == 2


@pytest.mark.parametrize("drift_s", [-1, 2**30, 1.0, True, "5"])
def test_a_drift_that_the_contract_does_not_take_is_refused_before_anything_is_sent(drift_s):
    with pytest.raises(ConfigError, match="drift"):
        deploy("evm+http://127.0.0.1:1", KEYS[0], drift_s)


def test_a_listener_may_not_call_the_ledger(chain, contract, opened):
    view = opened(chain, contract)
    view.listen(lambda _: view.sync())
    with pytest.raises(LocalProtocolError, match="listener"):
        view.submit(KEYS[0], calls.Create(SPECIFICATION, MODEL, RULES.to_word(), ""))
