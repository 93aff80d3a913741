"""What a round leaves behind: the typed record that screens, files and plots read."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from colearn.core import Ballot, Outcome
from colearn.errors import ConfigError

__all__ = ["RoundRecord", "Sink"]


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round, as everybody may see it; nothing in it depends on the clock or the machine.

    Attributes:
        round_number: Counts from 1 (P3.6).
        proposer: Whose turn it was.
        outcome: Accepted, rejected or no proposal.
        reason: Why there is no proposal, or why it was rejected before any vote; else empty.
        members: n, the size of the group when the round opened (P3.2).
        approvals: Voters that approved, the proposer not among them.
        needed: Approvals of others that the round needed (P3.3); 0 where nobody voted.
        rejections: Voters that rejected.
        abstentions: Voters that abstained.
        silent: Voters that said nothing that counts (P3.4).
        votes: What each voter said, by name; empty where nobody voted.
        vote_scores: Each learner's score of the proposal on its private vote set.
        test_scores: Each learner's score of the proposal on its test set.
        score: The global model's score after the round: the median over the learners of their
            test score, or of their vote score without a test set, when it was accepted; the
            median, so that no single learner can bend it. None before the first acceptance.
        proposal: Digest of the proposed weights; empty without a proposal.
        model: Digest of the global model after the round.
        failures: The kind of error of each learner that failed, by name.
        monitored: Of each learner that monitors metrics, their values for the proposal by name:
            on its test set, or on its vote set without one; None where there is no value. The
            line has no such key where nobody monitors any.
    """

    round_number: int
    proposer: str
    outcome: Outcome
    reason: str
    members: int
    approvals: int
    needed: int
    rejections: int
    abstentions: int
    silent: int
    votes: dict[str, Ballot]
    vote_scores: dict[str, float | None]
    test_scores: dict[str, float | None]
    score: float | None
    proposal: str
    model: str
    failures: dict[str, str]
    monitored: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the record as one line of JSON with sorted keys."""
        document = asdict(self)
        if not self.monitored:
            del document["monitored"]
        return json.dumps(document, sort_keys=True, allow_nan=False)

    @property
    def monitored_medians(self) -> dict[str, float]:
        """The median over the learners of each monitored metric, by name."""
        known: dict[str, list[float]] = {}
        for own in self.monitored.values():
            for name, value in own.items():
                if value is not None:
                    known.setdefault(name, []).append(value)
        return {name: statistics.median(values) for name, values in known.items()}

    @staticmethod
    def from_json(line: str) -> RoundRecord:
        """Read a line that `to_json` wrote.

        Raises:
            ConfigError: It is no such line.
        """
        try:
            fields: dict[str, Any] = json.loads(line)
            fields["outcome"] = Outcome(fields["outcome"])
            fields["votes"] = {name: Ballot(vote) for name, vote in fields["votes"].items()}
            monitored = fields.pop("monitored", {})
            fields["monitored"] = {name: dict(own.items()) for name, own in monitored.items()}
            return RoundRecord(**fields)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ConfigError(f"Expected a round record, got {line[:80]!r}.") from error


class Sink(Protocol):
    """Where records go; a run folder is one."""

    def on_round(self, record: RoundRecord) -> None:
        """Take the record of a round that has just ended."""


def finite_or_none(score: float | None) -> float | None:
    """Return a score that JSON can hold: None for NaN and infinity."""
    return float(score) if score is not None and math.isfinite(score) else None
