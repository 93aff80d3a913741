"""The EVM ledger on a real chain (anvil): deploying, calling, reading, paying."""

import importlib.util
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

if importlib.util.find_spec("web3") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no web3 here: pip install 'colearn[evm]'", allow_module_level=True)

from tests.evm import FREE, anvil
from tests.logs import MODEL, RULES, SPECIFICATION, Group, SetClock, digest, shifted

from colearn.core import Phase, calls
from colearn.core.bindings import ZERO, ballot_digest
from colearn.core.calls import SignedBallot
from colearn.core.events import Closed, Missed, Opened, Voted
from colearn.core.experiment import NOBODY
from colearn.errors import (
    ConfigError,
    LedgerError,
    LedgerRejectedError,
    LedgerUnavailableError,
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


def spent(chain, key):
    return (
        int(chain.ask("eth_getTransactionCount", key.address, "latest"), 16),
        int(chain.ask("eth_getBalance", key.address, "latest"), 16),
    )


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


def relayed(group, view, approve=1):
    """The ballots of everybody but the proposer, signed for a relay."""
    experiment = group.seen()
    ballots = []
    for seat, address in enumerate(experiment.roster.addresses):
        if seat != experiment.front:
            ballot = SignedBallot(seat, approve, 0, ZERO, False, None)
            key = next(key for key in group.keys if key.address == address)
            covered = ballot_digest(
                experiment.domain, group.number, experiment.round.number, experiment.round.key, ballot
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
    events = view.submit(OUTSIDER, relayed(group, view))
    assert [type(event) for event in events] == [Voted] * 4 + [Closed, Opened]
    other.sync()
    assert other.experiment(1) == view.experiment(1)
    assert heard[-1].signer == NOBODY
    assert heard[-1].events == events
    with pytest.raises(LedgerRejectedError, match="another phase or round"):
        view.submit(OUTSIDER, calls.VoteMany(1, 1, ()))


def test_voters_that_are_mined_in_one_block_have_gas_enough_to_close_the_round(chain, contract):
    group = Group([EvmLedger(f"{chain.url}/{contract}")], size=5).establish()
    for member in (3, 4):
        group.submit(member, calls.Leave(1))
    group.propose()
    ballot, proposer = group.ballot(), group.member_at(group.seen().front)
    voters = [member for member in range(5) if member != proposer]
    chain.ask("evm_setAutomine", False)

    def vote(member):
        with EvmLedger(f"{chain.url}/{contract}", patience_s=60) as view:
            return view.submit(group.keys[member], ballot)

    try:
        with ThreadPoolExecutor(len(voters)) as threads:
            voting = [threads.submit(vote, member) for member in voters]
            wait_for_pool(chain, len(voters))
            chain.ask("evm_setAutomine", True)
            chain.mine()
            kinds = sorted(len(each.result()) for each in voting)
    finally:
        chain.ask("evm_setAutomine", True)
    # Each was tried as one that closes nothing; the last one closed the round for all.
    assert kinds == [1, 1, 1, 3]
    assert group.seen().counted == 1
    group.views[0].close()


def wait_for_pool(chain, count):
    limit = time.monotonic() + 60
    while int(chain.ask("txpool_status")["pending"], 16) < count:
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_call_that_is_overtaken_in_its_block_is_refused_with_the_reason(
    chain, contract, opened
):
    group = Group([opened(chain, contract)], size=2).establish()
    chain.ask("evm_setAutomine", False)

    def skip(key):
        with EvmLedger(f"{chain.url}/{contract}", patience_s=60) as view:
            return view.submit(key, calls.Skip(1, 1))

    def leave(key):
        with EvmLedger(f"{chain.url}/{contract}", patience_s=60) as view:
            return view.submit(key, calls.Skip(1, 1))

    try:
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(skip, group.keys[0])
            wait_for_pool(chain, 1)
            # The same act once more, from outside of any view, with more to pay and mined first.
            raw = signed_elsewhere(chain, group.keys[0], contract, calls.Leave(1), price=10**11)
            chain.ask("eth_sendRawTransaction", raw)
            chain.ask("evm_setAutomine", True)
            chain.mine()
            with pytest.raises(LedgerError, match="took the place"):
                first.result()
    finally:
        chain.ask("evm_setAutomine", True)
    assert group.seen().roster.leaving == 1


def signed_elsewhere(chain, key, contract, call, *, price, nonce=None):
    """A transaction that another program signs with the same key."""
    from eth_account import Account

    from colearn.ledger.abi import to_calldata

    count = int(chain.ask("eth_getTransactionCount", key.address, "latest"), 16)
    document = {
        "chainId": 31337, "nonce": count if nonce is None else nonce, "gas": 500_000, "value": 0,
        "to": bytes.fromhex(contract[2:]), "data": to_calldata(call), "gasPrice": price,
    }  # fmt: skip
    return "0x" + bytes(Account.sign_transaction(document, key.reveal_secret()).raw_transaction).hex()
