"""What an accepted call makes known, with the contract's own names; together they tell everything.

Seats and masks are whole numbers, addresses and digests are text as in `colearn.core.calls`.
"""

from __future__ import annotations

from dataclasses import dataclass

from colearn.core.phase import OUTCOMES
from colearn.core.tally import Outcome

__all__ = [
    "EVENTS",
    "Awoke",
    "Closed",
    "Committed",
    "Confirmed",
    "Contributed",
    "Created",
    "Event",
    "Joined",
    "Member",
    "Missed",
    "MotionSupported",
    "Opened",
    "Proposed",
    "Revealed",
    "Skipped",
    "Started",
    "Voted",
]


@dataclass(frozen=True, slots=True)
class Created:
    """An experiment exists."""

    experiment: int
    creator: str
    specification: str
    model: str
    rules: int
    uri: str


@dataclass(frozen=True, slots=True)
class Member:
    """A member was invited or admitted, leaves, or is expelled (`MemberStatus`)."""

    experiment: int
    member: str
    status: int


@dataclass(frozen=True, slots=True)
class Joined:
    """A seat was given."""

    experiment: int
    member: str
    seat: int
    moments: str


@dataclass(frozen=True, slots=True)
class Started:
    """The roster is fixed and round 1 opens."""

    experiment: int
    roster: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A phase begins; for OVER, proposer and deadline are 0."""

    experiment: int
    round_number: int
    phase: int
    proposer: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Contributed:
    """The digest of a contribution was posted (5.1)."""

    experiment: int
    round_number: int
    member: str
    digest: str


@dataclass(frozen=True, slots=True)
class Proposed:
    """Candidates were named, and voting is open until the deadline."""

    experiment: int
    round_number: int
    proposer: str
    key: str
    parent: str
    included: int
    candidates: tuple[str, ...]
    uri: str
    deadline: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A proposer ended its turn itself (P3.6)."""

    experiment: int
    round_number: int
    member: str


@dataclass(frozen=True, slots=True)
class Voted:
    """An open ballot counts, or an abstention."""

    experiment: int
    round_number: int
    voter: str
    not_worse: int
    better: int
    abstain: bool
    note: str


@dataclass(frozen=True, slots=True)
class Committed:
    """A blind ballot was committed to."""

    experiment: int
    round_number: int
    voter: str
    commitment: str


@dataclass(frozen=True, slots=True)
class Revealed:
    """A blind ballot counts."""

    experiment: int
    round_number: int
    voter: str
    not_worse: int
    better: int
    note: str
    salt: str


@dataclass(frozen=True, slots=True)
class Missed:
    """A deadline passed; `seats` are those that missed it."""

    experiment: int
    round_number: int
    phase: int
    seats: int


@dataclass(frozen=True, slots=True)
class Closed:
    """A round ended; `model` is the global model after it."""

    experiment: int
    round_number: int
    proposer: int
    outcome: int
    model: str

    @property
    def result(self) -> Outcome:
        """The outcome by name."""
        return OUTCOMES[self.outcome]


@dataclass(frozen=True, slots=True)
class MotionSupported:
    """A member stands behind a motion, and whether it has passed by that."""

    experiment: int
    member: str
    target: str
    kind: int
    epoch: int
    passed: bool


@dataclass(frozen=True, slots=True)
class Awoke:
    """A member is waited for again."""

    experiment: int
    member: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A member holds the final model."""

    experiment: int
    member: str
    model: str


Event = (
    Created
    | Member
    | Joined
    | Started
    | Opened
    | Contributed
    | Proposed
    | Skipped
    | Voted
    | Committed
    | Revealed
    | Missed
    | Closed
    | MotionSupported
    | Awoke
    | Confirmed
)

EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        Created, Member, Joined, Started, Opened, Contributed, Proposed, Skipped, Voted,
        Committed, Revealed, Missed, Closed, MotionSupported, Awoke, Confirmed,
    )
}  # fmt: skip
