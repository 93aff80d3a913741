"""One experiment of the pure rules on a stage: who does what, with everything else filled in."""

import hashlib
from dataclasses import replace
from functools import cache

import pytest

from colearn.core import Book, Phase, Reason, RefusedError, Rules
from colearn.core.bindings import ballot_digest, commitment
from colearn.core.calls import CALLS, Reveal, SignedBallot
from colearn.core.experiment import Experiment, seats_of
from tests.oracles.wording import HERE, ZERO, key_of

NAMES = "abcdefghijklmnopqrstuvwxyz"
SALT = "5a" * 32
DEFAULT = Rules()
SPECIFICATION, MODEL = "11" * 32, "22" * 32


def digest(*parts):
    """64 hex digits that stand for `parts`."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def address(name):
    return key_of(name).address


@cache
def names():
    return {address(name): name for name in NAMES}


class Scene:
    """An experiment with the members a, b, c ..., and the time."""

    def __init__(self, size=4, rules=DEFAULT, *, drift=0, domain=HERE, started=True):
        self.book, self.now, self.events = Book(domain, drift), 1_000, []
        self.do("create", "a", rules=rules.to_word())
        if size:
            self.do("invite", "a", who=tuple(map(address, NAMES[:size])))
        for name in NAMES[:size]:
            self.do("join", name)
        if started:
            self.do("start", "a")

    def fork(self):
        """The same place and time; what happens there does not happen here."""
        other = object.__new__(Scene)
        other.book, other.now, other.events = self.book, self.now, []
        return other

    # ------------------------------------------------------------------ what there is
    @property
    def it(self):
        return self.book.experiments.get(1, Experiment())

    @property
    def phase(self):
        return self.it.phase

    @property
    def front(self):
        return self.name(self.it.front)

    def name(self, seat):
        return names()[self.it.roster.addresses[seat]]

    def names(self, mask):
        return "".join(self.name(seat) for seat in seats_of(mask))

    @property
    def members(self):
        return self.names(self.it.roster.members)

    @property
    def awaited(self):
        return self.names(self.it.round.todo)

    @property
    def dormant(self):
        return self.names(self.it.roster.dormant)

    @property
    def place(self):
        """Round and phase."""
        return self.it.round.number, self.it.phase

    def told(self, kind):
        """The events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    # ------------------------------------------------------------------ who does what
    def call(self, name, who, /, **changes):
        """The call that `who` would make now, but for the changes."""
        kind, it = CALLS[name], self.it
        common = {"experiment": 1, "round_number": it.round.number, "parent": it.model}
        common |= {"key": it.round.key, "not_worse": 1, "better": 0, "note": ZERO, "salt": SALT}
        common |= {"specification": SPECIFICATION, "moments": ZERO, "epoch": it.roster.epoch}
        special = {
            "create": {"model": MODEL, "rules": Rules().to_word(), "uri": ""},
            "invite": {"who": (address(who),)},
            "join": {"model": MODEL},
            "start": {"roster": it.roster.digest},
            "contribute": {"digest": digest("contribution", who, it.round.number)},
            "propose": {
                "included": sum(1 << seat for seat in it.round.contributions),
                "candidates": (digest("candidate", who, it.round.number),),
                "uri": "",
            },
            "commit": {"commitment": self.commitment(who)},
            "vote_many": {"ballots": ()},
            "advance": {"phase": it.round.phase},
            "motion": {"kind": 1, "target": address("z")},
            "confirm": {"model": it.model},
        }.get(name, {})
        given = {**common, **special, **changes}
        return kind(**{field: given[field] for field in kind.__slots__})

    def commitment(self, who, **changes):
        """The commitment to what `call` reveals, but for the changes."""
        ballot = Reveal(1, self.it.round.number, 1, 0, ZERO, SALT)
        where = {"domain": self.book.domain, "voter": address(who), "key": self.it.round.key}
        where |= {name: changes.pop(name) for name in where.keys() & changes.keys()}
        return commitment(ballot=replace(ballot, **changes), **where)

    def ballot(self, who, not_worse=1, *, signer=None, **changes):
        """A ballot that a relay may bring; what is changed is changed before it is signed."""
        seat = changes.pop("seat", self.it.roster.seat_of.get(address(who), 255))
        where = {
            "domain": self.book.domain,
            "experiment": 1,
            "round_number": self.it.round.number,
            "key": self.it.round.key,
        }
        where |= {name: changes.pop(name) for name in where.keys() & changes.keys()}
        fields = {"better": 0, "note": ZERO, "abstain": False, **changes}
        unsigned = SignedBallot(seat=seat, not_worse=not_worse, signature=None, **fields)
        signature = key_of(signer or who).sign(ballot_digest(ballot=unsigned, **where))
        return replace(unsigned, signature=signature.hex())

    def do(self, name, who, /, **changes):
        """Let somebody do it, and return what became known."""
        call = self.call(name, who, **changes)
        self.book, events = self.book.apply(call, address(who), self.now)
        self.events += events
        return events

    def why_not(self, name, who, /, **changes):
        """The reason why it is refused; nothing may have changed (S5)."""
        call, before = self.call(name, who, **changes), repr(self.book)
        with pytest.raises(RefusedError) as refused:
            self.book.apply(call, address(who), self.now)
        assert repr(self.book) == before
        assert isinstance(refused.value.reason, Reason)
        return refused.value.reason

    # ------------------------------------------------------------------ several at once
    def contribute_all(self, but=""):
        for name in self.members:
            if name not in but and self.phase is Phase.CONTRIBUTE:
                self.do("contribute", name)

    def propose(self, count=1):
        """Let the front propose `count` candidates."""
        number, front = self.it.round.number, self.front
        candidates = tuple(digest("candidate", number, place) for place in range(count))
        return self.do("propose", front, candidates=candidates)

    def votes(self, **masks):
        """Let each cast its ballot while the vote is open; None abstains."""
        number = self.it.round.number
        for name, mask in masks.items():
            if self.place != (number, Phase.VOTE):
                break
            if mask is None:
                self.do("abstain", name)
            else:
                self.do("vote", name, not_worse=mask)

    def silence(self):
        """Let the deadline pass."""
        self.now = max(self.now, self.it.round.deadline) + 1
        return self.do("advance", "z")

    def pass_motion(self, kind, target, by):
        for name in by:
            self.do("motion", name, kind=kind, target=target)
