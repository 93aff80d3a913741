"""From what a ledger tells and what nodes saw to the record of each round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from colearn.core import Ballot, Outcome, Rules, approvals_needed
from colearn.core.events import Closed, Proposed, Revealed, Voted
from colearn.experiment.journal import Journal
from colearn.experiment.records import RoundRecord
from colearn.ledger import Happening
from colearn.node import FAILED

__all__ = ["Recorder"]


@dataclass(slots=True)
class _Round:
    """What the ledger has told of a round so far."""

    proposal: str = ""
    ballots: dict[str, Ballot] = field(default_factory=dict)
    closed: Closed | None = None


class Recorder:
    """Listens to a ledger, and writes up rounds that have closed.

    Attributes:
        score: The global model's score after the last record; None before an acceptance.
    """

    def __init__(self, names: Mapping[str, str], rules: Rules, journal: Journal) -> None:
        """Record for members `names` (address to name, in seat order), under `rules`."""
        self.score: float | None = None
        self._names = dict(names)
        self._seats = list(names.values())
        self._rules = rules
        self._journal = journal
        self._open = _Round()
        self._closed: list[_Round] = []

    def hear(self, happening: Happening) -> None:
        """Take what one call made known."""
        for event in happening.events:
            if isinstance(event, Proposed):
                self._open.proposal = event.candidates[0]
            elif isinstance(event, Voted | Revealed):
                name = self._names.get(event.voter, event.voter)
                self._open.ballots[name] = _ballot(event)
            elif isinstance(event, Closed):
                self._open.closed = event
                self._closed.append(self._open)
                self._open = _Round()

    @property
    def pending(self) -> int:
        """How many rounds have closed and are not recorded yet."""
        return len(self._closed)

    def confirms(self, record: RoundRecord) -> bool:
        """Say whether a record written before agrees with the ledger, and take it as recorded."""
        done = self._closed.pop(0)
        assert done.closed is not None
        told = (
            done.closed.round_number,
            self._seats[done.closed.proposer],
            done.closed.result,
            done.proposal,
            done.closed.model,
        )
        self.score = record.score
        self._journal.forget(record.round_number)
        return told == (
            record.round_number, record.proposer, record.outcome, record.proposal, record.model,
        )  # fmt: skip

    def next(self) -> RoundRecord:
        """Return the record of the earliest round that is not recorded yet."""
        done = self._closed.pop(0)
        assert done.closed is not None
        number, outcome = done.closed.round_number, done.closed.result
        seen = {name: self._journal.of(number, name) for name in self._seats}
        proposer = self._seats[done.closed.proposer]
        if outcome is Outcome.ACCEPTED:
            known = [each.test_score for each in seen.values() if each.test_score is not None]
            if not known:
                known = [each.vote_score for each in seen.values() if each.vote_score is not None]
            self.score = statistics.median(known) if known else None
        votes = self._votes(done, proposer)
        counts = {kind: list(votes.values()).count(kind) for kind in Ballot}
        size, abstained = len(self._seats), counts[Ballot.ABSTAIN]
        record = RoundRecord(
            round_number=number,
            proposer=proposer,
            outcome=outcome,
            reason=next((each.reason for each in seen.values() if each.reason), ""),
            members=size,
            approvals=counts[Ballot.APPROVE],
            needed=approvals_needed(self._rules, size, abstained) if votes else 0,
            rejections=counts[Ballot.REJECT],
            abstentions=abstained,
            silent=counts[Ballot.SILENT],
            votes=votes,
            vote_scores={name: each.vote_score for name, each in seen.items()},
            test_scores={name: each.test_score for name, each in seen.items()},
            score=self.score,
            proposal=done.proposal,
            model=done.closed.model,
            failures={name: each.failure for name, each in seen.items() if each.failure},
            monitored={name: each.monitored for name, each in seen.items() if each.monitored},
        )
        self._journal.forget(number)
        return record

    def _votes(self, done: _Round, proposer: str) -> dict[str, Ballot]:
        """Return every voter's ballot, silence included; none where there was no proposal."""
        if not done.proposal:
            return {}
        return {
            name: done.ballots.get(name, Ballot.SILENT) for name in self._seats if name != proposer
        }


def _ballot(event: Voted | Revealed) -> Ballot:
    """Read a ballot on the first candidate; one whose voter could not judge says nothing (P3.4)."""
    if isinstance(event, Voted) and event.abstain:
        return Ballot.ABSTAIN
    if event.not_worse & 1:
        return Ballot.APPROVE
    return Ballot.SILENT if event.note == FAILED else Ballot.REJECT
