"""The invariants S1 to S9 of section 9, looked at in every call that was accepted.

Everything is counted anew from the events; the rules' own counts are what is judged.
"""

from fractions import Fraction
from math import ceil

from colearn.core import Outcome, Phase
from colearn.core.calls import Advance, Contribute, Skip
from colearn.core.events import (
    Closed,
    Committed,
    Contributed,
    Opened,
    Proposed,
    Revealed,
    Started,
    Voted,
)
from colearn.core.experiment import seats_of
from colearn.core.transitions import POSSIBLE

TIMED = {
    kind
    for kind, phases in POSSIBLE.items()
    if len(phases) == 1 and kind.__name__ not in ("Invite", "Start", "Confirm")
}


def passes(rules, members, approvals, abstained):
    """P3.3: more than the fraction t of c stands behind it, or all of c, and at least one other."""
    counted = max(members - abstained, ceil(Fraction(3 * members, 4)))
    behind = approvals + 1
    return approvals > 0 and (behind > rules.threshold * counted or behind >= counted)


class Record:
    """What became known in one round."""

    def __init__(self, model, members):
        self.model, self.members = model, members
        self.contributed, self.proposed, self.committed, self.ballots = {}, [], set(), {}

    def winner(self, rules):
        """The lowest candidate that passes, or None."""
        cast = [ballot for ballot in self.ballots.values() if ballot is not None]
        abstained = len(self.ballots) - len(cast)
        for place, candidate in enumerate(self.proposed[0].candidates):
            approvals = sum(ballot >> place & 1 for ballot in cast)
            if passes(rules, len(self.members), approvals, abstained):
                if rules.threshold >= Fraction(1, 2):
                    # S2: more than f stand behind it, its proposer among them.
                    assert approvals + 1 > (len(self.members) - 1) // 3
                return candidate
        return None


