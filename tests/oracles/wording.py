"""Between the words of the oracles (names, tuples) and those of the package (seats, hex digits).

A symbol stands for one digest; commitments, keys, rosters and signatures are made for real.
"""

import hashlib
from dataclasses import asdict
from functools import cache

from colearn.core import MotionKind, Phase, calls
from colearn.core.bindings import Domain, ballot_digest, commitment, grown_roster, proposal_key
from colearn.core.events import Closed, Joined
from colearn.core.experiment import NOBODY, seats_of
from colearn.identity.key import Key

HERE, ELSEWHERE = Domain(1, "0x" + "a1" * 20), Domain(1, "0x" + "b2" * 20)
ZERO = "00" * 32
KINDS = {"admit": MotionKind.ADMIT, "expel": MotionKind.EXPEL, "finish": MotionKind.FINISH}
ODD_KINDS = {"none": 0, "four": 4, "huge": 2**255}

BITS = {
    "contribute_s": 32, "propose_s": 64, "vote_s": 96, "reveal_s": 128, "rounds": 160,
    "tolerance": 192, "election": 208, "early_close": 216, "patience": 224, "unknown": 240,
}  # fmt: skip


@cache
def key_of(name):
    return Key.from_seed(1, name)


def rules_word(terms):
    """Pack terms as `create` carries them, by the table of the contract."""
    numerator, denominator = terms.threshold
    word = numerator | denominator << 16
    for name, low in BITS.items():
        word |= asdict(terms)[name] << low
    return word


def mask(indices):
    return sum(1 << index for index in indices)


