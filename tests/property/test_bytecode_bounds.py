"""The edges of every packed field, and every reason: the rules and the bytecode agree there too."""

import importlib.util
import os
from dataclasses import replace

import pytest

if importlib.util.find_spec("pyrevm") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no pyrevm here: pip install 'colearn[evm]'", allow_module_level=True)

from tests.worlds import DOMAIN, Twins, address, digest, signed

from colearn.core import Phase, Reason, Rules
from colearn.core import calls as c
from colearn.core.bindings import ZERO, Domain, commitment
from colearn.core.experiment import NOBODY
from colearn.errors import LedgerError, LocalProtocolError
from colearn.ledger.bytecode import NOW_MAX, BytecodeReplica, slot

LIMIT = 2**256
NOTE = digest("note")


class Group:
    """Members 0 to n - 1 of a started experiment, told what to do one call at a time."""

    def __init__(self, size, twins=None, *, start=True, now=10_000, **rules):
        self.twins = Twins() if twins is None else twins
        self.now, self.size = now, size
        self.specification, self.model = digest("specification"), digest("model 0")
        word = Rules(**{"propose_s": 60, "vote_s": 60} | rules).to_word()
        (event,) = self.do(0, c.Create(self.specification, self.model, word, ""))
        self.number = event.experiment
        for begin in range(0, size, 64):
            people = range(begin, min(size, begin + 64))
            self.do(0, c.Invite(self.number, tuple(map(address, people))))
        for person in range(size):
            self.join(person)
        if start:
            self.do(0, c.Start(self.number, self.state.roster.digest))

    @property
    def state(self):
        return self.twins.experiment(self.number)

    @property
    def phase(self):
        return self.state.phase

    @property
    def at(self):
        return self.number, self.state.round.number

    @property
    def proposer(self):
        addresses = self.state.roster.addresses
        return next(p for p in range(300) if address(p) == addresses[self.state.front])

    @property
    def voters(self):
        return [person for person in range(self.size) if person != self.proposer]

    def do(self, person, call):
        return self.twins.apply(call, address(person), self.now)

    def refused(self, person, call, reason):
        before = self.twins.reasons[reason]
        assert self.do(person, call) is None
        assert self.twins.reasons[reason] == before + 1, self.twins.story(reason)

    def join(self, person):
        return self.do(person, c.Join(self.number, self.specification, self.model, ZERO))

    def contribute(self, *people):
        for person in people:
            self.do(person, c.Contribute(*self.at, self.state.model, digest(person)))

    def propose(self, count=1, included=0):
        candidates = tuple(digest(self.at, index) for index in range(count))
        call = c.Propose(*self.at, self.state.model, included, candidates, "ipfs://x")
        assert self.do(self.proposer, call)

    def vote(self, person, not_worse=1):
        call = c.Vote(*self.at, self.state.round.key, not_worse, 0, NOTE)
        assert self.do(person, call)

    def skip(self):
        assert self.do(self.proposer, c.Skip(*self.at))

    def advance(self):
        self.now = self.state.round.deadline + 1
        return self.do(0, c.Advance(*self.at, int(self.phase)))

    def relayed(self, people, not_worse=1, domain=DOMAIN):
        """A call with the signed ballots of people, whose seats are their numbers."""
        plain = [c.SignedBallot(p, not_worse, 0, NOTE, False, None) for p in people]
        key = self.state.round.key
        ballots = [
            signed(ballot, person, domain, *self.at, key)
            for person, ballot in zip(people, plain, strict=True)
        ]
        return c.VoteMany(*self.at, tuple(ballots))

    def motion(self, person, kind, target):
        where = target if isinstance(target, str) else address(target)
        return c.Motion(self.number, self.state.roster.epoch, kind, where)

    def set(self, *, counted=None, streak=None, number=None):
        """Put both where only years of rounds would bring them."""
        state, turn = self.state, self.twins.replica.read("turn", self.number)
        for value, low, width in ((number, 0, 32), (counted, 32, 32), (streak, 220, 16)):
            if value is not None:
                turn = turn & ~(((1 << width) - 1) << low) | value << low
        state = replace(
            state,
            counted=state.counted if counted is None else counted,
            streak=state.streak if streak is None else streak,
            round=state.round if number is None else replace(state.round, number=number),
        )
        book = self.twins.book
        experiments = {**book.experiments, self.number: state}
        self.twins.book = replace(book, experiments=experiments)
        place = slot("turn", self.number)
        self.twins.replica._evm.insert_account_storage(DOMAIN.contract, place, turn)
        self.twins.check_all()


