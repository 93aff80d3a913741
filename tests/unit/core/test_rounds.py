"""How phases end, rounds open and turns go round (7.2, P3.1, 5.1, 5.2)."""

import pytest
from tests.oracles.liveness import play_round, sleeper
from tests.oracles.scene import MODEL, SALT, Scene, address, digest

from colearn.core import Outcome, Phase, Rules
from colearn.core.events import (
    Awoke,
    Closed,
    Committed,
    Contributed,
    Missed,
    Opened,
    Proposed,
    Revealed,
    Skipped,
    Voted,
)

OPEN = Rules(propose_s=60, vote_s=50)
BLIND = Rules(propose_s=60, vote_s=50, reveal_s=40)
ZERO = "00" * 32


def council(tolerance=1, **more):
    return Rules(contribute_s=70, propose_s=60, vote_s=50, merge_tolerance=tolerance, **more)


def outcomes(scene):
    return [event.result for event in scene.told(Closed)]


def test_a_round_with_open_votes_is_told_call_by_call():
    scene = Scene(3, OPEN)
    candidate = digest("candidate", 1, 0)
    (proposed,) = scene.propose()
    key = scene.it.round.key
    assert proposed == Proposed(1, 1, address("a"), key, MODEL, 0, (candidate,), "", scene.now + 50)
    (voted,) = scene.do("vote", "c", note=SALT)
    assert voted == Voted(1, 1, address("c"), 1, 0, False, SALT)
    assert scene.do("abstain", "b") == (
        Voted(1, 1, address("b"), 0, 0, True, ZERO),
        Closed(1, 1, 0, 1, candidate),
        Opened(1, 2, Phase.PROPOSE, 1, scene.now + 60),
    )
    assert (scene.it.model, scene.it.counted, scene.it.streak) == (candidate, 1, 0)


def test_a_blind_round_is_told_call_by_call():
    scene = Scene(3, BLIND)
    scene.propose()
    commitment = scene.commitment("b")
    assert scene.do("commit", "b") == (Committed(1, 1, address("b"), commitment),)
    assert scene.do("commit", "c", commitment=scene.commitment("c", not_worse=0)) == (
        Committed(1, 1, address("c"), scene.it.round.commitments[2]),
        Opened(1, 1, Phase.REVEAL, 0, scene.now + 40),
    )
    assert scene.do("reveal", "b") == (Revealed(1, 1, address("b"), 1, 0, ZERO, SALT),)
    told = scene.do("reveal", "c", not_worse=0)
    assert told[1:] == (
        Closed(1, 1, 0, 1, digest("candidate", 1, 0)),
        Opened(1, 2, Phase.PROPOSE, 1, scene.now + 60),
    )


def test_a_council_round_is_told_call_by_call():
    scene = Scene(3, council())
    assert scene.events[-1] == Opened(1, 1, Phase.CONTRIBUTE, 0, scene.now + 70)
    (told,) = scene.do("contribute", "a")
    assert told == Contributed(1, 1, address("a"), digest("contribution", "a", 1))
    scene.do("contribute", "b")
    assert scene.do("contribute", "c")[1:] == (Opened(1, 1, Phase.PROPOSE, 0, scene.now + 60),)
    scene.do("propose", "a", included=0b110)
    assert scene.it.round.included == 0b110
    assert scene.phase is Phase.VOTE


def test_silence_is_missed_and_everything_goes_on():
    scene = Scene(3, OPEN)
    assert scene.silence() == (
        Missed(1, 1, Phase.PROPOSE, 0b001),
        Closed(1, 1, 0, 3, MODEL),
        Opened(1, 2, Phase.PROPOSE, 1, scene.now + 60),
    )
    scene.propose()
    scene.do("vote", "c")
    assert scene.silence() == (
        Missed(1, 2, Phase.VOTE, 0b001),
        Closed(1, 2, 1, 1, digest("candidate", 2, 0)),
        Opened(1, 3, Phase.PROPOSE, 2, scene.now + 60),
    )


def test_a_skip_ends_the_turn_at_once_and_is_an_act():
    scene = Scene(3, OPEN)
    for _ in range(3):
        scene.silence()
    assert scene.names(scene.it.roster.missed_once) == "abc"
    assert scene.do("skip", "a") == (
        Skipped(1, 4, address("a")),
        Closed(1, 4, 0, 3, MODEL),
        Opened(1, 5, Phase.PROPOSE, 1, scene.now + 60),
    )
    assert scene.names(scene.it.roster.missed_once) == "bc"


