"""How many silent and how many hostile members a group's rules survive (protocol 9, P3.4)."""

from __future__ import annotations

from dataclasses import dataclass

from colearn.core.rules import Rules
from colearn.core.tally import Tally, approvals_needed

__all__ = ["Tolerance", "certifiers", "faults", "tolerance"]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """One column of the table of section 9.

    Attributes:
        members: n, the size of the group.
        needed: Approvals of others a proposal needs when nobody abstains.
        obstructing: Members other than the proposer that may be silent or hostile while honest
            proposals still pass.
        colluding: Hostile members, the proposer among them, that pass nothing alone, whatever the
            honest members abstain from.
    """

    members: int
    needed: int
    obstructing: int
    colluding: int


def tolerance(rules: Rules, members: int) -> Tolerance:
    """Return what a group of `members` survives under `rules`.

    `obstructing` is negative for a group of one: its proposals never pass (P3.3).
    """
    needed = approvals_needed(rules, members)
    return Tolerance(
        members=members,
        needed=needed,
        obstructing=members - 1 - needed,
        colluding=_largest_harmless_gang(rules, members),
    )


def _largest_harmless_gang(rules: Rules, members: int) -> int:
    for gang in range(1, members + 1):
        honest = members - gang
        if any(_passes(rules, members, gang, abstained) for abstained in range(honest + 1)):
            return gang - 1
    return members


def _passes(rules: Rules, members: int, gang: int, abstained: int) -> bool:
    return Tally(rules, members, approvals=gang - 1, abstentions=abstained).accepted


def faults(members: int) -> int:
    """Return f = floor((n - 1) / 3), the lying members that certified rows survive (section 9)."""
    return (members - 1) // 3


def certifiers(members: int) -> int:
    """Return how many members must anchor a row: more than (n + f) / 2 (7.9)."""
    return (members + faults(members)) // 2 + 1
