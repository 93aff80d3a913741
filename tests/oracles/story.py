"""An experiment as its events tell it, and nothing else: events tell the whole story (7.3)."""

from collections import Counter

from colearn.core import MemberStatus, MotionKind, Phase
from colearn.core.experiment import seats_of

ACTS = ("Contributed", "Proposed", "Skipped", "Voted", "Revealed", "Awoke")


def mask(seats):
    return sum(1 << seat for seat in set(seats))


class Story:
    """What somebody knows who reads the events of one experiment and never sees a call."""

    def __init__(self, created):
        self.created, self.model = created, created.model
        self.phase, self.number, self.deadline = Phase.SETUP, 0, 0
        self.addresses, self.latest = [], {}
        self.members, self.queue, self.waiting, self.leaving = [], [], [], set()
        self.invited, self.missed, self.motions = {}, Counter(), {}
        self.epoch = self.counted = self.streak = self.empty = 0
        self.finish = False
        self.fresh_round()

    def fresh_round(self):
        self.contributions, self.commitments, self.ballots = {}, {}, {}
        self.key, self.candidates, self.included = "00" * 32, (), 0

    def tell(self, event):
        kind = type(event).__name__
        who = [getattr(event, field, None) for field in ("member", "proposer", "voter")]
        actor = next((self.latest[each] for each in who if each in self.latest), None)
        if kind in ACTS:
            self.missed.pop(actor, None)
        getattr(self, f"on_{kind.lower()}")(event, actor)

    def on_created(self, event, _):
        assert event == self.created

    def on_member(self, event, seat):
        if event.status in (MemberStatus.INVITED, MemberStatus.ADMITTED):
            self.invited[event.member] = event.status
        else:
            self.leaving.add(seat)

    def on_joined(self, event, _):
        assert event.seat == len(self.addresses)
        self.addresses.append(event.member)
        self.latest[event.member] = event.seat
        self.waiting.append(event.seat)
        del self.invited[event.member]

    def on_started(self, event, _):
        self.members, self.queue, self.waiting = self.waiting, list(self.waiting), []

    def on_opened(self, event, _):
        if event.phase == Phase.OVER:
            assert (event.proposer, event.deadline) == (0, 0)
            self.phase, self.deadline = Phase.OVER, 0
            return
        fresh = event.round_number > self.number
        assert event.round_number == self.number + fresh
        self.phase, self.number, self.deadline = event.phase, event.round_number, event.deadline
        self.turn_to(event.proposer)

    def turn_to(self, seat):
        """Let those pass whose turn is over within the round (5.2)."""
        assert seat in self.queue
        while self.queue[0] != seat:
            self.queue.append(self.queue.pop(0))

    def on_contributed(self, event, seat):
        self.contributions[seat] = event.digest

    def on_proposed(self, event, seat):
        assert (event.parent, seat) == (self.model, self.queue[0])
        self.phase, self.deadline, self.key = Phase.VOTE, event.deadline, event.key
        self.candidates, self.included = event.candidates, event.included

    def on_skipped(self, event, seat):
        assert seat == self.queue[0]

    def on_voted(self, event, seat):
        self.ballots[seat] = None if event.abstain else event.not_worse

    def on_committed(self, event, seat):
        self.commitments[seat] = event.commitment

    def on_revealed(self, event, seat):
        self.ballots[seat] = event.not_worse

    def on_missed(self, event, _):
        assert (event.round_number, event.phase) == (self.number, self.phase)
        self.missed.update(seats_of(event.seats))

    def on_closed(self, event, _):
        # A round whose front is dormant is closed without ever being announced.
        assert event.round_number - self.number in (0, 1)
        self.number = event.round_number
        self.turn_to(event.proposer)
        accepted, proposal = event.outcome == 1, event.outcome != 3
        assert accepted or event.model == self.model
        self.model = event.model
        self.counted += proposal
        self.empty = 0 if proposal else self.empty + 1
        self.streak = 0 if accepted else self.streak + proposal
        self.queue.append(self.queue.pop(0))
        self.fresh_round()
        if self.waiting or self.leaving:
            self.members = [s for s in self.members if s not in self.leaving] + self.waiting
            self.queue = [s for s in self.queue if s not in self.leaving] + self.waiting
            self.missed = Counter({s: k for s, k in self.missed.items() if s in self.members})
            self.waiting, self.leaving, self.motions = [], set(), {}
            self.epoch += 1

    def on_motionsupported(self, event, seat):
        assert event.epoch == self.epoch
        this = (event.kind, event.target)
        before = self.motions.get(this, 0)
        assert before >= 0
        assert not before >> seat & 1
        self.motions[this] = -1 if event.passed else before | 1 << seat
        self.finish |= event.passed and event.kind == MotionKind.FINISH

    def on_awoke(self, event, seat):
        assert seat in self.members

    def on_confirmed(self, event, seat):
        assert event.model == self.model
        self.ballots[seat] = None

    def awaited(self):
        among = {
            Phase.CONTRIBUTE: self.members,
            Phase.PROPOSE: self.queue[:1],
            Phase.VOTE: self.queue[1:],
            Phase.REVEAL: list(self.commitments),
            Phase.OVER: self.members,
        }.get(self.phase, [])
        done = {**self.contributions} if self.phase is Phase.CONTRIBUTE else {**self.ballots}
        if self.phase is Phase.VOTE:
            done |= self.commitments
        return mask(seat for seat in among if seat not in done)

    def must_be(self, experiment):
        """Compare with what the rules keep."""
        roster, current = experiment.roster, experiment.round
        once = mask(self.missed)
        twice = mask(seat for seat, times in self.missed.items() if times > 1)
        cast = [ballot for ballot in self.ballots.values() if ballot is not None]
        told = {
            "phase": self.phase, "number": self.number, "deadline": self.deadline,
            "model": self.model, "counted": self.counted, "streak": self.streak,
            "empty": self.empty, "epoch": self.epoch, "finish": self.finish,
            "addresses": tuple(self.addresses), "invited": self.invited,
            "members": mask(self.members), "queue": tuple(self.queue),
            "leaving": mask(self.leaving), "motions": self.motions,
            "missed": (once, twice), "todo": self.awaited(), "key": self.key,
            "candidates": self.candidates, "included": self.included,
            "contributions": self.contributions, "commitments": self.commitments,
            "approvals": tuple(
                sum(ballot >> place & 1 for ballot in cast)
                for place in range(len(self.candidates))
            ),
        }  # fmt: skip
        kept = {
            "phase": current.phase, "number": current.number, "deadline": current.deadline,
            "model": experiment.model, "counted": experiment.counted, "streak": experiment.streak,
            "empty": experiment.empty, "epoch": roster.epoch, "finish": experiment.finish,
            "addresses": roster.addresses, "invited": roster.invited,
            "members": roster.members, "queue": roster.queue.order,
            "leaving": roster.leaving, "motions": roster.motions,
            "missed": (roster.missed_once, roster.missed_twice), "todo": current.todo,
            "key": current.key, "candidates": current.candidates, "included": current.included,
            "contributions": current.contributions, "commitments": current.commitments,
            "approvals": current.approvals,
        }  # fmt: skip
        assert told == kept