def test_turns_go_round_in_join_order():
    scene = Scene(3)
    turns = ""
    for _ in range(5):
        turns += scene.front
        scene.do("skip", scene.front)
    assert turns == "abcab"


# ---------------------------------------------------------------- dormancy


def test_who_missed_two_deadlines_is_not_waited_for_and_keeps_its_weight():
    scene = sleeper("e", rules=OPEN)
    assert (scene.dormant, scene.front) == ("e", "c")
    scene.propose()
    scene.votes(a=1, b=0, d=0)
    # One of five behind it, its proposer too, is no majority of five.
    assert outcomes(scene)[-1] is Outcome.REJECTED
    assert scene.front == "d"


def test_the_turn_of_a_dormant_member_is_over_at_once():
    scene = sleeper("e", rules=OPEN)
    for _ in range(2):
        last = scene.do("skip", scene.front)
    assert last[1:] == (
        Closed(1, 4, 3, 3, digest("candidate", 2, 0)),
        Closed(1, 5, 4, 3, digest("candidate", 2, 0)),
        Opened(1, 6, Phase.PROPOSE, 0, scene.now + 60),
    )


@pytest.mark.parametrize("act", ["wake", "vote", "abstain", "vote_many"])
def test_an_act_ends_dormancy_and_is_waited_for_again(act):
    scene = sleeper("e", rules=OPEN)
    scene.propose()
    changes = {"ballots": (scene.ballot("e"),)} if act == "vote_many" else {}
    told = scene.do(act, "e", **changes)
    if act == "wake":
        assert told == (Awoke(1, address("e")),)
    assert (scene.dormant, scene.it.roster.missed_once) == ("", 0)
    scene.votes(a=1, b=1, d=1)
    assert (scene.phase is Phase.VOTE) == (act == "wake")


@pytest.mark.parametrize("act", ["vote", "abstain", "propose", "skip", "wake"])
def test_one_missed_deadline_and_another_after_an_act_are_not_two_running(act):
    scene = Scene(3)
    scene.propose()
    scene.votes(b=1)
    scene.silence()
    assert scene.names(scene.it.roster.missed_once) == "c"
    if act in ("propose", "skip"):
        scene.do("skip", "b")
    elif act != "wake":
        scene.propose()
    scene.do(act, "c")
    while scene.it.round.number < 4:
        play_round(scene, "abc")
    play_round(scene, "ab")
    assert scene.names(scene.it.roster.missed_once) == "c"
    assert scene.it.roster.missed_twice == 0


def test_a_commitment_is_no_act_until_it_is_revealed():
    scene = sleeper("e", rules=BLIND)
    scene.propose()
    scene.do("commit", "e")
    assert scene.dormant == "e"
    for name in scene.awaited:
        scene.do("commit", name)
    assert scene.phase is Phase.REVEAL
    scene.do("reveal", "e")
    assert (scene.dormant, scene.it.roster.missed_once) == ("", 0)


def test_the_dormant_are_fewer_than_half_or_nobody_is():
    scene = Scene(4, OPEN)
    for _ in range(2):
        scene.propose()
        scene.votes(**{name: 1 for name in "ab" if name != scene.front})
        scene.silence()
    assert (scene.it.roster.missed_twice.bit_count(), scene.dormant) == (2, "")
    scene.do("wake", "d")
    assert scene.dormant == "c"


def test_a_proposer_that_falls_asleep_in_its_turn_has_its_deadline():
    # Of four, three missed twice, so nobody was dormant when c's turn began; two others wake.
    scene = Scene(4, OPEN)
    for _ in range(2):
        scene.propose()
        scene.votes(**{name: 1 for name in "ab" if name != scene.front})
        scene.silence()
    assert scene.front == "c"
    scene.do("wake", "d")
    assert (scene.phase, scene.dormant) == (Phase.PROPOSE, "c")
    assert scene.silence()[0] == Missed(1, 3, Phase.PROPOSE, 0)


