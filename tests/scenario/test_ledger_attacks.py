"""Attacks on a ledger's rules: each is refused with its reason, and nothing has changed."""

from dataclasses import replace

import pytest
from tests.oracles.logs import Orderer, genesis, noise
from tests.oracles.scene import MODEL, Scene, address, digest
from tests.oracles.wording import ELSEWHERE, ZERO

from colearn.core import Phase, Reason, Rules
from colearn.core.calls import Propose, Vote

BLIND = Rules(propose_s=60, vote_s=60, reveal_s=60)
COUNCIL = Rules(contribute_s=60, propose_s=60, vote_s=60, merge_tolerance=1)


@pytest.fixture
def scene():
    scene = Scene(4)
    scene.propose()
    return scene


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("propose", Reason.PHASE),
        ("vote", Reason.NO_MEMBER),
        ("abstain", Reason.NO_MEMBER),
        ("join", Reason.NOT_INVITED),
        ("wake", Reason.NO_MEMBER),
        ("leave", Reason.NO_MEMBER),
        ("invite", Reason.CREATOR),
        ("start", Reason.CREATOR),
        ("confirm", Reason.NOT_OVER),
        ("advance", Reason.EARLY),
    ],
)
def test_an_outsider_can_do_nothing(scene, call, reason):
    assert scene.why_not(call, "z") is reason


def test_an_outsider_opens_no_motion_for_itself(scene):
    assert scene.why_not("motion", "z", target=address("y")) is Reason.NO_MEMBER


def test_nobody_proposes_in_anothers_turn():
    scene = Scene(4)
    for who in "bcdz":
        assert scene.why_not("propose", who) is Reason.TURN
        assert scene.why_not("skip", who) is Reason.TURN


def test_a_late_voter_is_too_late(scene):
    scene.now = scene.it.round.deadline + 1
    assert scene.why_not("vote", "b") is Reason.LATE
    assert scene.why_not("vote_many", "z", ballots=(scene.ballot("b"),)) is Reason.LATE


def test_a_double_voter_counts_once(scene):
    scene.do("vote", "b", not_worse=0)
    assert scene.why_not("vote", "b") is Reason.NOT_AWAITED
    assert scene.why_not("vote_many", "z", ballots=(scene.ballot("b"),)) is Reason.NOTHING_NEW
    scene.do("vote_many", "z", ballots=(scene.ballot("b"), scene.ballot("c", 0)))
    assert (scene.it.round.approvals, scene.it.round.cast) == ((0,), 2)


def test_the_proposer_does_not_vote_for_itself(scene):
    assert scene.why_not("vote", "a") is Reason.NOT_AWAITED
    assert scene.why_not("vote_many", "z", ballots=(scene.ballot("a"),)) is Reason.NO_VOTER


def test_a_replayed_ballot_is_good_for_no_other_round_and_no_other_candidates(scene):
    old = scene.ballot("d")
    vote = scene.call("vote", "d")
    scene.votes(b=0, c=0, d=0)
    scene.propose()
    assert scene.why_not("vote_many", "z", ballots=(old,)) is Reason.SIGNATURE
    changes = {field: getattr(vote, field) for field in Vote.__slots__}
    assert scene.why_not("vote", "d", **changes) is Reason.PHASE
    changes["round_number"] = 2
    assert scene.why_not("vote", "d", **changes) is Reason.CANDIDATES


def test_a_relay_changes_no_ballot(scene):
    ballot = scene.ballot("b", 0)
    for changes in (
        {"not_worse": 1},
        {"better": 1},
        {"note": digest("note")},
        {"abstain": True},
        {"seat": 2},
        {"signature": scene.ballot("c", 0).signature},
        {"signature": "00" * 65},
        {"signature": "ff" * 65},
    ):
        forged = replace(ballot, **changes)
        assert scene.why_not("vote_many", "z", ballots=(forged,)) is Reason.SIGNATURE
        good = scene.ballot("d")
        assert scene.why_not("vote_many", "z", ballots=(good, forged)) is Reason.SIGNATURE


def test_a_ballot_of_elsewhere_is_none_here(scene):
    for where in (
        {"domain": ELSEWHERE},
        {"domain": replace(scene.book.domain, chain_id=5)},
        {"experiment": 2},
        {"round_number": 2},
        {"key": digest("other candidates")},
    ):
        ballot = scene.ballot("b", **where)
        assert scene.why_not("vote_many", "z", ballots=(ballot,)) is Reason.SIGNATURE


def test_a_proposal_for_an_old_parent_is_none(scene):
    scene.votes(b=1, c=1, d=1)
    assert scene.it.model != MODEL
    assert scene.why_not("propose", "b", parent=MODEL) is Reason.PARENT
    assert scene.why_not("propose", "b", candidates=(scene.it.model,)) is Reason.CANDIDATES_EQUAL


def test_a_proposal_is_not_exchanged_once_it_stands(scene):
    assert scene.why_not("propose", "a", candidates=(digest("better"),)) is Reason.PHASE
    assert scene.why_not("skip", "a") is Reason.PHASE


def test_a_merger_leaves_out_no_more_than_k_and_invents_nothing():
    scene = Scene(5, COUNCIL)
    scene.contribute_all()
    for included in (0, 0b00111):
        assert scene.why_not("propose", "a", included=included) is Reason.TOO_FEW_INCLUDED
    scene.do("skip", "a")
    assert scene.why_not("propose", "b", included=0b1011111) is Reason.NOT_CONTRIBUTED
    scene.do("propose", "b", included=0b01111)


