"""The tally of a round: what the ballots decide (protocol P3.2 to P3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from colearn.core.rules import Rules
from colearn.errors import LocalProtocolError

__all__ = ["Ballot", "Outcome", "Tally", "approvals_needed", "counted_members"]


class Ballot(StrEnum):
    """What one voter said, or that it said nothing that counts (P3.4)."""

    APPROVE = "approve"
    REJECT = "reject"
    ABSTAIN = "abstain"
    SILENT = "silent"
    """Silence, an error or nonsense: no approval, and the voter stays in the count."""


class Outcome(StrEnum):
    """How a round ended. All three are outcomes; none is an error."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NO_PROPOSAL = "no proposal"


def counted_members(members: int, abstained: int) -> int:
    """Return c = max(n - abstained, ceil(3n/4)), the number the threshold is taken of (P3.3).

    The floor of three quarters is what keeps a few approvals of a group of abstainers from
    deciding; there is no other quorum (P3.4).
    """
    return max(members - abstained, -(-3 * members // 4))


def approvals_needed(rules: Rules, members: int, abstained: int = 0) -> int:
    """Return how many members other than the proposer must approve (P3.3).

    Args:
        rules: The experiment's rules; t is their threshold.
        members: n, the size of the group when the round opened, its proposer included.
        abstained: How many voters abstained.

    Returns:
        min(floor(t c) + 1, c) - 1, as the proposal is its proposer's own approval (P3.2), and at
        least 1: nobody decides alone.
    """
    counted = counted_members(members, abstained)
    threshold = rules.threshold
    behind = min(threshold.numerator * counted // threshold.denominator + 1, counted)
    return max(behind - 1, 1)


@dataclass(frozen=True, slots=True)
class Tally:
    """The count of one round's ballots.

    Attributes:
        rules: The experiment's rules.
        members: n, frozen when the round opened, its proposer included (P3.2).
        approvals: Voters that approved; the proposer is not among them.
        rejections: Voters that rejected.
        abstentions: Voters that abstained.

    Raises:
        LocalProtocolError: A negative count, or more ballots than voters.
    """

    rules: Rules
    members: int
    approvals: int = 0
    rejections: int = 0
    abstentions: int = 0

    def __post_init__(self) -> None:
        counts = (self.approvals, self.rejections, self.abstentions)
        if self.members < 1 or min(counts) < 0 or sum(counts) > self.members - 1:
            raise LocalProtocolError(
                f"A group of {self.members} has at most {self.members - 1} ballots, got "
                f"{self.approvals} approvals, {self.rejections} rejections and "
                f"{self.abstentions} abstentions."
            )

    @property
    def silent(self) -> int:
        """Voters that said nothing that counts; they stay in c (P3.4)."""
        return self.members - 1 - self.approvals - self.rejections - self.abstentions

    @property
    def needed(self) -> int:
        """Approvals of others that this round needed (P3.3)."""
        return approvals_needed(self.rules, self.members, self.abstentions)

    @property
    def accepted(self) -> bool:
        """Whether enough others approved (P3.3)."""
        return self.approvals >= self.needed

    @property
    def outcome(self) -> Outcome:
        """Accepted or rejected; a tally exists only where there was a proposal."""
        return Outcome.ACCEPTED if self.accepted else Outcome.REJECTED
