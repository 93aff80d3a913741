"""A replica: the state that the rows of a log lead to, whoever reads them (7.9, S10).

A row is valid, by the log alone, iff the signature holds; the nonce is the number of the signer's
rows so far; the anchor is a row of this log and never goes back for a signer; the stamp does not
go back; stamp and time differ by at most the drift; and the rules accept the call. No reader's
clock takes part.
"""

from __future__ import annotations

from typing import NamedTuple

from colearn.core.calls import Call
from colearn.core.chain import STAMP_END, Entry, Genesis, Row, head_after
from colearn.core.encoding import decode_call
from colearn.core.events import Event, Opened
from colearn.core.machine import Book
from colearn.core.refusal import RefusedError
from colearn.core.tolerance import certifiers
from colearn.crypto import is_low_s, recover
from colearn.errors import (
    ColearnError,
    LocalProtocolError,
    RemoteProtocolError,
    SignatureError,
)

__all__ = ["InvalidRowError", "Replica", "Step"]

SIGNATURE_BYTES = 65


class InvalidRowError(ColearnError):
    """A row that its log makes invalid; for an orderer, an entry that becomes no row.

    Attributes:
        condition: Which condition of 7.9 it breaks: signature, nonce, anchor, stamp, clock, call
            or rules.
        reason: What was expected and what came.
    """

    def __init__(self, condition: str, reason: str) -> None:
        """Say which `condition` is broken, and how."""
        super().__init__(f"{condition}: {reason}.")
        self.condition = condition
        self.reason = reason


class Step(NamedTuple):
    """A row that was examined, and what it leads to."""

    row: Row
    signer: str
    book: Book
    events: tuple[Event, ...]
    head: str


