"""The audit of a ledger by somebody who trusts nobody (protocol section 8)."""

from colearn.audit.chain import ChainSource
from colearn.audit.report import CHECKS, Check, Finding, Report, Verdict
from colearn.audit.run import audit, parse_head
from colearn.audit.source import LogSource, open_source

__all__ = [
    "CHECKS",
    "ChainSource",
    "Check",
    "Finding",
    "LogSource",
    "Report",
    "Verdict",
    "audit",
    "open_source",
    "parse_head",
]
