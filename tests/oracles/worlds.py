"""Random worlds: members that act, lie, sleep, come and go, in the oracle's words.

Every choice comes from the seed. A world asks for honest calls most of the time, and for wrong ones
as often as its seed says: an honest call with one argument changed, or any call of anybody.
"""

import random

from tests.oracles.protocol_model import Experiment, Ledger, Terms, commitment, signed
from tests.oracles.protocol_rounds import CONTRIBUTE, OVER, PROPOSE, REVEAL, SETUP, VOTE

NAMES = "abcdefghijkl"
SPECIFICATION, FIRST_MODEL = "specification", "model 0"
CALLS = (
    "invite", "join", "start", "contribute", "propose", "skip", "vote", "abstain", "commit",
    "reveal", "vote_many", "advance", "wake", "leave", "motion", "confirm",
)  # fmt: skip
OF_A_ROUND = {
    "contribute", "propose", "skip", "vote", "abstain", "commit", "reveal", "vote_many", "advance",
}  # fmt: skip
BAD_TERMS = (
    {"threshold": (2, 1)},
    {"threshold": (1, 0)},
    {"propose_s": 0},
    {"vote_s": 0},
    {"election": 1},
    {"early_close": 2},
    {"unknown": 1},
)


class World:
    """One ledger with one or two experiments, and everybody who knows of it."""

    def __init__(self, seed, *, verified=True):
        """Begin; `verified` is whether ballots may come whose signature somebody else checked."""
        self.random = R = random.Random(seed)
        self.verified = verified
        self.ledger = Ledger(drift=R.choice([0, 0, 1, 3]))
        self.now = 1_000
        self.two = R.random() < 0.2
        self.wrong = R.choice([0.05, 0.2, 0.5])
        self.silence = R.choice([0.02, 0.1, 0.4, 0.9])
        self.approving = R.choice([0.2, 0.6, 0.95])
        self.restless = R.choice([0.0, 0.05, 0.3, 0.6])
        self.size = R.randint(2, 8)
        self.gone = {name for name in NAMES if R.random() < R.choice([0.0, 0.2, 0.4])}
        self.secrets = {}
        self.rest = 12
        self.counter = 0

    def over(self):
        """Whether every experiment has been over for some calls."""
        if not all(it.phase == OVER for it in self.ledger.experiments or [Experiment()]):
            return False
        self.rest -= 1
        return self.rest < 0

    # ------------------------------------------------------------------ what comes next
    def step(self):
        """Return the next call as (call, sender, now, arguments)."""
        R = self.random
        experiment = self.chosen()
        self.tick(experiment)
        if not self.ledger.experiments or (self.two and len(self.ledger.experiments) < 2):
            call, sender = "create", R.choice(NAMES[:2])
        elif R.random() < self.wrong / 4:
            call, sender = R.choice(CALLS), R.choice(NAMES)
        else:
            call, sender = self.honest(experiment)
        arguments = self.arguments(experiment, call, sender)
        if R.random() < self.wrong:
            sender, arguments = self.changed(experiment, call, sender, arguments)
        return call, sender, self.now, arguments

    def chosen(self):
        known = self.ledger.experiments
        return self.random.choice(known) if known else Experiment()

    def tick(self, experiment):
        R = self.random
        if experiment.running() and R.random() < self.silence / 2:
            self.now = max(self.now, experiment.deadline + R.choice([0, 1, 1, 1, 50]))
        elif R.random() < 0.3:
            self.now += 1

    def honest(self, experiment):
        """A call that somebody may well make now, and who."""
        R, it = self.random, experiment
        if it.phase == SETUP:
            return self.setting_up(it)
        if it.phase == OVER:
            return R.choice(["confirm", "confirm", "wake"]), R.choice(it.members or [NAMES[0]])
        if R.random() < self.restless:
            return self.administration(it)
        if self.now > it.deadline:
            return "advance", R.choice(NAMES)
        awake = sorted(it.awaited() - self.gone) or sorted(it.awaited()) or it.members
        if it.missed and R.random() < 0.05:
            return "wake", R.choice(sorted(it.missed))
        return self.acting(it), R.choice(awake)

    def setting_up(self, it):
        R = self.random
        joined, free = len(it.waiting), sorted(it.invited)
        if joined >= self.size or R.random() < 0.02:
            return "start", it.creator
        if free and R.random() < 0.9:
            return "join", R.choice(free)
        return "invite", it.creator

    def administration(self, it):
        R = self.random
        admitted = [name for name, right in it.invited.items() if right == "motion" and name]
        if admitted and R.random() < 0.6:
            return "join", R.choice(admitted)
        return R.choice(["motion"] * 20 + ["leave", "wake"]), R.choice(it.members)

    def acting(self, it):
        R = self.random
        return {
            CONTRIBUTE: lambda: "contribute",
            PROPOSE: lambda: "skip" if R.random() < 0.1 else "propose",
            VOTE: lambda: R.choice(
                ["commit"] * 7 + ["abstain"]
                if it.blind
                else ["vote"] * 7 + ["abstain", "vote_many"]
            ),
            REVEAL: lambda: "reveal",
        }[it.phase]()

    # ------------------------------------------------------------------ arguments as they should be
    def arguments(self, it, call, sender):
        if call == "create":
            return {
                "specification": SPECIFICATION,
                "model": FIRST_MODEL,
                "terms": self.terms(),
            }
        common = {"experiment": it.number}
        if call in OF_A_ROUND:
            common["round_number"] = it.round
        return common | getattr(self, f"for_{call}", self.nothing)(it, sender)

    def terms(self):
        R, least = self.random, max(4 * self.ledger.drift, 1)
        lasts = [least, least + 3, 20 + least]
        council, blind = R.random() < 0.4, R.random() < 0.3
        return Terms(
            threshold=R.choice([(0, 1), (1, 3), (1, 2), (2, 4), (11, 20), (2, 3), (1, 1)]),
            contribute_s=R.choice(lasts) if council else 0,
            propose_s=R.choice(lasts),
            vote_s=R.choice(lasts),
            reveal_s=R.choice(lasts) if blind else 0,
            rounds=R.choice([0, 0, 0, 3, 12]),
            tolerance=R.choice([0, 1, 1, 2, 9]),
            early_close=R.randint(0, 1),
            patience=R.choice([0, 0, 0, 2, 6]),
        )

    def nothing(self, it, sender):
        return {}

    def fresh(self, what):
        self.counter += 1
        return (what, self.counter)

    def for_invite(self, it, sender):
        R, names = self.random, NAMES[: self.size + 1]
        return {"who": tuple(R.sample(names, R.randint(1, len(names))))}

    def for_join(self, it, sender):
        return {"specification": SPECIFICATION, "model": FIRST_MODEL}

    def for_start(self, it, sender):
        return {"roster": ("roster", tuple(it.waiting))}

    def for_contribute(self, it, sender):
        return {"parent": it.model, "digest": self.fresh("contribution")}

    def for_propose(self, it, sender):
        R = self.random
        candidates = tuple(self.fresh("candidate") for _ in range(R.choice([1, 1, 2, 3, 8])))
        names = sorted(it.contributions)
        if len(names) > it.fewest_contributions() and R.random() < 0.3:
            names.remove(R.choice(names))
        return {"parent": it.model, "included": frozenset(names), "candidates": candidates}

    def approved(self, it):
        places = range(len(it.candidates))
        return frozenset(place for place in places if self.random.random() < self.approving)

    def for_vote(self, it, sender):
        note = self.random.choice([None, self.fresh("note")])
        return {
            "key": it.key, "approved": self.approved(it), "better": frozenset(), "note": note,
        }  # fmt: skip

    def for_abstain(self, it, sender):
        return {"key": it.key}

    def for_commit(self, it, sender):
        ballot = (self.approved(it), frozenset(), self.fresh("note"), self.fresh("salt"))
        if self.random.random() < 0.05:
            ballot = (frozenset({len(it.candidates)}), *ballot[1:])
        if sender in it.awaited():
            self.secrets[it.number, it.round, sender] = ballot
        return {"commitment": commitment(sender, it.number, it.round, it.key, *ballot)}

    def for_reveal(self, it, sender):
        unknown = (self.approved(it), frozenset(), None, None)
        ballot = self.secrets.get((it.number, it.round, sender), unknown)
        return dict(zip(("approved", "better", "note", "salt"), ballot, strict=True))

    def for_vote_many(self, it, sender):
        R = self.random
        among = it.voters if it.turns else list(NAMES[:2])
        voters = R.sample(among, R.randint(1, len(among))) if among else ["a"]
        if R.random() < 0.1:
            voters.append(voters[0])
        return {"ballots": tuple(self.ballot(it, voter) for voter in voters)}

    def ballot(self, it, voter):
        R = self.random
        abstains = R.random() < 0.15
        approved = frozenset({9}) if abstains and R.random() < 0.3 else self.approved(it)
        ballot = (approved, frozenset(), self.fresh("note"), abstains)
        signature = signed(voter, it.number, it.round, it.key, *ballot)
        trusted = self.verified and R.random() < 0.2
        return (voter, *ballot, "verified" if trusted else signature)

    def for_advance(self, it, sender):
        return {"phase": it.phase}

    def for_motion(self, it, sender):
        R = self.random
        open_ones = [
            this
            for this, backers in it.backers.items()
            if this not in it.passed and sender not in backers and sender != this[1]
        ]
        if open_ones and R.random() < 0.8:
            kind, target = R.choice(sorted(open_ones, key=repr))
        else:
            kind = R.choice(["admit"] * 6 + ["expel"] * 4 + ["finish"])
            outside = [name for name in NAMES if name not in it.members]
            gone = [name for name in outside if name in it.ever] or outside
            target = {
                "admit": R.choice(R.choice([outside, gone])),
                "expel": R.choice(it.members or ["a"]),
                "finish": None,
            }[kind]
        return {"epoch": it.epoch, "kind": kind, "target": target}

    def for_confirm(self, it, sender):
        return {"model": it.model}

    # ------------------------------------------------------------------ one thing changed
    def changed(self, it, call, sender, arguments):
        """The same call with one thing another than it should be, or than it happens to be."""
        R = self.random
        name = R.choice(["sender", *arguments])
        if name == "sender":
            return R.choice(NAMES), arguments
        others = {
            "experiment": lambda old: R.choice([0, 1, 2, 3]),
            "round_number": lambda old: R.choice([old + 1, max(old - 1, 0), 0]),
            "phase": lambda old: R.choice([SETUP, CONTRIBUTE, PROPOSE, VOTE, REVEAL, OVER, 9]),
            "parent": lambda old: R.choice(["another", FIRST_MODEL, *it.candidates]),
            "model": lambda old: R.choice(["another", FIRST_MODEL, SPECIFICATION]),
            "specification": lambda old: R.choice(["another", FIRST_MODEL]),
            "roster": lambda old: ("roster", R.choice([old[1][::-1], old[1][1:], old[1] + ("z",)])),
            "key": lambda old: R.choice(self.other_keys(old)),
            "approved": lambda old: old | {R.choice([len(it.candidates), 8, 255])},
            "better": lambda old: frozenset({R.choice([0, 1, 255])}),
            "note": lambda old: self.fresh("note"),
            "salt": lambda old: self.fresh("salt"),
            "digest": lambda old: R.choice([None, it.model]),
            "included": lambda old: R.choice(
                [old | {R.choice(NAMES)}, old - {R.choice(NAMES)}, old | {"seat:200"}, frozenset()]
            ),
            "candidates": lambda old: R.choice(
                [(), (*old[:7], *old[:1]), (*old[:-1], it.model), (it.model, *old[:3])]
            ),
            "commitment": lambda old: self.fresh("another commitment"),
            "ballots": lambda old: self.other_ballots(it, old),
            "epoch": lambda old: R.choice([old + 1, max(old - 1, 0)]),
            "kind": lambda old: R.choice(["admit", "expel", "finish", "none", "four", "huge"]),
            "target": lambda old: R.choice([None, *NAMES, sender]),
            "who": lambda old: old,
            "terms": lambda old: Terms(**{**vars(old), **R.choice(BAD_TERMS)}),
        }
        return sender, {**arguments, name: others[name](arguments[name])}

    def other_keys(self, key):
        kind, parent, included, candidates = key
        return [
            (kind, "another", included, candidates),
            (kind, parent, included | {"l"}, candidates),
            (kind, parent, included, candidates[:-1]),
            (kind, parent, included, (*candidates, "another")),
            (kind, parent, included, candidates[::-1]),
        ]

    def other_ballots(self, it, ballots):
        R = self.random
        place = R.randrange(len(ballots))
        voter, approved, better, note, abstains, _ = ballots[place]
        fields = (approved, better, note, abstains)
        right = (voter, it.number, it.round, it.key, *fields)
        wide, marked = frozenset({8}), frozenset({0})
        front = it.turns[0] if it.turns else "a"
        trusted = "verified" if self.verified else "garbage"
        changes = [
            (voter, *fields, "garbage"),
            (voter, *fields, signed(*right, ledger="elsewhere")),
            (voter, *fields, signed(*right, ledger="on another chain")),
            (voter, *fields, signed(voter, it.number + 1, *right[2:])),
            (voter, *fields, signed(voter, it.number, it.round + 1, *right[3:])),
            (voter, *fields, signed(*right[:3], R.choice(self.other_keys(it.key)), *fields)),
            (voter, *fields, signed(R.choice(NAMES), *right[1:])),
            (voter, approved ^ {0}, better, note, abstains, signed(*right)),
            (voter, approved, better, "another", abstains, signed(*right)),
            (voter, approved, better, note, not abstains, signed(*right)),
            (voter, wide, better, note, abstains, signed(*right[:4], wide, *fields[1:])),
            (voter, approved, marked, note, abstains, trusted),
            (front, *fields, signed(front, *right[1:])),
            (R.choice(NAMES), *fields, trusted),
            (R.choice([f"seat:{len(it.ever)}", "seat:256", "seat:300"]), *fields, trusted),
        ]
        return (*ballots[:place], R.choice(changes), *ballots[place + 1 :])
