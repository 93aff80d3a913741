"""Logs on a stage: members that sign entries, and orderers that put them into rows."""

from dataclasses import replace

from colearn.core import Entry, Genesis, InvalidRowError, Replica, Row, Rules, encode_call
from colearn.core.calls import Create, Invite, Join, Start
from colearn.crypto import GROUP_ORDER
from tests.oracles.scene import MODEL, NAMES, SPECIFICATION, address
from tests.oracles.wording import ZERO, key_of

DRIFT = 5
CONDITIONS = {"signature", "nonce", "anchor", "stamp", "clock", "call", "rules"}


def genesis(salt="00", **changes):
    return replace(Genesis("c0" * 32, salt * 32, address("a"), DRIFT), **changes)


def noise(number):
    """A call that everybody may make at any time."""
    return Create(SPECIFICATION, MODEL, Rules(propose_s=60, vote_s=60).to_word(), f"noise-{number}")


def high_s(signature):
    """The twin of a signature: as good for a curve, and no other than the log's rule refuses it."""
    s = GROUP_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes((55 - signature[64],))


class Orderer:
    """A log that somebody keeps; `fork` is what a host does that lies."""

    def __init__(self, birth=None):
        self.replica, self.rows = Replica(birth or genesis()), []

    def fork(self):
        other = Orderer(self.replica.genesis)
        for row in self.rows:
            other.take(row)
        return other

    def take(self, row):
        """Append, or return the condition that the row breaks; then nothing may have changed."""
        condition = self._asked(self.replica.append, row)
        if condition is None:
            self.rows.append(row)
        return condition

    def look(self, row):
        """Return the condition that the row would break as the next one, or None."""
        return self._asked(self.replica.check, row)

    def _asked(self, ask, row):
        before, condition = self.state, None
        try:
            ask(row)
        except InvalidRowError as error:
            condition = error.condition
        appended = condition is None and ask == self.replica.append
        assert appended or self.state == before
        assert condition is None or condition in CONDITIONS
        return condition

    @property
    def state(self):
        it = self.replica
        return (it.heads[:], it.stamp, repr(it.book), repr(it._places), repr(it._anchors))

    def sign(self, who, call, time, *, by=None, anchor=None, signing=None, **changes):
        """The entry that `who` signs: anchored at the last row, or at `anchor`."""
        data = call if isinstance(call, bytes) else encode_call(call)
        entry = self.replica.entry(address(who), time, data)
        if anchor is not None:
            entry = replace(entry, anchor_height=anchor, anchor_head=self.replica.heads[anchor])
        entry = replace(entry, **changes)
        return entry, key_of(by or who).sign((signing or self.replica).digest(entry))

    def row(self, who, call, time, *, stamp=None, **changes):
        entry, signature = self.sign(who, call, time, **changes)
        return Row(entry, signature, time if stamp is None else stamp)

    def put(self, who, call, time, **changes):
        """Sign and append at once; return the broken condition, if any."""
        return self.take(self.row(who, call, time, **changes))

    def start(self, size, time=0):
        """Let the first `size` names be the members of experiment 1."""
        word = Rules(propose_s=60, vote_s=60).to_word()
        names = NAMES[:size]
        calls = [("a", Create(SPECIFICATION, MODEL, word, ""))]
        calls += [("a", Invite(1, tuple(map(address, names))))]
        calls += [(name, Join(1, SPECIFICATION, MODEL, ZERO)) for name in names]
        for who, call in calls:
            assert self.put(who, call, time) is None
        roster = self.replica.book.experiments[1].roster.digest
        assert self.put("a", Start(1, roster), time) is None


def again(row):
    """The row as another process reads it."""
    return Row(Entry.decode(row.entry.encode()), bytes(row.signature), row.stamp)
