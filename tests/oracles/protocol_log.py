"""The log of 7.9 once more: which rows are valid, and which are certified.

It imports nothing of the package. A head is a number that is the same in two logs where the rows up
to it are the same, and nowhere else; a signature is the tuple of what was signed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """What somebody signs; `anchor` is the head it has verified, and `height` where it says."""

    nonce: int
    height: int
    anchor: object
    time: int
    call: object


@dataclass(frozen=True)
class Row:
    """An entry in its place; `signature` is (signer, genesis, entry), and `low` says of s."""

    entry: Entry
    signature: tuple
    stamp: int
    low: bool = True


def sign(signer, genesis, entry):
    return (signer, genesis, entry)


STAMP_END = 2**40 - 2**32
"""Where the deadlines of 40 bits end, less the longest that a phase may last."""

_HEADS = {}


def head_after(head, row):
    """The head of a log that ended in `head` and has got `row`; a genesis is a head's name."""
    return _HEADS.setdefault((head, row), len(_HEADS) + 1)


def faults(members):
    return (members - 1) // 3


@dataclass
class Log:
    """Rows in their order; `allows(call, signer, stamp)` is what the rules say."""

    genesis: object
    drift: int
    allows: Callable = lambda call, signer, stamp: True
    rows: list = field(default_factory=list)
    heads: list = field(default_factory=list)

    def __post_init__(self):
        self.heads = self.heads or [head_after(self.genesis, None)]

    @property
    def height(self):
        return len(self.rows)

    def mine(self, signer):
        return [row.entry for row in self.rows if row.signature[0] == signer]

    def entry(self, signer, time, call):
        """What an honest member signs now."""
        return Entry(len(self.mine(signer)), self.height, self.heads[-1], time, call)

    def broken(self, row):
        """The conditions of 7.9 that the row would break as the next one."""
        entry, (signer, genesis, covered) = row.entry, row.signature
        if genesis != self.genesis or covered != entry or not row.low:
            # Whoever signed something else is somebody else here: nothing more can be said.
            return {"signature"}
        earlier = self.mine(signer)
        last = self.rows[-1].stamp if self.rows else 0
        known = entry.height <= self.height and self.heads[entry.height] == entry.anchor
        back = bool(earlier) and entry.height < earlier[-1].height
        broken = {
            "nonce": entry.nonce != len(earlier),
            "anchor": not known or back,
            "stamp": not last <= row.stamp < STAMP_END,
            "clock": abs(row.stamp - entry.time) > self.drift,
        }
        found = {name for name, holds in broken.items() if holds}
        if not found:
            found |= {"call"} if entry.call is None else set()
        if not found and not self.allows(entry.call, signer, row.stamp):
            found = {"rules"}
        return found

    def append(self, row):
        assert not self.broken(row)
        self.rows.append(row)
        self.heads.append(head_after(self.heads[-1], row))

    def certified(self, rosters):
        """The highest row that enough have anchored, and every change of the roster below it too.

        Args:
            rosters: From which height on who the members were, in order.
        """
        ends = [*[begin for begin, _ in rosters[1:]], self.height]
        return max(
            (
                height
                for height in range(self.height + 1)
                if rosters
                and all(
                    self.enough(members, min(height, end))
                    for place, ((begin, members), end) in enumerate(zip(rosters, ends, strict=True))
                    if place == 0 or begin < height
                )
            ),
            default=0,
        )

    def enough(self, members, height):
        """Whether more than (n + f) / 2 of the members have anchored at or above a height."""
        tops = [max((each.height for each in self.mine(who)), default=0) for who in members]
        return 2 * sum(top >= height for top in tops) > len(members) + faults(len(members))
