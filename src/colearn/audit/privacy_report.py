"""What an audit of privacy says: named checks, their numbers, and what is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from colearn.audit.report import Verdict

__all__ = ["LIMITS", "PrivacyCheck", "PrivacyReport"]

LIMITS = "A lower bound is not a guarantee: another attack may see more."
"""What every such report ends with."""


@dataclass(slots=True)
class PrivacyCheck:
    """One check.

    Attributes:
        name: What is looked at.
        proves: What it shows when it passes.
        detail: What was seen, in words, or why it was not done.
        numbers: What was measured, by name.
        findings: What is wrong, a sentence each.
        done: Whether it was done.
    """

    name: str
    proves: str
    detail: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    done: bool = True

    @property
    def verdict(self) -> Verdict:
        """How it came out."""
        if self.findings:
            return Verdict.FAILED
        return Verdict.PASSED if self.done else Verdict.NOT_DONE


@dataclass(frozen=True, slots=True)
class PrivacyReport:
    """The whole audit.

    Attributes:
        source: What was audited.
        checks: In the order they were made.
    """

    source: str
    checks: tuple[PrivacyCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether no check found anything."""
        return not any(check.findings for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a document; numbers that JSON has no word for are None."""
        return {
            "source": self.source,
            "passed": self.passed,
            "limits": LIMITS,
            "checks": [
                {
                    "name": check.name,
                    "proves": check.proves,
                    "verdict": check.verdict,
                    "detail": check.detail,
                    "numbers": {
                        name: value if math.isfinite(value) else None
                        for name, value in check.numbers.items()
                    },
                    "findings": check.findings,
                }
                for check in self.checks
            ],
        }
