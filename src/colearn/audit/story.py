"""The rounds of an experiment told again from events alone, and recounted (section 8).

The replay has already put every call through the rules. Here turns, deadlines, tallies and the
line of models are derived once more, from what was made known and by other code, so that a fault
of one is seen by the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from colearn.audit.report import Check
from colearn.core import Outcome, Phase, Rules, Tally
from colearn.core import events as happened
from colearn.core.events import Event

__all__ = ["Story", "Told"]

_PHASE_ACTS = (
    happened.Contributed | happened.Proposed | happened.Skipped | happened.Voted
    | happened.Committed | happened.Revealed
)  # fmt: skip


class Told(NamedTuple):
    """A proposal: the entry that made it, whose it is, and the digests of its candidates."""

    entry: int
    proposer: str
    candidates: tuple[str, ...]


@dataclass(slots=True)
class _Round:
    """What is known of the open round."""

    deadline: int = 0
    number: int = 0
    candidates: tuple[str, ...] = ()
    ballots: dict[str, tuple[int, bool]] = field(default_factory=dict)


class Story:
    """One experiment, event by event.

    Attributes:
        specification: Digest of the specification.
        models: Each digest that was the model, with the entry that made it so; model 0 first.
        proposals: Each proposal, in order.
        rounds_count: Rounds recounted.
    """

    def __init__(self, created: happened.Created, checks: dict[int, Check]) -> None:
        """Begin with the experiment's creation; faults go to `checks`, by number."""
        self.specification = created.specification
        self.models = [(0, created.model)]
        self.proposals: list[Told] = []
        self.rounds_count = 0
        self.counts = {3: 0, 4: 0, 5: 0, 6: 0, 7: 0}
        self._rules = Rules.from_word(created.rules)
        self._checks = checks
        self._seats: list[str] = []
        self._queue: list[str] = []
        self._leaving: set[str] = set()
        self._waiting: list[str] = []
        self._entitled: set[str] = set()
        self._started = False
        self._round = _Round()

    def tell(self, entry: int, time: int, event: Event) -> None:
        """Take the next event, which `entry` made known at `time`."""
        match event:
            case happened.Member() | happened.Joined() | happened.Started():
                self._membership(entry, event)
            case happened.Opened():
                self._opened(entry, event)
            case happened.Missed():
                self._missed(entry, time)
            case happened.Closed():
                self._closed(entry, event)
            case _:
                self._act(entry, time, event)

    def _membership(
        self, entry: int, event: happened.Member | happened.Joined | happened.Started
    ) -> None:
        self.counts[3] += 1
        if isinstance(event, happened.Started):
            self._started = True
            self._queue = list(self._seats)
        elif isinstance(event, happened.Joined):
            if event.member not in self._entitled:
                self._checks[3].find(entry, "7.7", "an invitation", f"{event.member} joins")
            if event.seat != len(self._seats):
                self._checks[3].find(entry, "6.4", f"seat {len(self._seats)}", event.seat)
            self._entitled.discard(event.member)
            self._seats.append(event.member)
            if self._started:
                self._waiting.append(event.member)
        elif event.status in (1, 2):
            self._entitled.add(event.member)
        else:
            self._leaving.add(event.member)

    def _opened(self, entry: int, event: happened.Opened) -> None:
        if event.phase == Phase.OVER:
            return
        if event.phase == Phase.PROPOSE:
            self._pass_on(event)
        front = self._queue[0] if self._queue else "nobody"
        found = self._seats[event.proposer] if event.proposer < len(self._seats) else "nobody"
        self.counts[4] += 1
        if found != front:
            self._checks[4].find(entry, "P3.1", f"{front} to have the turn", found)
        if event.round_number != self._round.number:
            self._round = _Round(number=event.round_number)
        self._round.deadline = event.deadline

    def _pass_on(self, event: happened.Opened) -> None:
        """Let the turn pass to a second merger: a council's round goes on (5.2)."""
        if not self._rules.contribute_s or event.proposer >= len(self._seats):
            return
        tries = max((len(self._queue) - 1) // 3, 1)
        while self._queue[0] != self._seats[event.proposer] and tries:
            self._queue.append(self._queue.pop(0))
            tries -= 1

    def _missed(self, entry: int, time: int) -> None:
        self.counts[5] += 1
        if time <= self._round.deadline:
            self._checks[5].find(entry, "7.2", f"after {self._round.deadline}", f"at {time}")

    def _act(self, entry: int, time: int, event: Event) -> None:
        if not isinstance(event, _PHASE_ACTS):
            return
        self.counts[5] += 1
        if time > self._round.deadline:
            self._checks[5].find(entry, "7.2", f"by {self._round.deadline}", f"at {time}")
        if isinstance(event, happened.Proposed):
            self._proposed(entry, event)
        elif isinstance(event, happened.Voted):
            self._voted(entry, event.voter, event.not_worse, abstain=event.abstain)
        elif isinstance(event, happened.Revealed):
            self._voted(entry, event.voter, event.not_worse, abstain=False)

    def _proposed(self, entry: int, event: happened.Proposed) -> None:
        model = self.models[-1][1]
        self.proposals.append(Told(entry, event.proposer, event.candidates))
        if event.proposer != self._queue[0]:
            self._checks[4].find(entry, "P3.1", f"a proposal of {self._queue[0]}", event.proposer)
        if event.parent != model:
            self._checks[7].find(entry, "7.4", f"parent {model}", event.parent)
        self._round.candidates = event.candidates
        self._round.deadline = event.deadline

    def _voted(self, entry: int, voter: str, not_worse: int, *, abstain: bool) -> None:
        if voter in self._round.ballots or voter not in self._queue[1:]:
            self._checks[6].find(entry, "S5", "one ballot of each voter", f"another of {voter}")
        self._round.ballots[voter] = (not_worse, abstain)

    def _closed(self, entry: int, event: happened.Closed) -> None:
        self.rounds_count += 1
        self.counts[6] += 1
        outcome, model = self._recounted()
        if (event.result, event.model) != (outcome, model):
            self._checks[6].find(
                entry, "P3.3", f"{outcome} with model {model}", f"{event.result} with {event.model}"
            )
        self.counts[7] += 1
        if event.model != self.models[-1][1]:
            if event.model not in self._round.candidates:
                self._checks[7].find(entry, "S1", "a candidate of this round", event.model)
            self.models.append((entry, event.model))
        stay = [member for member in self._queue if member not in self._leaving]
        turned = stay[1:] + stay[:1] if stay and stay[0] == self._queue[0] else stay
        self._queue = turned + self._waiting
        self._waiting, self._leaving = [], set()
        # The round of a dormant member closes without having been opened (7.2).
        self._round = _Round(number=event.round_number)

    def _recounted(self) -> tuple[Outcome, str]:
        """Count the ballots of the open round again (P3.3, 5.4)."""
        model = self.models[-1][1]
        if not self._round.candidates:
            return Outcome.NO_PROPOSAL, model
        ballots = list(self._round.ballots.values())
        abstained = sum(abstain for _, abstain in ballots)
        cast = [mask for mask, abstain in ballots if not abstain]
        for index, candidate in enumerate(self._round.candidates):
            approvals = sum(mask >> index & 1 for mask in cast)
            tally = Tally(
                self._rules, len(self._queue), approvals, len(cast) - approvals, abstained
            )
            if tally.accepted:
                return Outcome.ACCEPTED, candidate
        return Outcome.REJECTED, model