def test_a_phase_that_opens_for_nobody_awake_lasts_until_its_deadline():
    scene = sleeper("e", rules=BLIND)
    number = scene.it.round.number
    scene.propose()
    scene.do("commit", "e")
    for name in scene.awaited:
        scene.do("abstain", name)
    assert (scene.place, scene.awaited, scene.dormant) == ((number, Phase.REVEAL), "e", "e")
    # Nobody waited for it, so it has not missed this deadline.
    assert scene.silence()[0] == Missed(1, number, Phase.REVEAL, 0)


# ---------------------------------------------------------------- blind votes


def test_a_blind_vote_in_which_all_abstain_needs_no_reveal():
    scene = Scene(3, BLIND)
    scene.propose()
    scene.do("abstain", "b")
    scene.do("abstain", "c")
    assert outcomes(scene) == [Outcome.REJECTED]


def test_who_does_not_reveal_is_silent():
    scene = Scene(3, BLIND)
    scene.propose()
    scene.do("commit", "b")
    scene.silence()
    assert (scene.phase, scene.awaited) == (Phase.REVEAL, "b")
    assert scene.silence()[0] == Missed(1, 1, Phase.REVEAL, 0b010)
    assert outcomes(scene) == [Outcome.REJECTED]


def test_a_vote_without_any_commitment_is_rejected_at_the_deadline():
    scene = Scene(3, BLIND)
    scene.propose()
    scene.silence()
    assert outcomes(scene) == [Outcome.REJECTED]


# ---------------------------------------------------------------- tallies


def test_the_lowest_candidate_that_passes_is_accepted():
    scene = Scene(5)
    scene.propose(3)
    scene.votes(b=0b111, c=0b110, d=0b100, e=0)
    assert scene.it.model == digest("candidate", 1, 1)
    scene.propose(2)
    scene.votes(a=0b01, c=0b10, d=0, e=0)
    assert outcomes(scene) == [Outcome.ACCEPTED, Outcome.REJECTED]
    assert scene.it.model == digest("candidate", 1, 1)


def test_an_early_close_waits_until_no_ballot_can_change_the_outcome():
    rules = Rules(propose_s=60, vote_s=60, early_close=True)
    scene = Scene(5, rules)
    scene.propose()
    scene.votes(b=1)
    assert scene.phase is Phase.VOTE
    scene.votes(c=1)
    assert outcomes(scene) == [Outcome.ACCEPTED]
    scene.propose()
    scene.votes(a=0, c=0)
    assert scene.phase is Phase.VOTE
    scene.votes(d=0)
    assert outcomes(scene)[-1] is Outcome.REJECTED
    scene.propose(2)
    scene.votes(a=3, b=3, d=3)
    assert scene.phase is Phase.VOTE


def test_without_the_rule_a_vote_waits_for_all():
    scene = Scene(5)
    scene.propose()
    scene.votes(b=1, c=1, d=1)
    assert scene.phase is Phase.VOTE


def test_a_blind_vote_is_never_closed_early():
    scene = Scene(6, Rules(propose_s=60, vote_s=60, reveal_s=60, early_close=True))
    scene.propose()
    for name in "bcde":
        scene.do("abstain", name)
    # One approval is not enough, whatever f commits to.
    assert scene.phase is Phase.VOTE
    scene.do("commit", "f")
    scene.do("reveal", "f")
    assert outcomes(scene) == [Outcome.REJECTED]


def test_who_abstained_is_not_waited_for_by_an_early_close():
    scene = Scene(5, Rules(propose_s=60, vote_s=60, early_close=True))
    scene.propose()
    scene.do("abstain", "b")
    scene.votes(c=0)
    assert scene.phase is Phase.VOTE
    scene.votes(d=0)
    assert outcomes(scene) == [Outcome.REJECTED]


def test_a_relay_settles_once():
    scene = Scene(5, Rules(propose_s=60, vote_s=60, early_close=True))
    scene.propose()
    ballots = (*map(scene.ballot, "bcd"), scene.ballot("e", 7, abstain=True))
    told = scene.do("vote_many", "z", ballots=ballots)
    assert [type(event) for event in told] == [Voted, Voted, Voted, Voted, Closed, Opened]
    assert told[3] == Voted(1, 1, address("e"), 7, 0, True, ZERO)


# ---------------------------------------------------------------- councils