def test_seat_255_is_the_last_one_and_takes_part_like_any_other():
    group = Group(256, start=False)
    group.do(0, c.Invite(group.number, (address(256),)))
    join = c.Join(group.number, group.specification, group.model, ZERO)
    group.refused(256, join, Reason.FULL)
    group.do(0, c.Start(group.number, group.state.roster.digest))
    assert group.state.roster.members == LIMIT - 1
    for _ in range(255):
        group.skip()
    assert group.state.front == 255
    group.propose(8)
    group.refused(0, group.relayed([255], 255), Reason.NO_VOTER)
    group.do(0, group.relayed(range(128), 255))
    assert group.state.round.approvals == (128,) * 8
    group.do(0, group.relayed(range(128, 255), 0b1111_1110))
    assert (group.phase, group.state.front, group.state.model) == (
        Phase.PROPOSE, 0, digest((group.number, 256), 0),
    )  # fmt: skip
    group.do(255, c.Leave(group.number))
    group.skip()
    assert group.state.roster.size == 255


def test_with_256_members_512_empty_rounds_are_the_end():
    group = Group(256)
    for _ in range(511):
        group.skip()
    assert group.phase is Phase.PROPOSE
    group.skip()
    assert group.phase is Phase.OVER
    assert group.do(255, c.Confirm(group.number, group.state.model))


def test_256_members_may_all_sleep_and_are_all_waited_for():
    group = Group(256, contribute_s=60, merge_tolerance=65535)
    for _ in range(2):
        group.advance()
    assert group.state.roster.missed_twice == LIMIT - 1
    assert group.state.roster.dormant == 0
    group.contribute(*range(128))
    assert group.phase is Phase.CONTRIBUTE
    group.contribute(128)  # now fewer than half sleep, and nobody waits for them any more
    assert group.phase is Phase.PROPOSE
    included = (1 << 129) - 1
    candidate = (digest("merged"),)
    for mask, reason in (
        (included >> 1, Reason.TOO_FEW_INCLUDED),
        (included ^ 1 ^ 1 << 255, Reason.NOT_CONTRIBUTED),
        (LIMIT - 1, Reason.NOT_CONTRIBUTED),
    ):
        call = c.Propose(*group.at, group.state.model, mask, candidate, "")
        group.refused(group.proposer, call, reason)
    group.propose(included=included)


def test_half_dormant_is_nobody_and_fewer_than_half_are_passed_over():
    group = Group(256, contribute_s=60, merge_tolerance=127)
    awake = range(128)
    for _ in range(2):
        group.contribute(*awake)
        group.advance()
    assert group.state.roster.missed_twice.bit_count() == 128
    assert group.state.roster.dormant == 0
    group.do(255, c.Wake(group.number))
    assert group.state.roster.dormant.bit_count() == 127
    group.contribute(255, *awake)
    assert group.phase is Phase.PROPOSE


