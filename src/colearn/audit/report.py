"""What an audit says: numbered checks, and for each fault the entry, the rule and both sides."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["CHECKS", "Check", "Finding", "Report", "Verdict"]

CHECKS: dict[int, tuple[str, str]] = {
    1: ("heads", "every row hashes onto the one before, and the heads beside them say the same"),
    2: ("signatures", "each entry is its signer's, in order, on this line, at about this time"),
    3: ("membership", "only who was invited or admitted sits, and the roster is the one started"),
    4: ("turns", "whoever proposed had the turn"),
    5: ("deadlines", "nothing came late, and no phase was ended early"),
    6: ("tallies", "every round is decided as its ballots say"),
    7: ("models", "each proposal names the model before it, and nothing else became the model"),
    8: ("certified", "how far the ledger is final: enough members anchored it, or a chain has it"),
    9: ("blobs", "each proposal's bytes have its digest, and what was accepted is sound weights"),
    11: ("spends", "no accepted proposal claims more privacy than was agreed, and no claim falls"),
    13: ("bytecode", "the contract's bytecode and the pure rules make the same of the calls"),
    14: ("given head", "the ledger contains the place that you have seen before"),
}
"""Number, name and what each proves (section 8). Numbers stay what they are; 10 and 12 are for
candidates of a council, and for votes with a learner's own data."""


class Verdict(StrEnum):
    """How a check came out."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_DONE = "not done"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault.

    Attributes:
        entry: Height of the row, or number of the block; None where it is no single one.
        rule: The number of the broken rule.
        expected: What should have been there.
        found: What was.
    """

    entry: int | None
    rule: str
    expected: str
    found: str

    def __str__(self) -> str:
        where = "the ledger" if self.entry is None else f"entry {self.entry}"
        return f"{where}, rule {self.rule}: expected {self.expected}; found {self.found}"


@dataclass(slots=True)
class Check:
    """A numbered check.

    Attributes:
        number: Its number in `CHECKS`.
        detail: What was looked at, or why it was not done.
        findings: Its faults.
        done: Whether it was done.
    """

    number: int
    detail: str = ""
    findings: list[Finding] = field(default_factory=list)
    done: bool = True

    @property
    def name(self) -> str:
        """Its name."""
        return CHECKS[self.number][0]

    @property
    def verdict(self) -> Verdict:
        """How it came out."""
        if self.findings:
            return Verdict.FAILED
        return Verdict.PASSED if self.done else Verdict.NOT_DONE

    def find(self, entry: int | None, rule: str, expected: object, found: object) -> None:
        """Add a fault."""
        self.findings.append(Finding(entry, rule, str(expected), str(found)))


@dataclass(frozen=True, slots=True)
class Report:
    """The whole audit.

    Attributes:
        source: What was audited.
        kind: The kind of ledger.
        height: How far its rows are valid.
        head: The hash there.
        checks: In order of their numbers.
    """

    source: str
    kind: str
    height: int
    head: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check found a fault."""
        return not any(check.findings for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a document."""
        return {
            "source": self.source,
            "kind": self.kind,
            "height": self.height,
            "head": self.head,
            "passed": self.passed,
            "checks": [
                {
                    "number": check.number,
                    "name": check.name,
                    "proves": CHECKS[check.number][1],
                    "verdict": check.verdict,
                    "detail": check.detail,
                    "findings": [asdict(finding) for finding in check.findings],
                }
                for check in self.checks
            ],
        }