class Replica:
    """The rows of one log so far, and what the rules make of them.

    Attributes:
        genesis: What the log was born with.
        book: The experiments.
        heads: The head at each height; that at 0 is the genesis.
        stamp: Of the last row, 0 before any.
    """

    def __init__(self, genesis: Genesis) -> None:
        """Start from the empty log."""
        self.genesis = genesis
        self.book = Book(genesis.domain, genesis.drift_s)
        self.heads = [genesis.digest]
        self.stamp = 0
        self._separator = genesis.separator
        self._places: dict[str, list[int]] = {}
        self._anchors: dict[str, int] = {}
        self._rosters: dict[int, list[tuple[int, tuple[str, ...]]]] = {}

    @property
    def height(self) -> int:
        """How many rows there are."""
        return len(self.heads) - 1

    @property
    def head(self) -> str:
        """The head of the last row."""
        return self.heads[-1]

    def nonce(self, signer: str) -> int:
        """Return the nonce of the signer's next entry."""
        return len(self._places.get(signer, ()))

    def place(self, signer: str, nonce: int) -> int:
        """Return the height of the row that `signer` signed with `nonce`."""
        return self._places[signer][nonce]

    def anchor(self, signer: str) -> int:
        """Return the highest row that the signer has anchored."""
        return self._anchors.get(signer, 0)

    def entry(self, signer: str, time: int, call: bytes) -> Entry:
        """Return the entry that `signer` would sign now, anchored at the last row."""
        return Entry(self.nonce(signer), self.height, self.head, time, call)

    def digest(self, entry: Entry) -> bytes:
        """Return what the signer of an entry signs."""
        return entry.digest(self._separator)

    def signer(self, entry: Entry, signature: bytes) -> str:
        """Return who signed an entry.

        Raises:
            InvalidRowError: Nobody did, or with a high s, which would give it two spellings.
        """
        try:
            if len(signature) != SIGNATURE_BYTES or not is_low_s(signature):
                raise InvalidRowError("signature", "expected 65 bytes with a low s")
            return recover(self.digest(entry), signature)
        except SignatureError as error:
            raise InvalidRowError("signature", "nobody signed this") from error

    def check(self, row: Row, *, signer: str | None = None, call: Call | None = None) -> Step:
        """Return what the next row would lead to; nothing changes.

        Args:
            row: The row.
            signer: Who signed it, where this program has just done so itself.
            call: What its bytes say, where this program has just written them itself.

        Raises:
            InvalidRowError: The row is not valid here.
        """
        who = signer if signer is not None else self.signer(row.entry, row.signature)
        self._check(row, who)
        try:
            call = call or decode_call(row.entry.call)
        except RemoteProtocolError as error:
            raise InvalidRowError("call", str(error)) from error
        try:
            book, events = self.book.apply(call, who, row.stamp)
        except RefusedError as error:
            raise InvalidRowError("rules", error.reason) from error
        return Step(row, who, book, events, head_after(self.head, row))

    def adopt(self, step: Step) -> None:
        """Take in the row that `check` has just examined.

        Raises:
            LocalProtocolError: Another row came in between.
        """
        if step.head != head_after(self.head, step.row):
            raise LocalProtocolError("A row was adopted that was checked for another place.")
        self.book = step.book
        self.heads.append(step.head)
        self.stamp = step.row.stamp
        self._places.setdefault(step.signer, []).append(self.height)
        self._anchors[step.signer] = step.row.entry.anchor_height
        for event in step.events:
            if isinstance(event, Opened):
                self._note_roster(event.experiment)

    def append(self, row: Row) -> tuple[Event, ...]:
        """Check the next row and take it in; return what it made known.

        Raises:
            InvalidRowError: The row is not valid here; nothing has changed.
        """
        step = self.check(row)
        self.adopt(step)
        return step.events

    def certified(self, experiment: int) -> int:
        """Return the height up to which rows are certified by an experiment's members (7.9).

        More than (n + f) / 2 of them have anchored at or above it, f = floor((n - 1) / 3). The
        members are those of the row's own time: a change of the roster must be certified by
        those who were members before it, or a host could show the newcomers a fork of their own
        that they certify (S12).
        """
        rosters = self._rosters.get(experiment, [])
        certified = 0
        for place, (_, members) in enumerate(rosters):
            top = self._anchored_by_enough(members)
            end = rosters[place + 1][0] if place + 1 < len(rosters) else None
            if end is None or top < end:
                return max(certified, top)
            certified = end
        return certified

    def _anchored_by_enough(self, members: tuple[str, ...]) -> int:
        tops = sorted((self.anchor(member) for member in members), reverse=True)
        return tops[certifiers(len(members)) - 1]

    def _note_roster(self, experiment: int) -> None:
        """Keep who the members are from here on, if a round has just opened with others."""
        roster = self.book.experiments[experiment].roster
        members = tuple(roster.names(roster.members))
        known = self._rosters.setdefault(experiment, [])
        if members and (not known or known[-1][1] != members):
            known.append((self.height, members))

    def _check(self, row: Row, signer: str) -> None:
        entry = row.entry
        if entry.nonce != self.nonce(signer):
            raise InvalidRowError(
                "nonce", f"expected {self.nonce(signer)} for {signer}, got {entry.nonce}"
            )
        height = entry.anchor_height
        if height > self.height or self.heads[height] != entry.anchor_head:
            raise InvalidRowError("anchor", f"row {height} of this log has another head")
        if height < self.anchor(signer):
            raise InvalidRowError(
                "anchor", f"{signer} anchored at {self.anchor(signer)} before, and now at {height}"
            )
        if not self.stamp <= row.stamp < STAMP_END:
            raise InvalidRowError(
                "stamp", f"expected from {self.stamp} to {STAMP_END - 1}, got {row.stamp}"
            )
        if abs(row.stamp - entry.time) > self.genesis.drift_s:
            raise InvalidRowError(
                "clock",
                f"stamp {row.stamp} and time {entry.time} differ by more than "
                f"{self.genesis.drift_s} s",
            )
