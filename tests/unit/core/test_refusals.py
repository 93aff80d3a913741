"""Every reason of every call, in a world where nothing else stands against it (7.3)."""

import pytest
from tests.oracles.scene import MODEL, Scene, address, digest

from colearn.core import Phase, Reason, Rules
from colearn.core.experiment import NOBODY

COUNCIL = Rules(contribute_s=60, propose_s=60, vote_s=60, merge_tolerance=1)
BLIND = Rules(propose_s=60, vote_s=60, reveal_s=60)
OTHER = digest("another")


def setting_up(size=3):
    return Scene(size, started=False)


def contributing():
    return Scene(4, COUNCIL)


def merging():
    scene = Scene(4, COUNCIL)
    scene.contribute_all(but="d")
    scene.silence()
    assert (scene.phase, scene.front) == (Phase.PROPOSE, "a")
    return scene


def proposing():
    return Scene(4)


def voting(candidates=1):
    scene = Scene(4)
    scene.propose(candidates)
    return scene


def committing():
    scene = Scene(4, BLIND)
    scene.propose()
    return scene


def revealing(**changes):
    scene = committing()
    scene.do("commit", "b", commitment=scene.commitment("b", **changes))
    scene.silence()
    assert (scene.phase, scene.awaited) == (Phase.REVEAL, "b")
    return scene


def over():
    scene = Scene(3)
    for name in "bc":
        scene.do("leave", name)
    scene.do("skip", "a")
    assert scene.phase is Phase.OVER
    return scene


def late(scene):
    scene.now = scene.it.round.deadline + 1
    return scene


def test_create_asks_for_a_threshold_for_deadlines_and_for_known_bits():
    scene = Scene(0, drift=3, started=False)

    def why(rules):
        return scene.why_not("create", "a", rules=rules)

    good = Rules(propose_s=12, vote_s=12).to_word()
    scene.do("create", "a", rules=good)
    assert why(good & ~(0xFFFF << 16)) is Reason.THRESHOLD
    assert why(good + 2) is Reason.THRESHOLD
    assert why(0) is Reason.THRESHOLD
    scene.do("create", "a", rules=good & ~0xFFFF)
    scene.do("create", "a", rules=good + 1)
    for short in (
        Rules(propose_s=11, vote_s=12),
        Rules(propose_s=12, vote_s=11),
        Rules(propose_s=0, vote_s=12),
        Rules(propose_s=12, vote_s=0),
        Rules(contribute_s=11, propose_s=12, vote_s=12),
        Rules(propose_s=12, vote_s=12, reveal_s=11),
    ):
        assert why(short.to_word()) is Reason.DEADLINE_SHORT
    for low, high in ((208, 216), (217, 224), (240, 256)):
        for bit in range(low, high):
            assert why(good | 1 << bit) is Reason.RESERVED
    assert why(2**256 - 1) is Reason.RESERVED


def test_without_drift_a_phase_lasts_a_second():
    scene = Scene(0, started=False)
    scene.do("create", "a", rules=Rules(propose_s=1, vote_s=1).to_word())
    none = Rules(propose_s=1, vote_s=0).to_word()
    assert scene.why_not("create", "a", rules=none) is Reason.DEADLINE_SHORT


def expelled_alone():
    """Two members, both as good as gone but one: nobody may be expelled any more."""
    scene = Scene(3)
    scene.do("leave", "c")
    return scene


def with_motion():
    scene = Scene(4)
    scene.do("motion", "a")
    return scene


def taken():
    scene = Scene(4)
    scene.pass_motion(1, address("z"), by="abc")
    return scene


def waiting():
    scene = taken()
    scene.do("join", "z")
    return scene