class Wording:
    """What the names of one ledger's tests mean in the package."""

    def __init__(self, here=HERE):
        self.domains = {
            "here": here,
            "elsewhere": ELSEWHERE,
            "on another chain": Domain(5, here.contract),
        }
        self.seats = {}
        self.names = {NOBODY: None}
        self.digests = {}

    def address(self, name):
        if name is None:
            return NOBODY
        address = key_of(name).address
        self.names[address] = name
        return address

    def seat(self, experiment, name):
        """The seat a name means: its latest, or one that nobody has."""
        if name.startswith("seat:"):
            return int(name[5:])
        return self.seats.get((experiment, name), 255 - "abcdefghijklmnopqrstuvwxyz".index(name))

    def note_events(self, events):
        """Learn the seats that were given; return the rounds that were closed, by name."""
        for event in events:
            if isinstance(event, Joined):
                self.seats[event.experiment, self.names[event.member]] = event.seat
        return [event for event in events if isinstance(event, Closed)]

    def note_seats(self, experiment):
        """Learn the seats from the state itself."""
        for who, seat in experiment.roster.seat_of.items():
            self.seats[experiment.number, self.names[who]] = seat

    def digest(self, symbol, experiment=1):
        """The 64 digits of a symbol."""
        if symbol is None:
            return ZERO
        kind = symbol[0] if isinstance(symbol, tuple) else None
        if kind == "key":
            _, parent, included, candidates = symbol
            seats = mask(self.seat(experiment, name) for name in included)
            hexes = tuple(self.digest(each) for each in candidates)
            return proposal_key(self.digest(parent), seats, hexes)
        if kind == "roster":
            digest = ZERO
            for name in symbol[1]:
                digest = grown_roster(digest, self.address(name))
            return digest
        if kind == "commitment":
            return self._commitment(symbol)
        if symbol not in self.digests:
            self.digests[symbol] = hashlib.sha256(repr(symbol).encode()).hexdigest()
        return self.digests[symbol]

    def _commitment(self, symbol):
        _, ledger, experiment, number, voter, key, approved, better, note, salt = symbol
        ballot = calls.Reveal(
            experiment, number, mask(approved), mask(better), self.digest(note), self.digest(salt)
        )
        voter, key = self.address(voter), self.digest(key, experiment)
        return commitment(self.domains[ledger], voter, key, ballot)

    def _ballot(self, experiment, ballot):
        voter, approved, better, note, abstains, signature = ballot
        seat = self.seat(experiment, voter)
        fields = (mask(approved), mask(better), self.digest(note), abstains)
        return calls.SignedBallot(seat, *fields, self._signature(seat, signature))

    def _signature(self, seat, signature):
        if signature == "verified":
            return None
        if signature == "garbage":
            return "00" * 65
        _, voter, covered = signature
        ledger, experiment, number, key, approved, better, note, abstains = covered
        fields = (mask(approved), mask(better), self.digest(note), abstains)
        ballot = calls.SignedBallot(seat, *fields, None)
        digest = ballot_digest(
            self.domains[ledger], experiment, number, self.digest(key, experiment), ballot
        )
        return key_of(voter).sign(digest).hex()

    def call(self, name, arguments):
        """The call of the package that an oracle's call means."""
        given = dict(arguments)
        number = given.pop("experiment", 0)
        if name == "create":
            given["rules"] = rules_word(given.pop("terms"))
            given["uri"] = "ipfs://specification"
        elif name == "invite":
            given["who"] = tuple(self.address(each) for each in given["who"])
        elif name == "motion":
            given["kind"] = {**KINDS, **ODD_KINDS}[given["kind"]]
            given["target"] = self.address(given["target"])
        elif name == "advance":
            phase = given["phase"]
            given["phase"] = phase if phase == 9 else Phase[phase.upper()]
        elif name == "vote_many":
            given["ballots"] = tuple(self._ballot(number, each) for each in given["ballots"])
        elif name == "propose":
            given["uri"] = ""
            given["included"] = mask(self.seat(number, each) for each in given["included"])
            given["candidates"] = tuple(self.digest(each) for each in given["candidates"])
        elif name == "join":
            given["moments"] = None
        for field, to in (("approved", "not_worse"), ("better", "better")):
            if field in given:
                given[to] = mask(given.pop(field))
        for field in DIGESTS & given.keys():
            given[field] = self.digest(given[field], number)
        kind = calls.CALLS[name]
        return kind(**given) if name == "create" else kind(experiment=number, **given)

    def state(self, experiment):
        """All that the rules of the package keep of an experiment, by name."""
        roster, current = experiment.roster, experiment.round

        def named(seats):
            return {self.names[roster.addresses[seat]] for seat in seats_of(seats)}

        def by_name(by_seat):
            return {self.names[roster.addresses[seat]]: value for seat, value in by_seat.items()}

        kinds = {int(kind): name for name, kind in KINDS.items()}
        once, twice = named(roster.missed_once), named(roster.missed_twice)
        assert twice <= once
        motions = {
            (kinds[kind], self.names[target]): ("passed" if seats == -1 else named(seats))
            for (kind, target), seats in roster.motions.items()
        }
        waiting = roster.addresses[roster.opened :]
        return {
            "phase": current.phase.name.lower(),
            "round": current.number,
            "deadline": current.deadline,
            "members": [self.names[each] for each in roster.names(roster.members)],
            "turns": [self.names[roster.addresses[seat]] for seat in roster.queue.order],
            "waiting": [self.names[each] for each in waiting],
            "leaving": named(roster.leaving),
            "dormant": named(roster.dormant),
            "missed": {name: 1 + (name in twice) for name in once},
            "awaited": named(current.todo),
            "model": experiment.model,
            "counted": experiment.counted,
            "streak": experiment.streak,
            "empty": experiment.empty,
            "finish": experiment.finish,
            "epoch": roster.epoch,
            "motions": motions,
            "invited": {
                self.names[who]: "creator" if right == 1 else "motion"
                for who, right in roster.invited.items()
            },
            "tried": current.tried,
            "contributions": by_name(current.contributions),
            "included": named(current.included),
            "candidates": current.candidates,
            "commitments": by_name(current.commitments),
            "approvals": current.approvals,
            "abstainers": named(current.abstainers),
            "cast": current.cast,
        }

    def expected(self, oracle):
        """The same, as the oracle has it."""
        cast = [ballot for ballot in oracle.ballots.values() if ballot != "abstain"]
        places = range(len(oracle.candidates))
        return {
            "phase": oracle.phase,
            "round": oracle.round,
            "deadline": oracle.deadline,
            "members": oracle.members,
            "turns": oracle.turns,
            "waiting": oracle.waiting,
            "leaving": oracle.leaving,
            "dormant": oracle.dormant(),
            "missed": {name: min(times, 2) for name, times in oracle.missed.items()},
            "awaited": oracle.awaited(),
            "model": self.digest(oracle.model),
            "counted": oracle.counted,
            "streak": oracle.streak,
            "empty": oracle.empty,
            "finish": oracle.finish,
            "epoch": oracle.epoch,
            "motions": {
                this: "passed" if this in oracle.passed else backers
                for this, backers in oracle.backers.items()
            },
            "invited": oracle.invited,
            "tried": oracle.tried,
            "contributions": {
                name: self.digest(each) for name, each in oracle.contributions.items()
            },
            "included": set(oracle.included),
            "candidates": tuple(self.digest(each) for each in oracle.candidates),
            "commitments": {name: self.digest(each) for name, each in oracle.commitments.items()},
            "approvals": tuple(sum(place in ballot for ballot in cast) for place in places),
            "abstainers": {n for n, ballot in oracle.ballots.items() if ballot == "abstain"},
            "cast": len(cast),
        }


DIGESTS = {
    "specification", "model", "roster", "parent", "digest", "key", "note", "commitment", "salt",
    "moments",
}  # fmt: skip