@pytest.mark.parametrize("tolerance", [0, 1, 65535])
@pytest.mark.parametrize("size", [2, 3, 4, 5, 8, 9])
def test_a_council_needs_its_contributions_and_no_more(tolerance, size):
    group = Group(size, contribute_s=60, merge_tolerance=tolerance)
    least = size - min(tolerance, (size - 1) // 2)
    group.contribute(*range(least - 1))
    group.advance()
    assert group.at == (group.number, 2)
    group.contribute(*range(least))
    if group.phase is Phase.CONTRIBUTE:
        group.advance()
    assert group.phase is Phase.PROPOSE
    group.propose(included=(1 << least) - 1)


@pytest.mark.parametrize(
    ("numerator", "denominator"),
    [(0, 65535), (1, 65535), (32767, 65535), (32768, 65535), (65534, 65535), (65535, 65535)],
)
@pytest.mark.parametrize("size", [2, 3, 8])
def test_thresholds_of_16_bits_are_exact(numerator, denominator, size):
    twins = Twins()
    word = Rules(propose_s=60, vote_s=60).to_word() >> 32 << 32 | numerator | denominator << 16
    for needed in range(1, size):
        group = Group(size, twins)
        group.do(0, c.Create(group.specification, group.model, word, ""))
        group.number += 1
        group.do(0, c.Invite(group.number, tuple(map(address, range(size)))))
        for person in range(size):
            group.join(person)
        group.do(0, c.Start(group.number, group.state.roster.digest))
        group.propose()
        for place, person in enumerate(group.voters):
            group.vote(person, int(place < needed))
    assert twins.outcomes[1] >= 1
    for bad in (65535 | 65534 << 16, 1, 65535):
        group.refused(0, c.Create(NOTE, NOTE, word >> 32 << 32 | bad, ""), Reason.THRESHOLD)


def test_durations_of_32_bits_and_deadlines_of_40_fit():
    longest = 2**32 - 1
    group = Group(
        3, now=NOW_MAX - 1, contribute_s=longest, propose_s=longest, vote_s=longest,
        reveal_s=longest, merge_tolerance=1,
    )  # fmt: skip
    assert group.state.round.deadline == NOW_MAX - 1 + longest < 2**40
    group.contribute(0, 1, 2)
    group.propose(included=7)
    voter = group.voters[0]
    ballot = c.Reveal(*group.at, 1, 0, NOTE, NOTE)
    sealed = commitment(DOMAIN, address(voter), group.state.round.key, ballot)
    group.do(voter, c.Commit(*group.at, sealed))
    group.do(group.voters[1], c.Abstain(*group.at, group.state.round.key))
    assert group.phase is Phase.REVEAL
    group.do(voter, ballot)
    assert group.state.counted == 1
    with pytest.raises(LedgerError, match="seconds below"):
        group.twins.replica.apply(c.Wake(group.number), address(0), NOW_MAX)


@pytest.mark.parametrize("field", [32, 64, 96, 128])
@pytest.mark.parametrize("drift", [0, 1, 5, 2**30 - 1])
def test_a_phase_lasts_four_drifts_and_a_second_at_least(field, drift):
    twins = Twins(drift_s=drift)
    least = max(4 * drift, 1)
    word = Rules(contribute_s=least, propose_s=least, vote_s=least, reveal_s=least).to_word()
    assert twins.apply(c.Create(NOTE, NOTE, word, ""), address(0), 1)
    without = word & ~((2**32 - 1) << field)
    short = without | (least - 1) << field
    for each, allowed in (
        (short, least == 1 and field in (32, 128)),
        (without, field in (32, 128)),
    ):
        assert bool(twins.apply(c.Create(NOTE, NOTE, each, ""), address(0), 1)) is allowed
        assert allowed or twins.tail[-1][-1] is Reason.DEADLINE_SHORT


def test_no_drift_is_deployed_that_leaves_no_phase():
    for drift in (2**30, 2**256 - 1):
        with pytest.raises(LedgerError, match="drift"):
            BytecodeReplica(DOMAIN, drift)


@pytest.mark.parametrize("bit", [*range(208, 216), *range(217, 224), *range(240, 256)])
def test_no_reserved_bit_of_the_rules_is_taken(bit):
    twins = Twins()
    word = Rules(propose_s=1, vote_s=1).to_word() | 1 << bit
    assert twins.apply(c.Create(NOTE, NOTE, word, ""), address(0), 1) is None
    assert twins.reasons == {Reason.RESERVED: 1}


def test_a_call_at_the_deadline_is_in_time_and_one_second_later_is_late():
    group = Group(3)
    group.now = group.state.round.deadline
    group.refused(0, c.Advance(*group.at, 2), Reason.EARLY)
    group.propose()
    group.now = group.state.round.deadline
    group.vote(1)
    group.now += 1
    group.refused(2, c.Vote(*group.at, group.state.round.key, 1, 0, NOTE), Reason.LATE)
    assert group.do(2, c.Advance(*group.at, 3))


def test_counters_of_rounds_go_to_the_end_of_their_fields():
    last = 2**32 - 1
    group = Group(2, rounds=last)
    group.set(counted=last - 2, number=last - 2)
    for _ in range(2):
        assert group.phase is Phase.PROPOSE
        group.propose()
        group.vote(group.voters[0])
    assert (group.phase, group.state.counted) == (Phase.OVER, last)


def test_a_patience_of_65535_is_waited_for_and_the_streak_stays_there():
    patient, endless = Group(2, patience=65535), Group(2)
    for group in (patient, endless):
        group.set(streak=65533)
        for _ in range(2):
            assert group.phase is Phase.PROPOSE
            group.propose()
            group.vote(group.voters[0], 0)
    assert (patient.phase, endless.phase) == (Phase.OVER, Phase.PROPOSE)
    for approval in (0, 0, 1, 0):
        endless.propose()
        endless.vote(endless.voters[0], approval)
    assert endless.state.streak == 1


def test_eight_candidates_have_eight_counts():
    group = Group(20)
    group.propose(8)
    for place, person in enumerate(group.voters):
        group.vote(person, 255 if place < 5 else place * 37 % 256)
    group = Group(9)
    for winner in range(8):
        group.propose(8)
        for mask in (256, 1 << 255, LIMIT - 1):
            call = c.Vote(*group.at, group.state.round.key, mask, 0, NOTE)
            group.refused(group.voters[0], call, Reason.MASKS)
        number = group.at
        for person in group.voters:
            group.vote(person, 255 >> winner << winner)
        assert group.state.model == digest(number, winner)


@pytest.mark.parametrize("count", range(1, 9))
def test_a_mask_has_a_bit_for_each_candidate_and_no_other(count):
    group = Group(3)
    group.propose(count)
    call = c.Vote(*group.at, group.state.round.key, 1 << count, 0, NOTE)
    group.refused(group.voters[0], call, Reason.MASKS)
    group.refused(group.voters[0], replace(call, not_worse=0, better=1), Reason.MASKS)
    group.vote(group.voters[0], (1 << count) - 1)


def test_candidates_differ_from_each_other_and_from_the_parent():
    group = Group(2)
    eight = tuple(digest(index) for index in range(8))
    call = c.Propose(*group.at, group.state.model, 0, eight, "u" * 256)
    for first in range(8):
        twice = (*eight[:first], group.state.model, *eight[first + 1 :])
        group.refused(0, replace(call, candidates=twice), Reason.CANDIDATES_EQUAL)
        for second in range(first):
            twice = (*eight[:first], eight[second], *eight[first + 1 :])
            group.refused(0, replace(call, candidates=twice), Reason.CANDIDATES_EQUAL)
    group.refused(0, replace(call, candidates=()), Reason.NO_CANDIDATE)
    for fields in ({"candidates": (*eight, NOTE)}, {"uri": "u" * 257}, {"included": LIMIT}):
        with pytest.raises(LocalProtocolError, match="does not take"):
            group.twins.replica.apply(replace(call, **fields), address(0), group.now)
    assert group.do(0, call)


def test_every_call_about_an_unknown_experiment_is_refused_alike():
    group = Group(3)
    for number in (0, group.number + 1, LIMIT - 1):
        calls = (
            c.Invite(number, (address(0),)),
            c.Join(number, NOTE, NOTE, NOTE),
            c.Start(number, ZERO),
            c.Contribute(number, 0, ZERO, NOTE),
            c.Propose(number, 0, ZERO, 0, (NOTE,), ""),
            c.Skip(number, 0),
            c.Vote(number, 0, ZERO, 0, 0, NOTE),
            c.Abstain(number, 0, ZERO),
            c.Commit(number, 0, NOTE),
            c.Reveal(number, 0, 0, 0, NOTE, NOTE),
            c.VoteMany(number, 0, ()),
            c.Advance(number, 0, 0),
            c.Wake(number),
            c.Leave(number),
            c.Motion(number, 0, 3, NOBODY),
            c.Confirm(number, ZERO),
        )
        for call in calls:
            assert group.do(0, call) is None


def test_what_was_signed_elsewhere_is_worth_nothing_here():
    group = Group(4)
    group.propose()
    number, round_number = group.at
    call = group.relayed([1])
    elsewhere = (Domain(2, DOMAIN.contract), Domain(1, "0x" + "c2" * 20))
    for domain in elsewhere:
        group.refused(0, group.relayed([1], domain=domain), Reason.SIGNATURE)
    plain = replace(call.ballots[0], signature=None)
    for experiment, round_, key in (
        (number + 1, round_number, group.state.round.key),
        (number, round_number + 1, group.state.round.key),
        (number, round_number, NOTE),
    ):
        ballot = signed(plain, 1, DOMAIN, experiment, round_, key)
        group.refused(0, replace(call, ballots=(ballot,)), Reason.SIGNATURE)
    assert group.do(0, call)
    group.refused(0, call, Reason.NOTHING_NEW)


@pytest.mark.parametrize("chain_id", [0, 1, 31337, 2**64 - 1])
def test_any_chain_and_any_address_can_be_stood_in_for(chain_id):
    domain = Domain(chain_id, "0x" + "9f" * 20)
    group = Group(3, Twins(domain=domain), reveal_s=60)
    group.propose()
    for person in group.voters:
        ballot = c.Reveal(*group.at, 1, 0, NOTE, digest(person))
        sealed = commitment(domain, address(person), group.state.round.key, ballot)
        group.do(person, c.Commit(*group.at, sealed))
    first, second = group.voters
    wrong = c.Reveal(*group.at, 1, 0, NOTE, digest(second))
    group.refused(first, wrong, Reason.COMMITMENT)
    for person in (first, second):
        group.do(person, c.Reveal(*group.at, 1, 0, NOTE, digest(person)))
    assert group.state.counted == 1


def test_early_close_waits_exactly_until_the_outcome_is_known():
    for approving, decided_after in ((True, 2), (False, 3)):
        group = Group(5, early_close=True)
        group.propose()
        for place, person in enumerate(group.voters[:decided_after]):
            assert group.at[1] == 1, place
            group.vote(person, int(approving))
        assert group.at[1] == 2


def test_a_dormant_merger_is_passed_over_where_the_contributions_are_complete():
    group = Group(5, contribute_s=60, merge_tolerance=2)
    others = (1, 2, 3, 4)
    group.contribute(*others)
    group.advance()
    group.advance()
    assert (group.state.front, group.state.roster.dormant) == (1, 1)
    group.skip()
    group.contribute(*others)
    group.skip()
    group.skip()
    group.contribute(*others)
    assert group.state.front == 4
    group.propose(included=0b11110)
    for person in (1, 2, 3):
        group.vote(person)
    assert (group.phase, group.state.front) == (Phase.CONTRIBUTE, 0)
    group.contribute(*others)
    assert (group.phase, group.state.front) == (Phase.PROPOSE, 1)


def test_rare_reasons_are_given_by_both():
    group = Group(3, start=False)
    group.do(0, c.Invite(group.number, (address(1),)))
    join = c.Join(group.number, group.specification, group.model, ZERO)
    group.refused(1, join, Reason.MEMBER_ALREADY)
    group.refused(1, c.Start(group.number, ZERO), Reason.CREATOR)
    group.refused(0, c.Start(group.number, ZERO), Reason.ROSTER)
    lonely = Group(1, group.twins, start=False)
    lonely.refused(0, c.Start(lonely.number, lonely.state.roster.digest), Reason.TOO_FEW)
    lonely.do(0, c.Invite(lonely.number, (address(1),)))
    wrong = c.Join(lonely.number, lonely.specification, NOTE, ZERO)
    lonely.refused(1, wrong, Reason.ORIGIN)
    group.do(0, c.Start(group.number, group.state.roster.digest))
    group.refused(0, c.Start(group.number, group.state.roster.digest), Reason.STARTED)
    assert group.do(0, group.motion(0, 2, 1))
    group.refused(0, group.motion(0, 2, 1), Reason.SUPPORTED)
    group.refused(0, group.motion(0, 2, 2), Reason.ONE_MOTION)
    group.refused(0, group.motion(0, 2, 0), Reason.ONESELF)
    assert group.do(2, c.Leave(group.number))
    group.refused(2, c.Leave(group.number), Reason.LEAVING)
    group.refused(2, group.motion(2, 2, 1), Reason.TWO_STAY)
    group.refused(1, group.motion(1, 2, 2), Reason.TARGET)
    assert group.do(0, c.Wake(group.number)) is None
    assert group.twins.reasons[Reason.NOTHING_MISSED] == 1


def test_a_member_that_comes_back_has_another_seat_at_the_back():
    group = Group(3)
    group.do(1, c.Leave(group.number))
    group.skip()
    for person in (0, 2):
        group.do(person, group.motion(person, 1, 1))
    assert group.join(1)
    assert group.state.roster.seat_of[address(1)] == 3
    group.skip()
    assert group.state.roster.queue.order == (0, 2, 3)
    group.skip()
    group.skip()
    assert group.proposer == 1
