import importlib.util
import os

import pytest

if importlib.util.find_spec("pyrevm") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no pyrevm here: pip install 'colearn[evm]'", allow_module_level=True)

from colearn.core import Book, Rules
from colearn.core import calls as c
from colearn.core.bindings import ZERO, Domain, commitment
from colearn.errors import LedgerError
from colearn.ledger.agreement import differences
from colearn.ledger.bytecode import BytecodeReplica, slot

DOMAIN = Domain(1, "0x" + "c1" * 20)
PEOPLE = [f"0x{person:02x}" * 1 + f"{person:02x}" * 19 for person in range(1, 6)]
A, B = "11" * 32, "22" * 32
NOW = 1000
BALLOT = c.Reveal(1, 1, 3, 0, ZERO, A)
STRANGER = "0x" + "ee" * 20


class Both:
    def __init__(self):
        self.book, self.replica = Book(DOMAIN), BytecodeReplica(DOMAIN)

    @property
    def experiment(self):
        return self.book.experiments[1]

    def do(self, call, person, now=NOW):
        self.book, events = self.book.apply(call, PEOPLE[person], now)
        assert self.replica.apply(call, PEOPLE[person], now) == events
        assert differences(self.replica, self.experiment) == ()


@pytest.fixture
def both():
    """A blind council of five in VOTE: somebody is late, leaves, is invited, moves, abstains."""
    group = Both()
    rules = Rules(contribute_s=60, reveal_s=60, merge_tolerance=1)
    group.do(c.Create(A, B, rules.to_word(), ""), 0)
    group.do(c.Invite(1, tuple(PEOPLE)), 0)
    for person in range(5):
        group.do(c.Join(1, A, B, ZERO), person)
    group.do(c.Start(1, group.experiment.roster.digest), 0)
    for person in range(4):
        group.do(c.Contribute(1, 1, B, A), person)
    late = group.experiment.round.deadline + 1
    group.do(c.Advance(1, 1, 1), 0, late)
    group.do(c.Propose(1, 1, B, 0b1111, (A, "33" * 32), ""), 0, late)
    group.do(c.Leave(1), 3, late)
    group.do(c.Motion(1, 0, 1, STRANGER), 1, late)
    group.do(c.Abstain(1, 1, group.experiment.round.key), 2, late)
    for person in (1, 4):
        sealed = commitment(DOMAIN, PEOPLE[person], group.experiment.round.key, BALLOT)
        group.do(c.Commit(1, 1, sealed), person, late)
    return group


def flip(replica, variable, keys, bit=0, offset=0):
    value = replica.read(variable, *keys, offset=offset) ^ 1 << bit
    place = slot(variable, *keys, offset=offset)
    replica._evm.insert_account_storage(DOMAIN.contract, place, value)


@pytest.mark.parametrize("bit", [bit for bit in range(256) if not 164 <= bit < 176])
def test_every_bit_of_the_turn_that_is_read_in_a_vote_is_compared(both, bit):
    flip(both.replica, "turn", [1], bit)
    assert differences(both.replica, both.experiment)


@pytest.mark.parametrize(
    ("variable", "keys", "bits"),
    [
        ("desk", [1], range(224)),
        ("origin", [1], [0]),
        ("model", [1], [0]),
        ("key", [1], [0]),
        ("members", [1], [0, 255]),
        ("todo", [1], [0, 255]),
        ("abstainers", [1], [0, 255]),
        ("missed1", [1], [0, 4, 255]),
        ("missed2", [1], [0, 4, 255]),
        ("leaving", [1], [3, 255]),
        ("ring", [1, 0], [0, 159, 160]),
        ("ring", [1, 4], [0, 160]),
        ("people", [1, PEOPLE[0]], [0, 15, 16, 24]),
        ("people", [1, PEOPLE[1]], [0, 16, 24, 56, 215]),
        ("commitments", [1, PEOPLE[1]], [0, 255]),
    ],
)
def test_every_other_word_is_compared(both, variable, keys, bits):
    for bit in bits:
        flip(both.replica, variable, keys, bit)
        assert differences(both.replica, both.experiment), bit
        flip(both.replica, variable, keys, bit)
    assert differences(both.replica, both.experiment) == ()


def test_candidates_are_compared(both):
    for offset in (0, 1):
        flip(both.replica, "candidates", [1], offset=offset)
    first, second = differences(both.replica, both.experiment)
    assert first.startswith("candidate 0: the contract has")
    assert second.startswith("candidate 1: the contract has")


def test_supporters_of_motions_are_compared(both):
    key = both.replica.read("people", 1, PEOPLE[1]) >> 56
    flip(both.replica, "motions", [1, key], 2)
    (found,) = differences(both.replica, both.experiment)
    assert "the contract has 6, the rules have 2" in found


def test_tallies_are_compared_while_ballots_are_revealed(both):
    late = both.experiment.round.deadline + 1
    both.do(c.Advance(1, 1, 3), 0, late)
    both.do(BALLOT, 1, late)
    assert both.experiment.round.approvals == (1, 1)
    for bit in (0, 15, 16, 32, 255):
        flip(both.replica, "tallies", [1], bit)
        assert differences(both.replica, both.experiment)
        flip(both.replica, "tallies", [1], bit)


def test_a_time_that_no_chain_has_is_refused(both):
    for now in (-1, 2**40):
        with pytest.raises(LedgerError, match="seconds"):
            both.replica.apply(c.Wake(1), PEOPLE[0], now)


def test_a_failure_without_a_reason_is_no_refusal(both):
    from pyrevm import AccountInfo

    both.replica._evm.insert_account_info(DOMAIN.contract, AccountInfo(nonce=1, code=b"\xfe"))
    with pytest.raises(LedgerError, match="without a reason"):
        both.replica.apply(c.Wake(1), PEOPLE[0], NOW)