def test_too_few_contributions_are_no_proposal_at_once():
    scene = Scene(4, council(tolerance=1))
    scene.do("contribute", "a")
    scene.do("contribute", "b")
    assert scene.silence()[1:] == (
        Closed(1, 1, 0, 3, MODEL),
        Opened(1, 2, Phase.CONTRIBUTE, 1, scene.now + 70),
    )


@pytest.mark.parametrize(("tolerance", "needed"), [(0, 5), (1, 4), (2, 3), (3, 3), (9, 3)])
def test_a_council_needs_all_but_k_and_more_than_half(tolerance, needed):
    scene = Scene(5, council(tolerance))
    assert scene.it.contributions_needed == needed
    for name in "abcde"[:needed]:
        scene.do("contribute", name)
    if scene.phase is Phase.CONTRIBUTE:
        scene.silence()
    assert scene.phase is Phase.PROPOSE


def test_a_silent_merger_passes_the_contributions_on():
    scene = Scene(7, council(tolerance=2))
    scene.contribute_all()
    for merger in "ab":
        assert (scene.place, scene.front) == ((1, Phase.PROPOSE), merger)
        scene.silence()
    assert (scene.front, scene.it.round.tried) == ("c", 2)
    # f = 2: the third merger is the last; each has had its turn.
    assert scene.silence()[1:] == (
        Closed(1, 1, 2, 3, MODEL),
        Opened(1, 2, Phase.CONTRIBUTE, 3, scene.now + 70),
    )
    assert scene.it.round.contributions == {}


def test_a_small_council_has_a_second_merger_too():
    scene = Scene(3, council())
    scene.contribute_all()
    scene.do("skip", "a")
    assert (scene.place, scene.front) == ((1, Phase.PROPOSE), "b")
    scene.do("skip", "b")
    assert scene.place == (2, Phase.CONTRIBUTE)


def test_the_turn_of_a_dormant_merger_passes_when_the_contributions_are_in():
    scene = sleeper("b", rules=council(tolerance=2))
    while scene.front != "b":
        play_round(scene, "acde")
    assert scene.dormant == "b"
    number = scene.it.round.number
    scene.contribute_all(but="b")
    assert scene.place == (number, Phase.PROPOSE)
    assert (scene.front, scene.it.round.tried) == ("c", 1)
    assert len(scene.it.round.contributions) == 4


# ---------------------------------------------------------------- the end


def test_only_rounds_with_a_proposal_use_up_rounds():
    scene = Scene(3, Rules(propose_s=60, vote_s=60, rounds=2))
    for _ in range(4):
        scene.silence()
    assert (scene.it.counted, scene.it.empty) == (0, 4)
    for _ in range(2):
        scene.propose()
        scene.silence()
    assert (scene.phase, scene.it.counted, scene.it.round.number) == (Phase.OVER, 2, 6)


def test_patience_counts_proposals_in_a_row_that_were_not_accepted():
    scene = Scene(3, Rules(propose_s=60, vote_s=60, patience=2))
    scene.propose()
    scene.votes(b=0, c=0)
    scene.do("skip", "b")
    scene.propose()
    scene.votes(a=1, b=1)
    assert scene.it.streak == 0
    scene.propose()
    scene.votes(b=0, c=0)
    assert (scene.phase, scene.it.streak) == (Phase.PROPOSE, 1)
    scene.do("skip", "b")
    scene.propose()
    scene.votes(a=0, b=0)
    assert (scene.phase, scene.it.streak) == (Phase.OVER, 2)


def test_two_rounds_a_member_without_a_proposal_are_the_end():
    scene = Scene(3)
    for _ in range(5):
        scene.do("skip", scene.front)
    assert scene.phase is Phase.PROPOSE
    scene.propose()
    scene.silence()
    assert scene.it.empty == 0
    for count in range(6):
        assert scene.it.empty == count
        scene.do("skip", scene.front)
    assert scene.phase is Phase.OVER


def test_the_end_is_counted_with_the_members_of_then():
    scene = Scene(4)
    for _ in range(5):
        scene.do("skip", scene.front)
    scene.do("leave", "a")
    scene.do("skip", scene.front)
    # Six rounds without a proposal are twice the three that are left.
    assert (scene.phase, scene.members) == (Phase.OVER, "bcd")
