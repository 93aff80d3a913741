"""How rounds go on, once more, to be compared with: names, sets and lists, no seats.

It imports nothing of the package. A digest is the tuple of what it covers, so that nobody can open
one otherwise. Rules are cited by their number in the protocol; reasons are the ledger's own words.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

SETUP, CONTRIBUTE, PROPOSE = "setup", "contribute", "propose"
VOTE, REVEAL, OVER = "vote", "reveal", "over"
ACCEPTED, REJECTED, NO_PROPOSAL = "accepted", "rejected", "no proposal"
ABSTAIN = "abstain"
SEATS = 256


class NotAllowedError(Exception):
    """The call is refused, and nothing has changed."""


@dataclass(frozen=True)
class Terms:
    """What `create` names; threshold is numerator and denominator as written."""

    threshold: tuple[int, int] = (1, 2)
    contribute_s: int = 0
    propose_s: int = 60
    vote_s: int = 60
    reveal_s: int = 0
    rounds: int = 0
    tolerance: int = 0
    election: int = 0
    early_close: int = 0
    patience: int = 0
    unknown: int = 0


def need(holds, reason):
    if not holds:
        raise NotAllowedError(reason)


def stands(threshold, members, approvals, abstained):
    """P3.3 as a sentence: more than the fraction t of c is behind it, or all of c, and one other."""
    behind = approvals + 1
    counted = max(members - abstained, ceil(Fraction(3 * members, 4)))
    return approvals >= 1 and (behind > threshold * counted or behind >= counted)


@dataclass
class Rounds:
    """What an experiment is, and how its phases end and its rounds open (7.2)."""

    number: int = 0
    creator: str | None = None
    specification: object = None
    first_model: object = None
    terms: Terms = field(default_factory=Terms)
    model: object = None
    phase: str = SETUP
    round: int = 0
    deadline: int = 0
    counted: int = 0
    streak: int = 0
    empty: int = 0
    finish: bool = False
    story: list = field(default_factory=list)
    # Who takes part
    members: list = field(default_factory=list)  # in the order in which they joined
    turns: list = field(default_factory=list)  # the front proposes
    waiting: list = field(default_factory=list)  # joined, and in from the next round on
    leaving: set = field(default_factory=set)
    ever: list = field(default_factory=list)  # one for each seat ever given
    invited: dict = field(default_factory=dict)
    missed: dict = field(default_factory=dict)  # deadlines running, since the last act
    epoch: int = 0
    backers: dict = field(default_factory=dict)  # of each motion of this epoch
    passed: set = field(default_factory=set)
    opened: dict = field(default_factory=dict)  # the motion each member opened last, this epoch
    # The open round
    tried: int = 0
    contributions: dict = field(default_factory=dict)
    parent: object = None
    included: frozenset = frozenset()
    candidates: tuple = ()
    commitments: dict = field(default_factory=dict)
    ballots: dict = field(default_factory=dict)  # the candidates approved, or ABSTAIN
    confirmed: set = field(default_factory=set)

    # ------------------------------------------------------------------ what is derived
    @property
    def front(self):
        return self.turns[0]

    @property
    def voters(self):
        return [name for name in self.members if name != self.front]

    @property
    def council(self):
        return self.terms.contribute_s > 0

    @property
    def blind(self):
        return self.terms.reveal_s > 0

    @property
    def threshold(self):
        return Fraction(*self.terms.threshold)

    @property
    def key(self):
        return ("key", self.parent, self.included, self.candidates)

    def running(self):
        return self.phase not in (SETUP, OVER)

    def dormant(self):
        """Who missed two deadlines running, while they are fewer than half of the members (7.2)."""
        asleep = {name for name in self.members if self.missed.get(name, 0) >= 2}
        return asleep if 2 * len(asleep) < len(self.members) else set()

    def awaited(self):
        """Whose act the phase still lacks, dormant or not."""
        done = {
            SETUP: (),
            CONTRIBUTE: self.contributions,
            PROPOSE: (),
            VOTE: {**self.commitments, **self.ballots},
            REVEAL: self.ballots,
            OVER: self.confirmed,
        }[self.phase]
        of = {
            SETUP: (),
            CONTRIBUTE: self.members,
            PROPOSE: self.turns[:1],
            VOTE: self.voters if self.phase == VOTE else (),
            REVEAL: self.commitments,
            OVER: self.members,
        }[self.phase]
        return {name for name in of if name not in done}

    def fewest_contributions(self):
        n = len(self.members)
        return n - min(self.terms.tolerance, (n - 1) // 2)

    def winner(self, extra_approvals=0, extra_abstentions=0):
        """The lowest candidate that P3.3 accepts (5.4), were there some ballots more; or None."""
        cast = [ballot for ballot in self.ballots.values() if ballot != ABSTAIN]
        abstained = len(self.ballots) - len(cast) + extra_abstentions
        for index, candidate in enumerate(self.candidates):
            approvals = sum(index in ballot for ballot in cast) + extra_approvals
            if stands(self.threshold, len(self.members), approvals, abstained):
                return candidate
        return None

    def settled(self):
        """Whether every completion of an open vote on one candidate ends alike (7.2, S4)."""
        one = self.terms.early_close and self.phase == VOTE and len(self.candidates) == 1
        if not one or self.blind:
            return False
        left = len(self.voters) - len(self.ballots)
        ends = {
            self.winner(approve, abstain)
            for approve in range(left + 1)
            for abstain in range(left + 1 - approve)
        }
        return len(ends) == 1

    # ------------------------------------------------------------------ how it goes on
    def act(self, *names):
        for name in names:
            self.missed.pop(name, None)

    def settle(self, now):
        if not self.awaited() - self.dormant() or self.settled():
            self.end_phase(now)

    def end_phase(self, now):
        if self.phase == CONTRIBUTE:
            if len(self.contributions) < self.fewest_contributions():
                self.close(NO_PROPOSAL, now)
            else:
                self.let_propose(now)
        elif self.phase == PROPOSE:
            self.end_turn(now)
        elif self.phase == VOTE and self.commitments:
            self.phase, self.deadline = REVEAL, now + self.terms.reveal_s
        else:
            winner = self.winner()
            self.close(REJECTED if winner is None else ACCEPTED, now, winner)

    def let_propose(self, now):
        if self.front in self.dormant():
            self.end_turn(now)
        else:
            self.phase, self.deadline = PROPOSE, now + self.terms.propose_s

    def end_turn(self, now):
        """The next merger, at most max(f, 1) times (5.2), else no proposal (P3.6)."""
        n = len(self.members)
        enough = self.council and len(self.contributions) >= self.fewest_contributions()
        if enough and self.tried < max((n - 1) // 3, 1):
            self.tried += 1
            self.turns.append(self.turns.pop(0))
            self.let_propose(now)
        else:
            self.close(NO_PROPOSAL, now)

    def close(self, outcome, now, winner=None):
        if outcome == NO_PROPOSAL:
            self.empty += 1
        else:
            self.empty = 0
            self.counted += 1
            self.streak = 0 if outcome == ACCEPTED else self.streak + 1
        if outcome == ACCEPTED:
            self.model = winner
        self.story.append((self.round, self.front, outcome, self.model))
        self.turns.append(self.turns.pop(0))
        self.change_roster()
        self.open_round(now)

    def change_roster(self):
        """Leavers out, newcomers at the back; a change is a new epoch (P3.1, 7.7)."""
        if not self.waiting and not self.leaving:
            return
        stay = [name for name in self.members if name not in self.leaving]
        self.turns = [name for name in self.turns if name not in self.leaving] + self.waiting
        self.members = stay + self.waiting
        self.missed = {name: k for name, k in self.missed.items() if name in stay}
        self.waiting, self.leaving = [], set()
        self.epoch += 1
        self.backers, self.passed, self.opened = {}, set(), {}

    def open_round(self, now):
        self.contributions, self.commitments, self.ballots = {}, {}, {}
        self.parent, self.included, self.candidates, self.tried = None, frozenset(), (), 0
        n, terms = len(self.members), self.terms
        ends = [
            n < 2,
            self.finish,
            terms.rounds and self.counted >= terms.rounds,
            terms.patience and self.streak >= terms.patience,
            self.empty >= 2 * n,
        ]
        if any(ends):
            self.phase, self.deadline = OVER, 0
            return
        self.round += 1
        if self.council:
            self.phase, self.deadline = CONTRIBUTE, now + terms.contribute_s
        else:
            self.let_propose(now)
