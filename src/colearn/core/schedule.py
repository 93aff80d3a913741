"""Whose turn it is: a queue in join order (protocol P3.1)."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from colearn.errors import LocalProtocolError

__all__ = ["TurnQueue"]

Member = TypeVar("Member", bound=Hashable)
"""A name, or a seat."""


@dataclass(frozen=True, slots=True)
class TurnQueue(Generic[Member]):
    """The order of turns of the round that is open; the front proposes.

    Between two turns of a member, everybody who was a member throughout has exactly one. Nothing
    is drawn at random, so nobody can bend the order by trying again (P3.1).

    Attributes:
        order: The members, the proposer of the open round first.

    Raises:
        LocalProtocolError: A member stands in the queue twice.
    """

    order: tuple[Member, ...]

    def __post_init__(self) -> None:
        if len(set(self.order)) != len(self.order):
            raise LocalProtocolError(f"A member stands in the queue twice: {self.order}.")

    @property
    def proposer(self) -> Member:
        """The member whose turn it is.

        Raises:
            LocalProtocolError: The queue is empty.
        """
        if not self.order:
            raise LocalProtocolError("Nobody is left in the queue, so nobody has the turn.")
        return self.order[0]

    def next(
        self, joined: Iterable[Member] = (), left: Collection[Member] = ()
    ) -> TurnQueue[Member]:
        """Return the queue of the round that opens now.

        The last proposer goes to the back, newcomers stand behind it in the order in which they
        joined, leavers are out.
        """
        moved = (*self.order[1:], *self.order[:1], *joined)
        return TurnQueue(tuple(member for member in moved if member not in left))