CASES = [
    # invite
    ("invite", "b", {}, setting_up, Reason.CREATOR),
    ("invite", "a", {}, proposing, Reason.STARTED),
    ("invite", "a", {}, over, Reason.STARTED),
    ("invite", "a", {"experiment": 2}, setting_up, Reason.CREATOR),
    # join
    ("join", "a", {}, over, Reason.OVER),
    ("join", "z", {}, setting_up, Reason.NOT_INVITED),
    ("join", "z", {}, proposing, Reason.NOT_INVITED),
    ("join", "z", {"experiment": 9}, setting_up, Reason.NOT_INVITED),
    ("join", "z", {"specification": OTHER}, taken, Reason.ORIGIN),
    ("join", "z", {"model": OTHER}, taken, Reason.ORIGIN),
    # start
    ("start", "b", {}, setting_up, Reason.CREATOR),
    ("start", "a", {}, proposing, Reason.STARTED),
    ("start", "a", {}, lambda: setting_up(1), Reason.TOO_FEW),
    ("start", "a", {}, lambda: setting_up(0), Reason.TOO_FEW),
    ("start", "a", {"roster": OTHER}, setting_up, Reason.ROSTER),
    # contribute
    ("contribute", "a", {}, proposing, Reason.PHASE),
    ("contribute", "a", {"round_number": 2}, contributing, Reason.PHASE),
    ("contribute", "a", {"experiment": 2}, contributing, Reason.PHASE),
    ("contribute", "a", {}, lambda: late(contributing()), Reason.LATE),
    ("contribute", "a", {"parent": OTHER}, contributing, Reason.PARENT),
    ("contribute", "z", {}, contributing, Reason.NO_MEMBER),
    # propose
    ("propose", "a", {}, voting, Reason.PHASE),
    ("propose", "a", {"round_number": 0}, proposing, Reason.PHASE),
    ("propose", "a", {}, lambda: late(proposing()), Reason.LATE),
    ("propose", "b", {}, proposing, Reason.TURN),
    ("propose", "z", {}, proposing, Reason.TURN),
    ("propose", "a", {"parent": OTHER}, proposing, Reason.PARENT),
    ("propose", "a", {"candidates": ()}, proposing, Reason.NO_CANDIDATE),
    ("propose", "a", {"candidates": (OTHER, OTHER)}, proposing, Reason.CANDIDATES_EQUAL),
    ("propose", "a", {"candidates": (MODEL,)}, proposing, Reason.CANDIDATES_EQUAL),
    ("propose", "a", {"included": 1}, proposing, Reason.NOT_CONTRIBUTED),
    ("propose", "a", {"included": 1 << 255}, proposing, Reason.NOT_CONTRIBUTED),
    ("propose", "a", {"included": 0b11}, merging, Reason.TOO_FEW_INCLUDED),
    ("propose", "a", {"included": 0}, merging, Reason.TOO_FEW_INCLUDED),
    ("propose", "a", {"included": 0b1111}, merging, Reason.NOT_CONTRIBUTED),
    ("propose", "a", {"included": 0b1011}, merging, Reason.NOT_CONTRIBUTED),
    # skip
    ("skip", "a", {}, voting, Reason.PHASE),
    ("skip", "a", {}, lambda: late(proposing()), Reason.LATE),
    ("skip", "b", {}, proposing, Reason.TURN),
    # vote
    ("vote", "b", {}, proposing, Reason.PHASE),
    ("vote", "b", {"round_number": 0}, voting, Reason.PHASE),
    ("vote", "b", {}, lambda: late(voting()), Reason.LATE),
    ("vote", "b", {}, committing, Reason.BLIND),
    ("vote", "z", {}, voting, Reason.NO_MEMBER),
    ("vote", "a", {}, voting, Reason.NOT_AWAITED),
    ("vote", "b", {"key": OTHER}, voting, Reason.CANDIDATES),
    ("vote", "b", {"not_worse": 2}, voting, Reason.MASKS),
    ("vote", "b", {"not_worse": 1 << 255}, voting, Reason.MASKS),
    ("vote", "b", {"not_worse": 8}, lambda: voting(3), Reason.MASKS),
    ("vote", "b", {"better": 1}, voting, Reason.MASKS),
    # abstain
    ("abstain", "b", {}, proposing, Reason.PHASE),
    ("abstain", "b", {}, revealing, Reason.PHASE),
    ("abstain", "b", {}, lambda: late(voting()), Reason.LATE),
    ("abstain", "z", {}, voting, Reason.NO_MEMBER),
    ("abstain", "a", {}, voting, Reason.NOT_AWAITED),
    ("abstain", "b", {"key": OTHER}, voting, Reason.CANDIDATES),
    # commit
    ("commit", "b", {}, voting, Reason.OPEN),
    ("commit", "b", {}, revealing, Reason.PHASE),
    ("commit", "b", {}, lambda: late(committing()), Reason.LATE),
    ("commit", "z", {}, committing, Reason.NO_MEMBER),
    ("commit", "a", {}, committing, Reason.NOT_AWAITED),
    # reveal
    ("reveal", "b", {}, committing, Reason.PHASE),
    ("reveal", "b", {}, lambda: late(revealing()), Reason.LATE),
    ("reveal", "z", {}, revealing, Reason.NO_MEMBER),
    ("reveal", "c", {}, revealing, Reason.NOT_AWAITED),
    ("reveal", "b", {"salt": OTHER}, revealing, Reason.COMMITMENT),
    ("reveal", "b", {"not_worse": 0}, revealing, Reason.COMMITMENT),
    ("reveal", "b", {"note": OTHER}, revealing, Reason.COMMITMENT),
    ("reveal", "b", {"not_worse": 2}, lambda: revealing(not_worse=2), Reason.MASKS),
    ("reveal", "b", {"better": 1}, lambda: revealing(better=1), Reason.MASKS),
    # vote_many
    ("vote_many", "z", {}, proposing, Reason.PHASE),
    ("vote_many", "z", {}, lambda: late(voting()), Reason.LATE),
    ("vote_many", "z", {}, committing, Reason.BLIND),
    ("vote_many", "z", {}, voting, Reason.NOTHING_NEW),
    # advance
    ("advance", "z", {}, setting_up, Reason.PHASE),
    ("advance", "z", {}, over, Reason.PHASE),
    ("advance", "z", {"experiment": 3}, proposing, Reason.PHASE),
    ("advance", "z", {"round_number": 2}, lambda: late(proposing()), Reason.PHASE),
    ("advance", "z", {"phase": 3}, lambda: late(proposing()), Reason.PHASE),
    ("advance", "z", {"phase": 6}, lambda: late(proposing()), Reason.PHASE),
    ("advance", "z", {}, proposing, Reason.EARLY),
    # wake
    ("wake", "z", {}, proposing, Reason.NO_MEMBER),
    ("wake", "a", {}, setting_up, Reason.NO_MEMBER),
    ("wake", "a", {}, proposing, Reason.NOTHING_MISSED),
    # leave
    ("leave", "a", {}, setting_up, Reason.NOT_RUNNING),
    ("leave", "a", {}, over, Reason.NOT_RUNNING),
    ("leave", "z", {}, proposing, Reason.NO_MEMBER),
    ("leave", "z", {}, waiting, Reason.NO_MEMBER),
    ("leave", "c", {}, expelled_alone, Reason.LEAVING),
    # motion
    ("motion", "a", {}, setting_up, Reason.NOT_RUNNING),
    ("motion", "a", {}, over, Reason.NOT_RUNNING),
    ("motion", "z", {"target": address("y")}, proposing, Reason.NO_MEMBER),
    ("motion", "z", {"target": address("y")}, waiting, Reason.NO_MEMBER),
    ("motion", "a", {"kind": 2, "target": address("a")}, proposing, Reason.ONESELF),
    ("motion", "a", {"kind": 1, "target": address("a")}, proposing, Reason.ONESELF),
    ("motion", "a", {"epoch": 1}, proposing, Reason.EPOCH),
    ("motion", "a", {"kind": 1, "target": address("b")}, proposing, Reason.TARGET),
    ("motion", "a", {"kind": 1}, waiting, Reason.TARGET),
    ("motion", "a", {"kind": 2}, proposing, Reason.TARGET),
    ("motion", "a", {"kind": 2}, waiting, Reason.TARGET),
    ("motion", "a", {"kind": 2, "target": address("c")}, expelled_alone, Reason.TARGET),
    ("motion", "a", {"kind": 2, "target": NOBODY}, proposing, Reason.TARGET),
    ("motion", "a", {"kind": 3}, proposing, Reason.TARGET),
    ("motion", "a", {"kind": 0, "target": NOBODY}, proposing, Reason.TARGET),
    ("motion", "a", {"kind": 4, "target": NOBODY}, proposing, Reason.TARGET),
    ("motion", "a", {"kind": 2**255, "target": NOBODY}, proposing, Reason.TARGET),
    ("motion", "a", {}, with_motion, Reason.SUPPORTED),
    ("motion", "a", {}, taken, Reason.SUPPORTED),
    ("motion", "d", {}, taken, Reason.SUPPORTED),
    ("motion", "a", {"target": address("y")}, with_motion, Reason.ONE_MOTION),
    ("motion", "a", {"kind": 3, "target": NOBODY}, with_motion, Reason.ONE_MOTION),
    # confirm
    ("confirm", "a", {}, proposing, Reason.NOT_OVER),
    ("confirm", "a", {}, setting_up, Reason.NOT_OVER),
    ("confirm", "z", {}, over, Reason.NO_MEMBER),
    ("confirm", "b", {}, over, Reason.NOT_AWAITED),
    ("confirm", "a", {"model": OTHER}, over, Reason.FINAL_MODEL),
]


