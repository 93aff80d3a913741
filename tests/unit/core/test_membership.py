from tests.oracles.liveness import sleeper
from tests.oracles.scene import Scene, address, digest

from colearn.core import MemberStatus, Phase, Reason, Rules
from colearn.core.events import Confirmed, Joined, Member, MotionSupported, Opened, Started
from colearn.core.experiment import NOBODY, Experiment

ADMIT, EXPEL, FINISH = 1, 2, 3


def test_invitations_seats_and_the_start_are_told():
    scene = Scene(0, started=False)
    told = scene.do("invite", "a", who=(address("b"), address("c")))
    assert told == tuple(Member(1, address(name), MemberStatus.INVITED) for name in "bc")
    moments = digest("moments")
    assert scene.do("join", "c", moments=moments) == (Joined(1, address("c"), 0, moments),)
    assert scene.do("join", "b") == (Joined(1, address("b"), 1, "00" * 32),)
    roster = scene.it.roster.digest
    opened = Opened(1, 1, Phase.PROPOSE, 0, scene.now + 600)
    assert scene.do("start", "a") == (Started(1, roster), opened)
    # Who creates an experiment is no member by that.
    assert (scene.members, scene.front) == ("cb", "c")
    assert scene.why_not("skip", "a") is Reason.TURN


def test_an_invitation_is_used_up_and_one_of_the_setup_is_void_afterwards():
    scene = Scene(3, started=False)
    assert scene.why_not("join", "b") is Reason.NOT_INVITED
    scene.do("invite", "a", who=(address("b"), address("z")))
    assert scene.why_not("join", "b") is Reason.MEMBER_ALREADY
    scene.do("start", "a")
    assert scene.why_not("join", "z") is Reason.NOT_INVITED
    assert scene.why_not("join", "b") is Reason.NOT_INVITED


def test_a_member_that_is_admitted_again_sits_already():
    scene = Scene(4)
    scene.pass_motion(ADMIT, address("z"), by="abc")
    scene.do("join", "z")
    assert scene.why_not("join", "z") is Reason.NOT_INVITED
    scene.do("skip", "a")
    scene.do("leave", "b")
    # It is a member until the next round opens, and no motion about members admits.
    assert scene.why_not("motion", "a", kind=ADMIT, target=address("b")) is Reason.TARGET
    scene.do("skip", "b")
    assert scene.members == "acdz"
    scene.pass_motion(ADMIT, address("b"), by="acd")
    assert scene.do("join", "b")[0].seat == 5
    assert scene.why_not("join", "b") is Reason.NOT_INVITED
    assert scene.why_not("leave", "b") is Reason.NO_MEMBER
    scene.do("skip", "c")
    assert scene.members == "acdzb"
    assert scene.name(scene.it.roster.queue.order[-1]) == "b"


def test_changes_take_effect_where_the_next_round_opens():
    scene = Scene(4)
    scene.pass_motion(ADMIT, address("z"), by="abc")
    scene.do("join", "z")
    assert scene.do("leave", "b") == (Member(1, address("b"), MemberStatus.LEAVING),)
    scene.propose()
    scene.votes(b=1, c=0)
    assert (scene.members, scene.it.roster.epoch) == ("abcd", 0)
    scene.do("vote", "d")
    assert (scene.members, scene.it.roster.epoch) == ("acdz", 1)
    assert [scene.name(seat) for seat in scene.it.roster.queue.order] == list("cdaz")


def test_more_than_two_thirds_admit_and_others_lapse_with_the_epoch():
    scene = Scene(6)
    for name in "abcd":
        assert not scene.do("motion", name, target=address("z"))[0].passed
    supported, admitted = scene.do("motion", "e", target=address("z"))
    assert supported == MotionSupported(1, address("e"), address("z"), ADMIT, 0, True)
    assert admitted == Member(1, address("z"), MemberStatus.ADMITTED)
    for name in "bcd":
        scene.do("motion", name, target=address("y"))
    scene.do("join", "z")
    scene.do("skip", "a")
    assert scene.it.roster.epoch == 1
    assert scene.why_not("motion", "a", target=address("y"), epoch=0) is Reason.EPOCH
    assert not scene.do("motion", "a", target=address("y"))[0].passed
    assert scene.it.roster.motions == {(ADMIT, address("y")): 1}