class Watch:
    """Follows one experiment from its start."""

    def __init__(self, experiment):
        self.record = Record(experiment.model, set(seats_of(experiment.roster.members)))
        self.order = experiment.roster.queue.order
        self.turns = []

    def see(self, before, after, call, now, events):
        """Look at a call that was accepted."""
        self.s5_nothing_is_late(before, call, now)
        self.s6_rosters_change_where_a_round_opens(before, after, events)
        self.phases_end_for_a_reason(before, after, call, events)
        closes = 0
        for event in events:
            if isinstance(event, Contributed):
                self.s9_contributions_are_of_this_round(before, call, event)
            elif isinstance(event, Proposed):
                self.proposed(before, event)
            elif isinstance(event, Voted | Revealed | Committed):
                self.s5_one_act_a_member(before, event)
            elif isinstance(event, Closed):
                self.s1_s2_s8_the_close(before, event)
                self.s7_turns_are_fair(before, event, first=closes == 0)
                closes += 1
                self.record = Record(event.model, set(seats_of(after.roster.members)))
        assert after.model == self.record.model
        self.the_round_has_what_was_told(after)
        if closes:
            self.s7_newcomers_stand_at_the_back(before, after, closes)
            self.order = after.roster.queue.order

    def the_round_has_what_was_told(self, after):
        """S9: this round's contributions and no others. S5: the proposer is awaited for no vote."""
        told = {after.roster.seat_of[who]: each for who, each in self.record.contributed.items()}
        assert after.round.contributions == told
        if after.phase in (Phase.VOTE, Phase.REVEAL):
            assert not after.round.todo >> after.front & 1

    def s1_s2_s8_the_close(self, before, event):
        """S1: only an acceptance changes the model. S2, S8: the lowest that passes, or none."""
        record = self.record
        assert len(record.members) == before.roster.size or not record.proposed
        if event.result is Outcome.NO_PROPOSAL:
            assert not record.proposed
            assert event.model == record.model
            return
        assert len(record.proposed) == 1
        assert record.proposed[0].parent == record.model
        winner = record.winner(before.rules)
        expected = Outcome.REJECTED if winner is None else Outcome.ACCEPTED
        assert event.result is expected
        assert event.model == (record.model if winner is None else winner)

    def proposed(self, before, event):
        """S1: one proposal a round. S9: it includes nothing but this round's contributions."""
        assert not self.record.proposed
        included = {before.roster.addresses[seat] for seat in seats_of(event.included)}
        assert included <= self.record.contributed.keys()
        if before.council:
            n, k = len(self.record.members), before.rules.merge_tolerance
            assert len(included) >= n - min(k, (n - 1) // 2)
        self.record.proposed.append(event)

    def s5_nothing_is_late(self, before, call, now):
        if type(call) in TIMED:
            assert now <= before.round.deadline
            assert call.round_number == before.round.number
        if isinstance(call, Advance):
            assert now > before.round.deadline

    def s5_one_act_a_member(self, before, event):
        """A member acts once; the proposer of a round casts no ballot."""
        seat = before.roster.seat_of[event.voter]
        assert seat in self.record.members
        assert seat != before.front
        assert event.voter not in self.record.ballots
        if isinstance(event, Committed):
            assert event.voter not in self.record.committed
            self.record.committed.add(event.voter)
            return
        assert (event.voter in self.record.committed) == isinstance(event, Revealed)
        abstained = isinstance(event, Voted) and event.abstain
        self.record.ballots[event.voter] = None if abstained else event.not_worse

    def s6_rosters_change_where_a_round_opens(self, before, after, events):
        if any(isinstance(event, Closed | Started) for event in events):
            return
        assert after.roster.members == before.roster.members
        assert after.roster.epoch == before.roster.epoch
        assert after.round.number == before.round.number
        # Within a round a turn passes at most from a merger to the next (5.2).
        old, new = before.roster.queue.order, after.roster.queue.order
        assert new in [old[place:] + old[:place] for place in range(len(old))]

    def s7_turns_are_fair(self, before, event, *, first):
        """Between two turns of X everybody who was a member throughout has exactly one (P3.1)."""
        taken = self.order[: self.order.index(event.proposer) + 1] if first else (event.proposer,)
        passed_on = max((len(self.record.members) - 1) // 3, 1) if before.council else 0
        assert len(taken) <= 1 + passed_on
        for seat in taken:
            self.turns.append((seat, set(self.record.members)))
            earlier = [place for place, (who, _) in enumerate(self.turns[:-1]) if who == seat]
            if not earlier:
                continue
            since = self.turns[earlier[-1] :]
            throughout = set.intersection(*(members for _, members in since))
            between = [who for who, _ in since[1:-1]]
            for other in throughout - {seat}:
                assert between.count(other) == 1

    def s7_newcomers_stand_at_the_back(self, before, after, closes):
        newcomers = tuple(range(before.roster.opened, after.roster.opened))
        # Each further round that closed in the same call has moved its front behind them.
        turn = len(after.roster.queue.order) - (closes - 1)
        order = after.roster.queue.order[turn:] + after.roster.queue.order[:turn]
        assert order[len(order) - len(newcomers) :] == newcomers
        assert sorted(order) == seats_of(after.roster.members)

    def s9_contributions_are_of_this_round(self, before, call, event):
        """A contribution counts for who posted it, in its round, on the model of now."""
        assert isinstance(call, Contribute)
        assert call.parent == before.model
        assert event.member not in self.record.contributed
        assert before.roster.seat_of[event.member] in self.record.members
        self.record.contributed[event.member] = event.digest

    def phases_end_for_a_reason(self, before, after, call, events):
        """7.2: a phase ends when nobody awake is awaited, after its deadline, or decided (S4)."""
        goes_on = [event for event in events if isinstance(event, Opened | Closed)]
        if not goes_on or isinstance(call, Advance | Skip) or before.phase is Phase.SETUP:
            return
        acted = {
            event.member if isinstance(event, Contributed) else event.voter
            for event in events
            if isinstance(event, Contributed | Voted | Revealed | Committed)
        }
        seats = sum(1 << before.roster.seat_of[who] for who in acted)
        assert seats
        woken = 0 if isinstance(events[0], Committed) else seats
        twice = before.roster.missed_twice & ~woken
        dormant = twice if 2 * twice.bit_count() < before.roster.size else 0
        left = before.round.todo & ~seats & ~dormant
        one_open = not before.blind and len(before.round.candidates) == 1
        decided = before.phase is Phase.VOTE and one_open and before.rules.early_close
        assert not left or decided