@pytest.mark.parametrize(("call", "who", "changes", "scene", "reason"), CASES)
def test_a_call_is_refused_for_its_reason_and_changes_nothing(call, who, changes, scene, reason):
    assert scene().why_not(call, who, **changes) is reason


def test_who_has_acted_is_not_awaited():
    scene = contributing()
    scene.do("contribute", "b")
    assert scene.why_not("contribute", "b", digest=OTHER) is Reason.NOT_AWAITED
    scene = voting()
    scene.do("vote", "b", not_worse=0)
    assert scene.why_not("vote", "b") is Reason.NOT_AWAITED
    assert scene.why_not("abstain", "b") is Reason.NOT_AWAITED
    scene = committing()
    scene.do("commit", "b")
    assert scene.why_not("commit", "b") is Reason.NOT_AWAITED
    # A commitment is instead of an abstention (P3.4).
    assert scene.why_not("abstain", "b") is Reason.NOT_AWAITED
    scene.do("commit", "c")
    scene.silence()
    scene.do("reveal", "b")
    assert scene.why_not("reveal", "b") is Reason.NOT_AWAITED
    scene = over()
    scene.do("confirm", "a")
    assert scene.why_not("confirm", "a") is Reason.NOT_AWAITED


def test_acts_are_in_time_up_to_and_including_the_deadline():
    scene = proposing()
    scene.now = scene.it.round.deadline
    assert scene.why_not("advance", "z") is Reason.EARLY
    scene.propose()
    scene.now = scene.it.round.deadline
    scene.do("vote", "b")
    assert scene.why_not("advance", "z") is Reason.EARLY
    scene.now += 1
    assert scene.why_not("vote", "c") is Reason.LATE
    scene.do("advance", "z")


