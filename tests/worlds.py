"""Random worlds in which the pure rules and the contract's bytecode get the same calls."""

import hashlib
import itertools
import os
import random
from collections import Counter, deque
from dataclasses import fields, replace
from functools import cache

from coincurve import PrivateKey

from colearn.core import Book, Phase, RefusedError, Rules
from colearn.core import calls as c
from colearn.core.bindings import ZERO, Domain, ballot_digest, commitment
from colearn.core.events import Closed
from colearn.core.experiment import NOBODY, Experiment, seats_of
from colearn.crypto import GROUP_ORDER, address_of
from colearn.ledger.abi import from_calldata, to_calldata
from colearn.ledger.agreement import differences
from colearn.ledger.bytecode import BytecodeReplica

SEED = int(os.environ.get("COLEARN_SEED", "1"))
DOMAIN = Domain(1, "0x" + "c1" * 20)
PEOPLE = 44
LIMIT = 2**256


def digest(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@cache
def key_of(person):
    return PrivateKey(hashlib.sha256(b"person %d" % person).digest())


@cache
def address(person):
    return address_of(key_of(person).public_key.format(compressed=False))


@cache
def person_at(where):
    return next(person for person in range(PEOPLE) if address(person) == where)


def signed(ballot, person, domain, number, round_number, key):
    """The ballot with a person's signature of it."""
    covered = ballot_digest(domain, number, round_number, key, ballot)
    compact = key_of(person).sign_recoverable(covered, hasher=None)
    return replace(ballot, signature=(compact[:64] + bytes((27 + compact[64],))).hex())


class Twins:
    """The pure rules and the contract; every call goes to both, and both have to agree."""

    def __init__(self, drift_s=0, domain=DOMAIN):
        self.book = Book(domain, drift_s)
        self.replica = BytecodeReplica(domain, drift_s)
        self.counts = Counter()
        self.reasons = Counter()
        self.outcomes = Counter()
        self.tail = deque(maxlen=8)

    def experiment(self, number):
        return self.book.experiments.get(number, Experiment())

    def apply(self, call, sender, now):
        """Return the events, or None where both refuse for one reason."""
        assert from_calldata(to_calldata(call)) == call
        pure = bytecode = None
        try:
            book, pure = self.book.apply(call, sender, now)
        except RefusedError as error:
            book, pure_reason = self.book, error.reason
        else:
            pure_reason = None
        try:
            bytecode = self.replica.apply(call, sender, now)
        except RefusedError as error:
            bytecode_reason = error.reason
        else:
            bytecode_reason = None
        self.book = book
        self.tail.append((now, sender, call, pure_reason or pure))
        kind = type(call).__name__
        self.counts[kind, pure_reason is None] += 1
        if pure_reason is not None:
            self.reasons[pure_reason] += 1
        assert bytecode_reason == pure_reason, self.story(bytecode_reason)
        assert bytecode == pure, self.story(bytecode)
        self.outcomes.update(event.outcome for event in pure or () if isinstance(event, Closed))
        number = len(book.experiments) if isinstance(call, c.Create) else call.experiment
        if number in book.experiments:
            found = differences(self.replica, book.experiments[number])
            assert found == (), self.story(found)
        return pure

    def check_all(self):
        """An experiment is changed by its own calls alone."""
        for experiment in self.book.experiments.values():
            found = differences(self.replica, experiment)
            assert found == (), self.story(found)
        assert self.replica.read("experiments") == len(self.book.experiments)

    def story(self, bytecode):
        """The last calls and what the rules made of them, and what the contract made of the last."""
        return "\n".join([*map(repr, self.tail), f"but the contract: {bytecode!r}"])


class Played:
    """What came of some worlds."""

    def __init__(self):
        self.counts, self.reasons, self.outcomes = Counter(), Counter(), Counter()

    def add(self, twins):
        self.counts += twins.counts
        self.reasons += twins.reasons
        self.outcomes += twins.outcomes

    @property
    def calls_count(self):
        return sum(self.counts.values())


class World:
    """One experiment of the twins, with a clock of its own and people of every temper."""

    def __init__(self, twins, chance, *, size, word):
        self.twins, self.chance, self.size = twins, chance, size
        self.now = 1_700_000_000 + chance.randrange(10**6)
        self.commitments, self.moods = {}, {}
        self.fresh = self.steps_over = 0
        self.silence = chance.choice((0.0, 0.1, 0.3, 0.5, 0.9))
        self.lies = chance.choice((0.1, 0.5, 0.9))
        self.creator = chance.randrange(size)
        self.crowd = range(min(PEOPLE, size + 4))
        self.specification, self.model = self.new("specification"), self.new("model")
        created = c.Create(self.specification, self.model, word, "ipfs://x")
        (event,) = twins.apply(created, address(self.creator), self.now)
        self.number = event.experiment
        self.begin()

    def new(self, *what):
        self.fresh += 1
        return digest(self.chance.random(), self.fresh, *what)

    @property
    def experiment(self):
        return self.twins.experiment(self.number)

    def is_silent(self, seat):
        """Whether a seat's holder does nothing in these eight rounds."""
        era = self.experiment.round.number // 8
        if (seat, era) not in self.moods:
            self.moods[seat, era] = self.chance.random() < self.silence
        return self.moods[seat, era]

    def begin(self):
        """Invite and seat everybody, with wrong calls among the right ones."""
        self.send("start")
        joining = list(range(self.size))
        self.chance.shuffle(joining)
        for at in range(0, self.size, 64):
            group = tuple(address(person) for person in joining[at : at + 64])
            self.apply(c.Invite(self.number, group), address(self.creator))
        for person in joining:
            self.apply(
                c.Join(self.number, self.specification, self.model, self.new("moments")),
                address(person),
            )
            if self.chance.random() < 0.5:
                self.step()
        while self.experiment.phase is Phase.SETUP:
            self.send("start")

    def apply(self, call, sender):
        return self.twins.apply(call, sender, self.now)

    def step(self):
        """Send a call that fits, or one that does not."""
        self.now += self.chance.choice((0, 0, 0, 1, 7))
        name = self.chance.choices(*zip(*self.weights(), strict=True))[0]
        self.send(name)
        self.steps_over += self.experiment.phase is Phase.OVER

    def send(self, name):
        call, sender = getattr(self, name)()
        if self.chance.random() < 0.12:
            call = self.spoiled(call)
        if self.chance.random() < 0.08:
            sender = self.anybody()
        self.apply(call, sender)

    def weights(self):
        """How often each call comes, by the phase; all come in every phase."""
        usual = dict.fromkeys(c.CALLS, 0.15) | {"create": 0.08}
        usual |= {"motion": 1.2, "leave": 0.12, "join": 0.6, "wake": 0.3, "advance": 0.4}
        fitting = {
            Phase.SETUP: {"invite": 4, "join": 4, "start": 0.3},
            Phase.CONTRIBUTE: {"contribute": 10},
            Phase.PROPOSE: {"propose": 6, "skip": 0.5},
            Phase.VOTE: {"vote": 8, "abstain": 1, "vote_many": 2},
            Phase.REVEAL: {"reveal": 10},
            Phase.OVER: {"confirm": 3},
        }[self.experiment.phase]
        if self.experiment.blind and self.experiment.phase is Phase.VOTE:
            fitting = {"commit": 10, "abstain": 1}
        late = self.experiment.phase not in (Phase.SETUP, Phase.OVER) and (
            self.now > self.experiment.round.deadline or not self.awake(self.experiment.round.todo)
        )
        if late:
            fitting = dict.fromkeys(fitting, 1.5) | {"advance": 10}
        return list((usual | fitting).items())

    # Who, and what they say.

    def anybody(self):
        return address(self.chance.choice(self.crowd))

    def awake(self, mask):
        return [seat for seat in seats_of(mask) if not self.is_silent(seat)]

    def one_of(self, mask):
        """The address of one seat of a mask, rather of one that is not silent."""
        seats = self.awake(mask) or seats_of(mask)
        if not seats:
            return self.anybody()
        return self.experiment.roster.addresses[self.chance.choice(seats)]

    def masks(self):
        count = len(self.experiment.round.candidates)
        if self.chance.random() < self.lies:
            return self.chance.randrange(1 << count)
        return (1 << count) - 1

    # The calls, as somebody honest would make them.

    def create(self):
        word = random_word(self.chance, council=self.chance.random() < 0.5, blind=False)
        if self.chance.random() < 0.5:
            word = self.chance.choice(
                (
                    word & ~(2**32 - 1),
                    word | 2**16 - 1,
                    word & ~(2**32 - 1 << 96),
                    word | self.chance.randrange(1, 20) << 128,
                    word | 1 << self.chance.choice((208, 215, 217, 223, 240, 255)),
                )
            )
        return c.Create(self.new(), self.new(), word, "x"), self.anybody()

    def invite(self):
        count = self.chance.choice((0, 1, 2, 5))
        who = tuple(self.anybody() for _ in range(count))
        return c.Invite(self.number, who), address(self.creator)

    def join(self):
        roster = self.experiment.roster
        right = 1 if self.experiment.phase is Phase.SETUP else 2
        may = [who for who, status in roster.invited.items() if status == right]
        sender = self.chance.choice(may) if may else self.anybody()
        return c.Join(self.number, self.specification, self.model, self.new()), sender

    def start(self):
        return c.Start(self.number, self.experiment.roster.digest), address(self.creator)

    def at(self):
        return self.number, self.experiment.round.number

    def contribute(self):
        call = c.Contribute(*self.at(), self.experiment.model, self.new())
        return call, self.one_of(self.experiment.round.todo)

    def propose(self):
        current = self.experiment.round
        included = sum(1 << seat for seat in current.contributions if self.chance.random() < 0.95)
        count = self.chance.choice((1, 1, 1, 2, 3, 8))
        candidates = tuple(self.new() for _ in range(count))
        uri = "u" * self.chance.choice((0, 1, 31, 32, 60, 256))
        call = c.Propose(*self.at(), self.experiment.model, included, candidates, uri)
        return call, self.one_of(current.todo)

    def skip(self):
        return c.Skip(*self.at()), self.one_of(self.experiment.round.todo)

    def vote(self):
        current = self.experiment.round
        call = c.Vote(*self.at(), current.key, self.masks(), 0, self.new())
        return call, self.one_of(current.todo)

    def abstain(self):
        current = self.experiment.round
        return c.Abstain(*self.at(), current.key), self.one_of(current.todo)

    def commit(self):
        voter = self.one_of(self.experiment.round.todo)
        masks, better = self.masks(), int(self.chance.random() < 0.02)
        if self.chance.random() < 0.03:
            masks = 1 << len(self.experiment.round.candidates)
        ballot = c.Reveal(*self.at(), masks, better, self.new(), self.new())
        self.commitments[voter, *self.at()] = ballot
        key = self.experiment.round.key
        return c.Commit(*self.at(), commitment(self.twins.book.domain, voter, key, ballot)), voter

    def reveal(self):
        voter = self.one_of(self.experiment.round.todo)
        nothing = c.Reveal(*self.at(), 1, 0, ZERO, ZERO)
        return self.commitments.get((voter, *self.at()), nothing), voter

    def vote_many(self):
        roster = self.experiment.roster
        voters = roster.members & ~(1 << self.experiment.front if roster.queue.order else 0)
        seats = self.awake(voters) or seats_of(voters) or [0]
        count = self.chance.randint(1, max(2, len(seats)))
        chosen = [self.chance.choice(seats) for _ in range(min(count, 12))]
        return c.VoteMany(*self.at(), tuple(map(self.ballot, chosen))), self.anybody()

    def ballot(self, seat):
        """A ballot of a seat's holder, and sometimes of nobody."""
        roster, chance = self.experiment.roster, self.chance
        if chance.random() < 0.02:
            seat = chance.choice((255, 256, LIMIT - 1, self.experiment.roster.opened))
        ballot = c.SignedBallot(seat, self.masks(), 0, self.new(), chance.random() < 0.15, None)
        if ballot.abstain and chance.random() < 0.5:
            ballot = replace(ballot, not_worse=LIMIT - 1, better=7)
        holder = roster.addresses[seat] if seat < len(roster.addresses) else self.anybody()
        person = person_at(holder) if chance.random() < 0.99 else chance.choice(self.crowd)
        ballot = signed(
            ballot, person, self.twins.book.domain, *self.at(), self.experiment.round.key
        )
        return self.forged(ballot) if chance.random() < 0.03 else ballot

    def forged(self, ballot):
        """A ballot that was changed after it was signed, or whose signature was."""
        value = bytes.fromhex(ballot.signature)
        r, s, v = value[:32], int.from_bytes(value[32:64], "big"), value[64]
        twin = r + (GROUP_ORDER - s).to_bytes(32, "big") + bytes((55 - v,))
        return self.chance.choice(
            (
                replace(ballot, note=self.new()),
                replace(ballot, better=1),
                replace(ballot, abstain=not ballot.abstain),
                replace(ballot, signature=(r + bytes(32) + bytes((v,))).hex()),
                replace(ballot, signature=(b"\xff" * 64 + bytes((v,))).hex()),
                replace(ballot, signature=(value[:64] + b"\x01").hex()),
                # A high s is another spelling of the same signature, and both take it.
                replace(ballot, signature=twin.hex()),
            )
        )

    def advance(self):
        if self.chance.random() < 0.85:
            edge = self.experiment.round.deadline + self.chance.choice((0, 1, 1, 1, 9))
            self.now = max(self.now, edge)
        call = c.Advance(*self.at(), int(self.experiment.phase))
        return call, self.anybody()

    def wake(self):
        missed = self.experiment.roster.missed_once
        sender = self.one_of(missed) if self.chance.random() < 0.5 else self.anybody()
        return c.Wake(self.number), sender

    def leave(self):
        return c.Leave(self.number), self.one_of(self.experiment.roster.members)

    def motion(self):
        """Rather support a motion than open another; somebody unlike the target."""
        roster, chance = self.experiment.roster, self.chance
        open_ones = [each for each, mask in roster.motions.items() if mask >= 0]
        if open_ones and chance.random() < 0.85:
            kind, target = chance.choice(open_ones)
        else:
            kind = chance.choices((1, 2, 3), (5, 3, 0.3))[0]
            target = self.anybody() if kind != 3 else NOBODY
        supporters = max(roster.motions.get((kind, target), 0), 0)
        sender = self.one_of(roster.members & ~supporters)
        return c.Motion(self.number, roster.epoch, kind, target), sender

    def confirm(self):
        sender = self.one_of(self.experiment.round.todo)
        return c.Confirm(self.number, self.experiment.model), sender

    def spoiled(self, call):
        """The call with one field that does not fit."""
        name = self.chance.choice([each.name for each in fields(call)])
        value = getattr(call, name)
        if name == "rules":
            return replace(call, rules=value ^ 1 << self.chance.randrange(256))
        if name == "candidates":
            twice = (*value[:-1], value[0]) if len(value) > 1 else (self.experiment.model,)
            return replace(call, candidates=self.chance.choice(((), twice)))
        if name in ("who", "ballots"):
            return replace(call, **{name: value[:1] * 2})
        if name == "target":
            return replace(call, target=self.chance.choice((NOBODY, self.anybody())))
        if name == "uri":
            return replace(call, uri="")
        if isinstance(value, int):
            near = (value ^ 1 << self.chance.randrange(9), value + 1, LIMIT - 1, 0)
            return replace(call, **{name: self.chance.choice(near) % LIMIT})
        return replace(call, **{name: self.chance.choice((self.new(), ZERO))})


THRESHOLDS = ((0, 1), (1, 2), (1, 2), (2, 4), (2, 3), (1, 1), (1, 3), (3, 4), (65534, 65535))


def random_word(chance, *, council, blind):
    """A word of rules; the threshold need not be reduced."""
    rules = Rules(
        contribute_s=60 * council,
        propose_s=chance.choice((60, 61)),
        vote_s=chance.choice((60, 3600)),
        reveal_s=90 * blind,
        rounds=chance.choice((0, 0, 0, 3, 9)),
        merge_tolerance=chance.choice((0, 1, 2, 65535)),
        early_close=chance.random() < 0.4,
        patience=chance.choice((0, 0, 2, 5)),
    )
    numerator, denominator = chance.choice(THRESHOLDS)
    return rules.to_word() >> 32 << 32 | numerator | denominator << 16


def play(seed, calls_count):
    """Play random worlds, up to three in one contract, until so many calls are made.

    The first one is large. They are councils or not, blind or open, in turns.
    """
    chance = random.Random(seed)
    played = Played()
    kinds = itertools.cycle(itertools.product((False, True), repeat=2))
    while played.calls_count < calls_count:
        twins = Twins(drift_s=chance.choice((0, 0, 5, 15)))
        worlds = []
        for council, blind in itertools.islice(kinds, chance.randint(1, 3)):
            word = random_word(chance, council=council, blind=blind)
            large = not played.calls_count and not worlds
            size = chance.randint(12, 40) if large else chance.randint(2, 8)
            worlds.append(World(twins, chance, size=size, word=word))
        for _ in range(chance.randint(50, 400) * len(worlds)):
            chance.choice(worlds).step()
            worlds = [world for world in worlds if world.steps_over < 15]
            if not worlds:
                break
        twins.check_all()
        played.add(twins)
    return played