def test_a_contribution_is_for_this_model_and_this_round():
    scene = Scene(4, COUNCIL)
    assert scene.why_not("contribute", "b", parent=digest("old")) is Reason.PARENT
    assert scene.why_not("contribute", "b", round_number=2) is Reason.PHASE
    scene.do("contribute", "b")
    assert scene.why_not("contribute", "b", digest=digest("another")) is Reason.NOT_AWAITED


def test_a_blind_ballot_is_not_changed_nor_taken_from_another():
    scene = Scene(4, BLIND)
    scene.propose()
    copied = scene.commitment("b")
    scene.do("commit", "b", commitment=copied)
    # c copies what b committed to, and d commits in the name of b.
    scene.do("commit", "c", commitment=copied)
    scene.do("commit", "d", commitment=scene.commitment("d", voter=address("b")))
    assert scene.phase is Phase.REVEAL
    assert scene.why_not("reveal", "b", not_worse=0) is Reason.COMMITMENT
    scene.do("reveal", "b")
    for who in "cd":
        assert scene.why_not("reveal", who) is Reason.COMMITMENT
        assert scene.why_not("abstain", who) is Reason.PHASE


@pytest.mark.parametrize(
    "where",
    [
        {"domain": ELSEWHERE},
        {"experiment": 2},
        {"round_number": 2},
        {"key": digest("other candidates")},
        {"voter": address("c")},
    ],
)
def test_a_commitment_of_elsewhere_opens_nothing_here(where):
    scene = Scene(3, BLIND)
    scene.propose()
    scene.do("commit", "b", commitment=scene.commitment("b", **where))
    scene.silence()
    assert scene.why_not("reveal", "b") is Reason.COMMITMENT


def test_a_vote_in_the_open_is_none_where_votes_are_blind():
    scene = Scene(3, BLIND)
    scene.propose()
    assert scene.why_not("vote", "b") is Reason.BLIND
    assert scene.why_not("vote_many", "z", ballots=(scene.ballot("b"),)) is Reason.BLIND


def test_an_expelled_member_is_out_when_the_next_round_opens():
    scene = Scene(5)
    scene.pass_motion(2, address("e"), by="abc")
    scene.propose()
    scene.do("vote", "e", not_worse=0)
    scene.votes(b=1, c=1, d=1)
    scene.propose()
    assert scene.why_not("vote", "e") is Reason.NOT_AWAITED
    assert scene.why_not("vote_many", "z", ballots=(scene.ballot("e"),)) is Reason.NO_VOTER
    assert scene.why_not("motion", "e", target=address("z")) is Reason.NO_MEMBER
    assert scene.why_not("join", "e") is Reason.NOT_INVITED


def test_a_member_floods_its_group_with_no_motions():
    scene = Scene(4)
    scene.do("motion", "a", target=address("z"))
    for name in "wxy":
        assert scene.why_not("motion", "a", target=address(name)) is Reason.ONE_MOTION


def test_a_minority_neither_admits_nor_expels_nor_ends():
    scene = Scene(6)
    scene.pass_motion(1, address("z"), by="abcd")
    assert scene.why_not("join", "z") is Reason.NOT_INVITED
    scene.pass_motion(2, address("f"), by="bcd")
    scene.pass_motion(3, "0x" + "00" * 20, by="cdef")
    scene.do("skip", "a")
    assert scene.members == "abcdef"


# ---------------------------------------------------------------- in a log


def test_a_forged_signature_is_no_row():
    log = Orderer()
    log.start(3)
    row = log.row("b", noise(0), 1)
    signature = row.signature
    assert log.take(replace(row, signature=signature[:64] + b"\x00")) == "signature"
    assert log.take(replace(row, signature=bytes(65))) == "signature"
    # In the name of b, by somebody else: then it is theirs, who have no such nonce here.
    assert log.put("b", noise(0), 1, by="z") == "nonce"
    proposal = Propose(1, 1, MODEL, 0, (digest("candidate"),), "")
    assert log.put("a", proposal, 1, by="z", nonce=0) == "rules"
    assert log.take(row) is None


def test_a_proposal_signed_by_its_proposer_alone_is_a_row():
    log = Orderer()
    log.start(3)
    proposal = Propose(1, 1, MODEL, 0, (digest("candidate"),), "")
    assert log.put("b", proposal, 1) == "rules"
    assert log.put("a", proposal, 1) is None
    key = log.replica.book.experiments[1].round.key
    vote = Vote(1, 1, key, 1, 0, ZERO)
    assert log.put("a", vote, 1) == "rules"
    assert log.put("b", vote, 1) is None
    assert log.put("b", vote, 1) == "rules"


def test_an_entry_of_another_fork_or_log_is_no_row_here():
    log = Orderer()
    log.start(3)
    other = log.fork()
    assert other.put("c", noise(0), 1) is None
    row = other.row("b", noise(1), 1)
    assert log.take(row) == "anchor"
    foreign = Orderer(genesis("77"))
    entry, signature = foreign.sign("b", noise(1), 1)
    before = log.state
    assert log.replica.signer(entry, signature) != address("b")
    assert log.state == before


def test_a_replayed_row_is_no_row():
    log = Orderer()
    log.start(3)
    row = log.row("b", noise(0), 1)
    assert log.take(row) is None
    assert log.take(row) == "nonce"
    assert log.take(replace(row, stamp=2)) == "nonce"