def test_ballots_of_a_relay_are_refused_for_their_reasons():
    scene = voting()

    def why(*ballots):
        return scene.why_not("vote_many", "z", ballots=ballots)

    good = scene.ballot("b")
    assert why(scene.ballot("a")) is Reason.NO_VOTER
    assert why(scene.ballot("z")) is Reason.NO_VOTER
    for seat in (4, 255, 256, 2**255):
        assert why(scene.ballot("b", seat=seat)) is Reason.NO_VOTER
    assert why(good, scene.ballot("c", signer="d")) is Reason.SIGNATURE
    assert why(scene.ballot("b", seat=2)) is Reason.SIGNATURE
    assert why(scene.ballot("b", not_worse=2)) is Reason.MASKS
    assert why(good, scene.ballot("c", better=1)) is Reason.MASKS
    scene.do("vote_many", "z", ballots=(good, good))
    assert why(good) is Reason.NOTHING_NEW
    # Of who has acted only the seat and the signature are looked at.
    assert why(scene.ballot("b", not_worse=2)) is Reason.NOTHING_NEW
    assert why(scene.ballot("b", signer="c"), scene.ballot("c")) is Reason.SIGNATURE
    assert scene.it.round.approvals == (1,)


def test_no_more_than_256_seats_are_ever_given():
    scene = Scene(2)

    def another_round():
        scene.propose()
        scene.votes(**{name: 1 for name in scene.members if name != scene.front})

    for count in range(254):
        scene.pass_motion(1, address("z"), by="ab")
        scene.do("join", "z")
        another_round()
        assert scene.it.roster.seat(address("z")) == count + 2
        scene.do("leave", "z")
        another_round()
    scene.pass_motion(1, address("z"), by="ab")
    assert scene.why_not("join", "z") is Reason.FULL
    assert scene.why_not("join", "z", model=OTHER) is Reason.FULL
    assert scene.members == "ab"


def test_two_members_must_stay():
    scene = expelled_alone()
    # One of two electors is no two thirds: it takes a third, who is leaving.
    scene.do("motion", "c", kind=2, target=address("b"))
    assert scene.why_not("motion", "a", kind=2, target=address("b")) is Reason.TWO_STAY
    # Somebody who waits makes two of them.
    scene = Scene(3)
    scene.pass_motion(1, address("z"), by="abc")
    scene.do("leave", "c")
    scene.do("join", "z")
    scene.pass_motion(2, address("b"), by="ac")
    scene.do("skip", "a")
    assert scene.members == "az"
