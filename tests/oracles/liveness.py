"""The invariants L1 to L5 of section 9, asked of whatever state a test has reached.

Each takes a scene and plays on a fork of it.
"""

from collections import Counter

from colearn.core import Outcome, Phase, Reason, tolerance
from colearn.core.events import Closed, Missed
from colearn.core.experiment import seats_of
from tests.oracles.scene import DEFAULT, Scene


def running(scene):
    return scene.phase not in (Phase.SETUP, Phase.OVER)


def faults(scene):
    return (len(scene.members) - 1) // 3


def act(scene, who, not_worse=1):
    """Let `who` do what it is awaited for, as an honest member does it."""
    if scene.phase is Phase.CONTRIBUTE:
        scene.do("contribute", who)
    elif scene.phase is Phase.PROPOSE:
        scene.propose()
    elif scene.phase is Phase.REVEAL:
        scene.do("reveal", who, not_worse=not_worse)
    elif scene.it.blind:
        scene.do("commit", who, commitment=scene.commitment(who, not_worse=not_worse))
    else:
        scene.do("vote", who, not_worse=not_worse)


def play_round(scene, acting, against=""):
    """Play on until the round is over; return how many deadlines passed, by phase.

    Who is in `acting` does what is awaited, for every proposal, or for none if it is `against`.
    """
    number, deadlines, steps = scene.it.round.number, Counter(), 0
    while running(scene) and scene.it.round.number == number:
        steps += 1
        assert steps < 100
        willing = [name for name in scene.awaited if name in acting]
        if willing:
            act(scene, willing[0], 0 if willing[0] in against else 1)
        else:
            deadlines[scene.phase] += 1
            scene.silence()
    return deadlines


def sleeper(who, size=5, rules=DEFAULT):
    """Return a scene in which `who` has just become dormant, all others having acted."""
    scene = Scene(size, rules)
    while scene.dormant != who:
        play_round(scene, [name for name in scene.members if name != who])
    return scene


def outcome(scene, number):
    return next(each.result for each in scene.told(Closed) if each.round_number == number)


def wake_all(scene):
    for name in scene.names(scene.it.roster.missed_once):
        scene.do("wake", name)


def fresh_round(scene):
    """Return a fork at the opening of a round with everybody awake, or None if it is over."""
    there = scene.fork()
    while running(there):
        play_round(there, "")
        if running(there):
            wake_all(there)
            # A round that opened while the dormant slept is as good as any.
            if there.phase in (Phase.CONTRIBUTE, Phase.PROPOSE):
                return there
    return None


def l1_l4_silence_closes_every_round(scene):
    """L1: 3 + f + 1 deadlines close the round, and until OVER there is always a call to make.

    L4: silence uses up `rounds` only where there was a proposal already.
    """
    if not running(scene):
        return
    there = scene.fork()
    if there.now <= there.it.round.deadline:
        assert there.why_not("advance", "z") is Reason.EARLY
    proposed, counted = bool(there.it.round.candidates), there.it.counted
    deadlines = play_round(there, "")
    assert deadlines.total() <= 3 + faults(scene) + 1
    assert there.it.counted == counted + proposed


def l2_honest_proposals_pass(scene, hostile, silent):
    """With no more silent or hostile voters than section 9 says, an honest proposal passes."""
    there = fresh_round(scene)
    if there is None:
        return
    most = tolerance(there.it.rules, len(there.members)).obstructing
    number = there.it.round.number
    if there.it.council:
        there.contribute_all()
    against = [name for name in there.members if name != there.front][:most]
    quiet = "".join(against[: silent % (most + 1)])
    acting = there.members.translate({ord(name): None for name in quiet})
    play_round(there, acting, "".join(against) if hostile else quiet)
    assert outcome(there, number) is Outcome.ACCEPTED


def l3_the_gone_cost_two_deadlines_each(scene, count):
    """Who is gone for good costs two deadlines, once; after that nobody waits any more."""
    there = fresh_round(scene)
    if there is None:
        return
    n, k = len(there.members), there.it.rules.merge_tolerance
    most = min((n - 1) // 2, tolerance(there.it.rules, n).obstructing)
    if there.it.council:
        most = min(most, k)
    gone = there.members[: count % (most + 1)]
    acting, epoch = there.members[len(gone) :], there.it.roster.epoch
    missed, deadlines, there.events = Counter(), 0, []
    for _ in range(3 * n):
        if not running(there) or there.it.roster.epoch != epoch:
            break
        deadlines += play_round(there, acting).total()
    for event in there.told(Missed):
        missed.update(seats_of(event.seats))
    assert {there.name(seat) for seat in missed} <= set(gone)
    assert all(times <= 2 for times in missed.values())
    assert deadlines <= 2 * len(gone)


def l5_a_council_reaches_its_vote(scene, count):
    """With at most f silent, no more than f + 1 merger deadlines pass before VOTE."""
    there = fresh_round(scene)
    if there is None or not there.it.council:
        return
    f, n = faults(there), len(there.members)
    # The silent are the next mergers: nothing costs more.
    enough = min(there.it.rules.merge_tolerance, (n - 1) // 2)
    most = min(f, enough)
    silent = [there.name(seat) for seat in there.it.roster.queue.order][: count % (most + 1)]
    acting = [name for name in there.members if name not in silent]
    number, deadlines = there.it.round.number, 0
    while there.place != (number, Phase.VOTE):
        assert there.it.round.number == number
        willing = [name for name in there.awaited if name in acting]
        if willing:
            act(there, willing[0])
        else:
            deadlines += there.phase is Phase.PROPOSE
            there.silence()
    assert deadlines <= f + 1