def test_the_target_of_an_expulsion_is_no_elector():
    scene = Scene(4)
    for name in "bc":
        assert not scene.do("motion", name, kind=EXPEL, target=address("a"))[0].passed
    told = scene.do("motion", "d", kind=EXPEL, target=address("a"))
    assert told[0].passed
    assert told[1] == Member(1, address("a"), MemberStatus.EXPELLED)
    assert scene.why_not("leave", "a") is Reason.LEAVING
    # An expelled proposer finishes its round (7.7).
    scene.propose()
    scene.votes(b=1, c=1, d=1)
    assert scene.members == "bcd"
    assert scene.it.model == digest("candidate", 1, 0)


def test_an_expelled_member_may_be_admitted_and_takes_a_new_seat_awake():
    scene = sleeper("e")
    assert scene.front == "c"
    scene.pass_motion(EXPEL, address("e"), by="abc")
    scene.do("skip", "c")
    assert (scene.members, scene.it.roster.missed_once) == ("abcd", 0)
    scene.pass_motion(ADMIT, address("e"), by="abc")
    scene.do("join", "e")
    scene.do("skip", "d")
    assert (scene.members, scene.dormant) == ("abcde", "")
    assert scene.it.roster.seat(address("e")) == 5


def test_a_member_opens_one_motion_at_a_time():
    scene = Scene(4)
    scene.do("motion", "a", target=address("z"))
    assert scene.why_not("motion", "a", target=address("y")) is Reason.ONE_MOTION
    # To support what others opened is no opening.
    scene.do("motion", "b", target=address("y"))
    scene.do("motion", "a", target=address("y"))
    scene.do("motion", "b", target=address("z"))
    scene.do("motion", "c", target=address("z"))
    scene.do("motion", "a", target=address("x"))
    assert scene.why_not("motion", "b", target=address("w")) is Reason.ONE_MOTION
    # A new epoch lapses the open ones, and its members may open others.
    scene.do("join", "z")
    scene.do("skip", "a")
    scene.do("motion", "a", target=address("w"))
    scene.do("motion", "b", target=address("v"))


def test_who_comes_back_may_open_a_motion():
    scene = Scene(5)
    scene.do("motion", "e", target=address("z"))
    scene.do("leave", "e")
    scene.do("skip", "a")
    scene.pass_motion(ADMIT, address("e"), by="abc")
    scene.do("join", "e")
    scene.do("skip", "b")
    scene.do("motion", "e", target=address("z"))


def test_finish_ends_after_the_open_round_and_the_members_confirm():
    scene = Scene(3)
    scene.do("motion", "a", kind=FINISH, target=NOBODY)
    scene.do("motion", "b", kind=FINISH, target=NOBODY)
    assert not scene.it.finish
    scene.do("motion", "c", kind=FINISH, target=NOBODY)
    assert scene.it.finish
    assert scene.why_not("motion", "a", kind=FINISH, target=NOBODY) is Reason.SUPPORTED
    scene.propose()
    assert scene.phase is Phase.VOTE
    scene.votes(b=1, c=1)
    assert (scene.phase, scene.awaited) == (Phase.OVER, "abc")
    assert scene.events[-1] == Opened(1, 1, Phase.OVER, 0, 0)
    model = digest("candidate", 1, 0)
    assert scene.do("confirm", "b") == (Confirmed(1, address("b"), model),)
    assert scene.awaited == "ac"


def test_leaving_below_two_is_over():
    scene = Scene(2)
    scene.do("leave", "a")
    scene.do("leave", "b")
    scene.do("skip", "a")
    assert (scene.phase, scene.members, scene.it.roster.queue.order) == (Phase.OVER, "", ())


def test_the_roster_answers_by_address_and_by_seat():
    scene = Scene(3)
    roster = scene.it.roster
    assert roster.seat(address("b")) == 1
    assert roster.seat(address("z")) is None
    assert roster.names(0b101) == [address("a"), address("c")]
    scene.do("leave", "b")
    scene.do("skip", "a")
    assert scene.it.roster.seat(address("b")) is None
    assert Experiment().roster.size == 0
    assert Rules() == Experiment().rules
