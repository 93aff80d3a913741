import pytest
from tests.oracles.scene import Scene, address

from colearn.core import Due, Duty, Phase, Rules, decide
from colearn.core.experiment import NOBODY, Experiment

COUNCIL = Rules(contribute_s=60, propose_s=60, vote_s=60, reveal_s=60, merge_tolerance=1)


def due(scene, who, now=None):
    return decide(scene.it, address(who), scene.now if now is None else now)


def test_before_the_start_who_is_invited_joins():
    scene = Scene(2, started=False)
    scene.do("invite", "a", who=(address("a"), address("z")))
    assert due(scene, "z") == Due(Duty.JOIN)
    assert due(scene, "b") == Due(Duty.WAIT)
    # The creator invited a member that sits already.
    assert due(scene, "a") == Due(Duty.WAIT)
    assert due(scene, "y") == Due(Duty.WAIT)
    assert decide(Experiment(), address("a"), 0) == Due(Duty.WAIT)


def test_every_phase_has_its_duty_until_its_deadline():
    scene = Scene(3, COUNCIL)
    until = scene.it.round.deadline
    assert due(scene, "b") == due(scene, "b", until) == Due(Duty.CONTRIBUTE, until)
    scene.do("contribute", "b")
    assert due(scene, "b") == Due(Duty.WAIT, until + 1)
    scene.contribute_all(but="b")
    until = scene.it.round.deadline
    assert due(scene, "a") == Due(Duty.PROPOSE, until)
    assert due(scene, "b") == Due(Duty.WAIT, until + 1)
    scene.propose()
    until = scene.it.round.deadline
    assert due(scene, "b") == Due(Duty.VOTE, until)
    assert due(scene, "a") == Due(Duty.WAIT, until + 1)
    scene.do("commit", "b")
    scene.do("commit", "c")
    until = scene.it.round.deadline
    assert due(scene, "c") == Due(Duty.REVEAL, until)
    assert due(scene, "a") == Due(Duty.WAIT, until + 1)


def test_after_the_deadline_members_advance():
    scene = Scene(3)
    late = scene.it.round.deadline + 1
    assert due(scene, "a", late) == due(scene, "c", late) == Due(Duty.ADVANCE)
    assert due(scene, "z", late) == Due(Duty.WAIT)


def test_who_missed_a_deadline_wakes_where_no_act_does_it():
    scene = Scene(3)
    scene.silence()
    assert due(scene, "a") == Due(Duty.WAKE)
    assert due(scene, "c") == Due(Duty.WAIT, scene.it.round.deadline + 1)
    scene.propose()
    assert due(scene, "a") == Due(Duty.VOTE, scene.it.round.deadline)


def test_who_is_admitted_joins_and_waits_for_the_next_round():
    scene = Scene(3)
    scene.pass_motion(1, address("z"), by="abc")
    assert due(scene, "z") == Due(Duty.JOIN)
    scene.do("join", "z")
    assert due(scene, "z") == Due(Duty.WAIT)
    scene.do("skip", "a")
    assert due(scene, "z") == Due(Duty.WAIT, scene.it.round.deadline + 1)


def test_who_has_left_is_done_unless_it_is_admitted_again():
    scene = Scene(3)
    scene.do("leave", "c")
    assert due(scene, "c").duty is Duty.WAIT
    scene.do("skip", "a")
    assert due(scene, "c") == Due(Duty.DONE)
    scene.pass_motion(1, address("c"), by="ab")
    assert due(scene, "c") == Due(Duty.JOIN)
    scene.do("join", "c")
    assert due(scene, "c") == Due(Duty.WAIT)


def test_when_it_is_over_the_members_confirm():
    scene = Scene(3)
    scene.do("leave", "c")
    scene.pass_motion(3, NOBODY, by="abc")
    scene.do("skip", "a")
    assert scene.phase is Phase.OVER
    assert due(scene, "a") == Due(Duty.CONFIRM)
    scene.do("confirm", "a")
    assert due(scene, "a") == due(scene, "c") == due(scene, "z") == Due(Duty.DONE)
    assert due(scene, "b", 10**9) == Due(Duty.CONFIRM)


@pytest.mark.parametrize("rules", [Rules(), COUNCIL, Rules(reveal_s=60), Rules(contribute_s=60)])
def test_whoever_does_what_is_due_finishes_a_round(rules):
    scene = Scene(4, rules)
    for _ in range(40):
        for who in "abcd":
            duty = due(scene, who).duty
            if duty is Duty.VOTE and scene.it.blind:
                scene.do("commit", who)
            elif duty in (Duty.CONTRIBUTE, Duty.PROPOSE, Duty.VOTE, Duty.REVEAL):
                scene.do(duty.value, who)
        if scene.it.round.number == 4:
            break
    assert scene.it.counted == 3
