"""The executable protocol: what each call asks for, and what it does (sections 3, 5, 7).

Like `protocol_rounds` it imports nothing of the package, and knows names instead of seats.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from tests.oracles.protocol_rounds import (
    ABSTAIN,
    CONTRIBUTE,
    OVER,
    PROPOSE,
    REVEAL,
    SEATS,
    SETUP,
    VOTE,
    NotAllowedError,
    Rounds,
    Terms,
    need,
)

__all__ = [
    "Experiment", "Ledger", "NotAllowedError", "Terms", "commitment", "signed",
]  # fmt: skip


class Experiment(Rounds):
    """One experiment on a ledger; the default is one that nobody created."""

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
    def contribute(self, sender, now, round_number, parent, digest):
        self.timed(CONTRIBUTE, round_number, now)
        need(parent == self.model, "parent is not the model")
        self.expect(sender)
        self.contributions[sender] = digest
        self.act(sender)
        self.settle(now)

    def propose(self, sender, now, round_number, parent, included, candidates):
        self.timed(PROPOSE, round_number, now)
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

    def skip(self, sender, now, round_number):
        self.timed(PROPOSE, round_number, now)
        need(sender == self.front, "not your turn")
        self.act(sender)
        self.end_turn(now)

    def advance(self, sender, now, round_number, phase):
        fits = self.running() and (self.round, self.phase) == (round_number, phase)
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
    def vote(self, sender, now, round_number, key, approved, better, note):
        self.timed(VOTE, round_number, now)
        need(not self.blind, "votes are blind")
        self.expect(sender)
        need(key == self.key, "other candidates")
        self.ballot(approved, better)
        self.ballots[sender] = approved
        self.act(sender)
        self.settle(now)

    def abstain(self, sender, now, round_number, key):
        self.timed(VOTE, round_number, now)
        self.expect(sender)
        need(key == self.key, "other candidates")
        self.ballots[sender] = ABSTAIN
        self.act(sender)
        self.settle(now)

    def commit(self, sender, now, round_number, commitment):
        self.timed(VOTE, round_number, now)
        need(self.blind, "votes are open")
        self.expect(sender)
        self.commitments[sender] = commitment
        self.settle(now)

    def reveal(self, sender, now, round_number, approved, better, note, salt):
        self.timed(REVEAL, round_number, now)
        self.expect(sender)
        opened = commitment(
            sender, self.number, round_number, self.key, approved, better, note, salt
        )
        need(self.commitments[sender] == opened, "commitment does not match")
        self.ballot(approved, better)
        self.ballots[sender] = approved
        self.act(sender)
        self.settle(now)

    def vote_many(self, sender, now, round_number, ballots):
        self.timed(VOTE, round_number, now)
        need(not self.blind, "votes are blind")
        new = {}
        for voter, approved, better, note, abstains, signature in ballots:
            need(voter in self.voters, "no voter of this round")
            ballot = (approved, better, note, abstains)
            right = signed(voter, self.number, round_number, self.key, *ballot)
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


def commitment(voter, experiment, round_number, key, approved, better, note, salt, ledger="here"):
    """What a blind ballot commits to (7.4)."""
    covered = (ledger, experiment, round_number, voter, key, approved, better, note, salt)
    return ("commitment", *covered)


def signed(voter, experiment, round_number, key, approved, better, note, abstains, ledger="here"):
    """The signature of a voter on a ballot that a relay brings (7.3)."""
    covered = (ledger, experiment, round_number, key, approved, better, note, abstains)
    return ("signature", voter, covered)


@dataclass
class Ledger:
    """All experiments of one ledger."""

    drift: int = 0
    experiments: list = field(default_factory=list)

    def apply(self, call, sender, now, /, **arguments):
        """Do what a call asks, or raise NotAllowedError."""
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
