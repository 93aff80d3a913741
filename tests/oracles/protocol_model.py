"""The rounds of the protocol once more, to be compared with: names, sets and lists, no seats.

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


class Refused(Exception):
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
        raise Refused(reason)


def stands(threshold, members, approvals, abstained):
    """P3.3 as a sentence: more than the fraction t of c is behind it, or all of c, and one other."""
    behind = approvals + 1
    counted = max(members - abstained, ceil(Fraction(3 * members, 4)))
    return approvals >= 1 and (behind > threshold * counted or behind >= counted)


@dataclass
class Experiment:
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

    # ------------------------------------------------------------------ what is asked again
    def timed(self, phase, round_number, now):
        need(self.phase == phase and self.round == round_number, "another phase or round")
        need(now <= self.deadline, "deadline has passed")

    def expect(self, sender):
        need(sender in self.ever, "no member")
        need(sender in self.awaited(), "not awaited")

    def seated(self, sender):
        need(sender in self.members, "no member")

    def ballot(self, approved, better):
        fits = all(0 <= index < len(self.candidates) for index in approved)
        need(fits and not better, "masks out of range")

    # ------------------------------------------------------------------ the calls: membership
    def invite(self, sender, now, who):
        need(sender == self.creator, "only the creator may")
        need(self.phase == SETUP, "already started")
        self.invited.update(dict.fromkeys(who, "creator"))

    def join(self, sender, now, specification, model):
        need(self.phase != OVER, "experiment is over")
        right = "creator" if self.phase == SETUP else "motion"
        need(self.invited.get(sender) == right, "not invited")
        sits = sender in self.members or sender in self.waiting
        need(not sits, "already a member")
        need(len(self.ever) < SEATS, "no seat is left")
        named = (specification, model)
        need(named == (self.specification, self.first_model), "another specification or model")
        del self.invited[sender]
        self.ever.append(sender)
        self.waiting.append(sender)

    def start(self, sender, now, roster):
        need(sender == self.creator, "only the creator may")
        need(self.phase == SETUP, "already started")
        need(len(self.waiting) >= 2, "fewer than two members")
        need(roster == ("roster", tuple(self.waiting)), "another roster")
        self.members, self.turns, self.waiting = self.waiting, list(self.waiting), []
        self.open_round(now)

    def leave(self, sender, now):
        need(self.running(), "not running")
        self.seated(sender)
        need(sender not in self.leaving, "already leaving")
        self.leaving.add(sender)

    def motion(self, sender, now, epoch, kind, target):
        need(self.running(), "not running")
        self.seated(sender)
        need(target != sender, "no motion about oneself")
        need(epoch == self.epoch, "another roster epoch")
        exists = {
            "admit": target not in self.members and target not in self.waiting,
            "expel": target in self.members and target not in self.leaving,
            "finish": target is None,
        }
        need(exists.get(kind, False), "no such target")
        this = (kind, target)
        backers = self.backers.get(this, set())
        need(this not in self.passed and sender not in backers, "already supported")
        mine = self.opened.get(sender)
        if not backers:
            need(mine is None or mine in self.passed, "one open motion a member")
        electors = len(self.members) - (kind == "expel")
        passes = Fraction(len(backers) + 1, electors) > Fraction(2, 3)
        if passes and kind == "expel":
            staying = len(self.members) - len(self.leaving) - 1 + len(self.waiting)
            need(staying >= 2, "two members must stay")
        if not backers:
            self.opened[sender] = this
        self.backers[this] = backers | {sender}
        if passes:
            self.passed.add(this)
            self.carry(kind, target)

    def carry(self, kind, target):
        if kind == "admit":
            self.invited[target] = "motion"
        elif kind == "expel":
            self.leaving.add(target)
        else:
            self.finish = True

    def confirm(self, sender, now, model):
        need(self.phase == OVER, "not over")
        self.expect(sender)
        need(model == self.model, "not the final model")
        self.confirmed.add(sender)

    # ------------------------------------------------------------------ the calls: a round
    def contribute(self, sender, now, round, parent, digest):
        self.timed(CONTRIBUTE, round, now)
        need(parent == self.model, "parent is not the model")
        self.expect(sender)
        self.contributions[sender] = digest
        self.act(sender)
        self.settle(now)

    def propose(self, sender, now, round, parent, included, candidates):
        self.timed(PROPOSE, round, now)
        need(sender == self.front, "not your turn")
        need(parent == self.model, "parent is not the model")
        need(len(candidates) >= 1, "no candidate")
        if self.council:
            enough = len(included) >= self.fewest_contributions()
            need(enough, "too few contributions included")
        need(included <= set(self.contributions), "included without contribution")
        different = {parent, *candidates}
        need(len(different) == len(candidates) + 1, "candidates must differ")
        self.parent, self.included, self.candidates = parent, frozenset(included), candidates
        self.phase, self.deadline = VOTE, now + self.terms.vote_s
        self.act(sender)

    def skip(self, sender, now, round):
        self.timed(PROPOSE, round, now)
        need(sender == self.front, "not your turn")
        self.act(sender)
        self.end_turn(now)

    def advance(self, sender, now, round, phase):
        fits = self.running() and (self.round, self.phase) == (round, phase)
        need(fits, "another phase or round")
        need(now > self.deadline, "deadline has not passed")
        for name in self.awaited() - self.dormant():
            self.missed[name] = self.missed.get(name, 0) + 1
        self.end_phase(now)

    def wake(self, sender, now):
        self.seated(sender)
        need(self.missed.get(sender, 0) > 0, "nothing missed")
        self.act(sender)

    # ------------------------------------------------------------------ the calls: ballots
    def vote(self, sender, now, round, key, approved, better, note):
        self.timed(VOTE, round, now)
        need(not self.blind, "votes are blind")
        self.expect(sender)
        need(key == self.key, "other candidates")
        self.ballot(approved, better)
        self.ballots[sender] = approved
        self.act(sender)
        self.settle(now)

    def abstain(self, sender, now, round, key):
        self.timed(VOTE, round, now)
        self.expect(sender)
        need(key == self.key, "other candidates")
        self.ballots[sender] = ABSTAIN
        self.act(sender)
        self.settle(now)

    def commit(self, sender, now, round, commitment):
        self.timed(VOTE, round, now)
        need(self.blind, "votes are open")
        self.expect(sender)
        self.commitments[sender] = commitment
        self.settle(now)

    def reveal(self, sender, now, round, approved, better, note, salt):
        self.timed(REVEAL, round, now)
        self.expect(sender)
        opened = commitment(sender, self.number, round, self.key, approved, better, note, salt)
        need(self.commitments[sender] == opened, "commitment does not match")
        self.ballot(approved, better)
        self.ballots[sender] = approved
        self.act(sender)
        self.settle(now)

    def vote_many(self, sender, now, round, ballots):
        self.timed(VOTE, round, now)
        need(not self.blind, "votes are blind")
        new = {}
        for voter, approved, better, note, abstains, signature in ballots:
            need(voter in self.voters, "no voter of this round")
            ballot = (approved, better, note, abstains)
            right = signed(voter, self.number, round, self.key, *ballot)
            need(signature in (right, "verified"), "signature does not match")
            if voter not in self.awaited() or voter in new:
                continue
            if not abstains:
                self.ballot(approved, better)
            new[voter] = ABSTAIN if abstains else approved
        need(new, "nothing new")
        self.ballots.update(new)
        self.act(*new)
        self.settle(now)


def commitment(voter, experiment, round, key, approved, better, note, salt, ledger="here"):
    """What a blind ballot commits to (7.4)."""
    covered = (ledger, experiment, round, voter, key, approved, better, note, salt)
    return ("commitment", *covered)


def signed(voter, experiment, round, key, approved, better, note, abstains, ledger="here"):
    """The signature of a voter on a ballot that a relay brings (7.3)."""
    covered = (ledger, experiment, round, key, approved, better, note, abstains)
    return ("signature", voter, covered)


@dataclass
class Ledger:
    """All experiments of one ledger."""

    drift: int = 0
    experiments: list = field(default_factory=list)

    def apply(self, call, sender, now, /, **arguments):
        """Do what a call asks, or raise Refused."""
        if call == "create":
            self.create(sender, **arguments)
        else:
            number = arguments.pop("experiment")
            known = 1 <= number <= len(self.experiments)
            experiment = self.experiments[number - 1] if known else Experiment()
            getattr(experiment, call)(sender, now, **arguments)

    def create(self, sender, specification, model, terms):
        numerator, denominator = terms.threshold
        need(denominator > 0 and numerator <= denominator, "threshold out of range")
        least = max(4 * self.drift, 1)
        always, sometimes = (terms.propose_s, terms.vote_s), (terms.contribute_s, terms.reveal_s)
        long_enough = min(always) >= least and all(s == 0 or s >= least for s in sometimes)
        need(long_enough, "deadline too short")
        reserved = terms.election or terms.early_close > 1 or terms.unknown
        need(not reserved, "reserved bits set")
        number = len(self.experiments) + 1
        self.experiments.append(
            Experiment(number, sender, specification, model, terms, model=model)
        )
