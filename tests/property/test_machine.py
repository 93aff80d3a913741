"""A state machine against the pure rules: safety in every call, liveness from every state (9)."""

import os
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import Phase as Step
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.oracles import liveness, votes
from tests.oracles.pair import SEED, Pair
from tests.oracles.safety import Watch
from tests.oracles.scene import NAMES, Scene, address, digest

from colearn.core import Outcome, Phase, Reason, RefusedError, Rules
from colearn.core.calls import CALLS, Start
from colearn.core.experiment import NOBODY, seats_of

SEARCHING = "COLEARN_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("COLEARN_EXAMPLES", "40"))
"""Runs of each machine: the same ones always, unless somebody asks for a number to search."""

UNLESS_ASKED = {Step.explain} if SEARCHING else {Step.explain, Step.shrink}
MEMBERS = st.integers(0, 7)
OUTSIDERS = "wxyz"
THRESHOLDS = [Fraction(0), Fraction(1, 3), Fraction(1, 2), Fraction(2, 3), Fraction(1)]
CHOICES = ["approve", "reject", "abstain", "silence"]


def look_from_here(scene, count):
    """L1 to L5, S4 and S11; `count` is what the choices depend on."""
    votes.s4_after_any_ballot(scene)
    votes.s11_a_ballot_is_valid_in_its_place_alone(scene, count)
    liveness.l1_l4_silence_closes_every_round(scene)
    liveness.l2_honest_proposals_pass(scene, hostile=bool(count % 2), silent=count)
    if count % 3 == 0:
        liveness.l3_the_gone_cost_two_deadlines_each(scene, count // 3)
    liveness.l5_a_council_reaches_its_vote(scene, count)


class Machine(RuleBasedStateMachine):
    council = blind = False

    @initialize(
        size=st.integers(2, 6),
        threshold=st.sampled_from(THRESHOLDS),
        early=st.booleans(),
        tolerance=st.integers(0, 3),
        rounds=st.sampled_from([0, 0, 3]),
        patience=st.sampled_from([0, 0, 3]),
    )
    def begin(self, size, threshold, early, tolerance, rounds, patience):
        rules = Rules(
            threshold,
            60 * self.council,
            60,
            60,
            60 * self.blind,
            rounds,
            tolerance,
            early,
            patience,
        )
        self.scene = Scene(size, rules)
        self.watch = Watch(self.scene.it)
        self.secrets, self.seen = {}, set()

    # ------------------------------------------------------------------ making calls
    def ask(self, name, who, /, **changes):
        """Make a call; what is accepted is watched, what is refused must have changed nothing."""
        scene = self.scene
        call, before, was = scene.call(name, who, **changes), scene.it, repr(scene.book)
        try:
            book, events = scene.book.apply(call, address(who), scene.now)
        except RefusedError as error:
            # S5: a refused call changes no bit.
            assert repr(scene.book) == was
            return error.reason
        self.watch.see(before, book.experiments[1], call, scene.now, events)
        votes.s4_closing_early_changes_nothing(scene, call, address(who), events)
        scene.book = book
        return None

    def member(self, index):
        names = self.scene.members or NAMES
        return names[index % len(names)]

    # ------------------------------------------------------------------ what members do
    @rule(index=MEMBERS, choice=st.integers(0, 9))
    def somebody_acts(self, index, choice):
        scene, it = self.scene, self.scene.it
        awaited = scene.awaited or scene.members or NAMES
        who = awaited[index % len(awaited)]
        mask = choice % (1 << max(len(it.round.candidates), 1)) if choice < 8 else 1
        if it.phase is Phase.CONTRIBUTE:
            self.ask("contribute", who)
        elif it.phase is Phase.PROPOSE:
            candidates = tuple(digest(it.round.number, place) for place in range(1 + choice % 3))
            self.ask("propose" if choice < 9 else "skip", who, candidates=candidates)
        elif it.phase is Phase.VOTE and choice == 9:
            self.ask("abstain", who)
        elif it.phase is Phase.VOTE and it.blind:
            self.somebody_commits(who, mask)
        elif it.phase is Phase.VOTE:
            self.ask("vote", who, not_worse=mask)
        elif it.phase is Phase.REVEAL:
            self.somebody_reveals(who)
        else:
            self.ask("confirm", who)

    @precondition(lambda self: liveness.running(self.scene))
    @rule(
        acting=st.integers(0, 255),
        approving=st.integers(0, 255),
        abstaining=st.sampled_from([0, 0, 1, 6, 255]),
    )
    def a_round_goes_by(self, acting, approving, abstaining):
        """Some members do all that they are awaited for, the others nothing."""
        scene, number = self.scene, self.scene.it.round.number
        while liveness.running(scene) and scene.it.round.number == number:
            seats = [seat for seat in seats_of(scene.it.round.todo) if acting >> seat % 8 & 1]
            if not seats or scene.now > scene.it.round.deadline:
                scene.now = max(scene.now, scene.it.round.deadline) + 1
                self.ask("advance", "z")
                continue
            bit = seats[0] % 8
            abstains = abstaining >> bit & 1
            self.acts(scene.name(seats[0]), approving >> bit & 1, abstains)

    def acts(self, who, mask, abstains):
        phase = self.scene.phase
        if phase is Phase.VOTE and abstains:
            self.ask("abstain", who)
        elif phase is Phase.VOTE and self.scene.it.blind:
            self.somebody_commits(who, mask)
        elif phase is Phase.VOTE:
            self.ask("vote", who, not_worse=mask)
        elif phase is Phase.REVEAL:
            self.somebody_reveals(who)
        else:
            self.ask(phase.name.lower(), who)

    def somebody_commits(self, who, mask):
        number = self.scene.it.round.number
        commitment = self.scene.commitment(who, not_worse=mask)
        if self.ask("commit", who, commitment=commitment) is None:
            self.secrets[number, who] = mask

    def somebody_reveals(self, who):
        # What `anybody_asks_for_anything` commits to approves.
        mask = self.secrets.get((self.scene.it.round.number, who), 1)
        self.ask("reveal", who, not_worse=mask)

    @rule(name=st.sampled_from(sorted(set(CALLS) - {"create"})), who=st.sampled_from("abcdez"))
    def anybody_asks_for_anything(self, name, who):
        self.ask(name, who)

    @precondition(lambda self: votes.is_open(self.scene))
    @rule(indices=st.lists(MEMBERS, min_size=1, max_size=6), mask=st.integers(0, 1))
    def a_relay_brings_ballots(self, indices, mask):
        voters = [self.member(index) for index in indices]
        ballots = tuple(self.scene.ballot(voter, mask) for voter in voters)
        self.ask("vote_many", "z", ballots=ballots)

    # ------------------------------------------------------------------ time
    @rule(seconds=st.sampled_from([1, 7, 40]))
    def time_passes(self, seconds):
        self.scene.now += seconds

    @precondition(lambda self: liveness.running(self.scene))
    @rule()
    def a_deadline_passes(self):
        """S5: up to it nobody advances, and after it nobody acts any more."""
        scene = self.scene
        if scene.now <= scene.it.round.deadline:
            scene.now = scene.it.round.deadline
            assert self.ask("advance", "z") is Reason.EARLY
            scene.now += 1
        for who in scene.awaited:
            for name in ("contribute", "propose", "skip", "vote", "abstain", "commit", "reveal"):
                assert self.ask(name, who) in (Reason.LATE, Reason.PHASE)
        assert self.ask("advance", "z") is None

    # ------------------------------------------------------------------ who takes part
    @rule(index=MEMBERS, kind=st.integers(1, 3), about=st.sampled_from("abcdewxyz"))
    def a_motion(self, index, kind, about):
        target = NOBODY if kind == 3 else address(about)
        self.ask("motion", self.member(index), kind=kind, target=target)

    @precondition(lambda self: any(m > 0 for m in self.scene.it.roster.motions.values()))
    @rule(data=st.data())
    def all_support_a_motion(self, data):
        motions = self.scene.it.roster.motions
        open_ones = sorted(this for this, supporters in motions.items() if supporters > 0)
        kind, target = data.draw(st.sampled_from(open_ones))
        for who in self.scene.members:
            self.ask("motion", who, kind=kind, target=target)

    @rule(who=st.sampled_from("abcde" + OUTSIDERS))
    def somebody_joins(self, who):
        self.ask("join", who)

    @rule(index=MEMBERS)
    def somebody_leaves(self, index):
        self.ask("leave", self.member(index))

    @rule(index=MEMBERS)
    def somebody_wakes(self, index):
        self.ask("wake", self.member(index))

    # ------------------------------------------------------------------ S3, and liveness
    @precondition(lambda self: votes.is_open(self.scene))
    @rule(data=st.data())
    def s3_acceptance_is_monotone(self, data):
        """reject = silence <= abstain <= approve, whoever casts what beside it."""
        scene = self.scene
        missing = scene.awaited
        if not missing or scene.now > scene.it.round.deadline:
            return
        ballots = {name: data.draw(st.sampled_from(CHOICES)) for name in missing}
        one = data.draw(st.sampled_from(missing))
        accepted = [
            votes.complete(scene, {**ballots, one: choice}.items())[0] is Outcome.ACCEPTED
            for choice in ("reject", "silence", "abstain", "approve")
        ]
        rejects, silent, abstains, approves = accepted
        assert rejects == silent
        assert rejects <= abstains <= approves

    @invariant()
    def all_holds_from_here(self):
        """L1 to L5, S4 and S11, from every state that is reached for the first time."""
        if not hasattr(self, "scene") or not liveness.running(self.scene):
            return
        it = self.scene.it
        here = hash(repr(replace(it, round=replace(it.round, deadline=0))))
        if here in self.seen:
            return
        self.seen.add(here)
        look_from_here(self.scene, len(self.seen))

    def teardown(self):
        if hasattr(self, "scene") and self.scene.phase is Phase.OVER:
            # L1: only OVER has no call that goes on.
            assert self.ask("advance", "z") is Reason.PHASE
            assert self.ask("join", "z") is Reason.OVER


@pytest.mark.parametrize("batch", range(4))
def test_safety_and_liveness_in_long_worlds(batch):
    for seed in range(SEED + 2000 + 12 * batch, SEED + 2012 + 12 * batch):
        pair, watch, scene = Pair(seed, comparing=False), None, Scene(0, started=False)
        for count, (call, found, before) in enumerate(pair.run()):
            if isinstance(found, Reason) or getattr(call, "experiment", 0) != 1:
                continue
            after, now = pair.book.experiments[1], pair.world.now
            if watch is not None:
                watch.see(before.experiments[1], after, call, now, found)
                scene.book, scene.now = before, now
                votes.s4_closing_early_changes_nothing(scene, call, pair.sender, found)
            elif isinstance(call, Start):
                watch = Watch(after)
            scene.book, scene.now = pair.book, now
            if count % 10 == 0:
                look_from_here(scene, count // 10)


class Council(Machine):
    council = True


class Blind(Machine):
    blind = True


class BlindCouncil(Machine):
    council = blind = True


@pytest.mark.parametrize("kind", [Machine, Council, Blind, BlindCouncil])
def test_safety_s1_to_s9_and_s11_and_liveness_l1_to_l5(kind):
    machine = kind.TestCase
    machine.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=40,
        deadline=None,
        derandomize=not SEARCHING,
        # Neither makes a failure easier to find, and both take minutes here.
        phases=[step for step in Step if step not in UNLESS_ASKED],
    )
    machine().runTest()
