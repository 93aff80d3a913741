"""Exit codes: one table from the error tree to what a script sees (docs/errors.md)."""

from __future__ import annotations

from colearn.errors import (
    ColearnError,
    ConfigError,
    LearnerError,
    LedgerError,
    MissingExtraError,
    PrivacyError,
    ProtocolError,
    StoreError,
    WeightsError,
)

__all__ = ["AUDIT_FINDINGS", "INTERRUPTED", "exit_code"]

AUDIT_FINDINGS = 9
"""An audit that ran to its end and found something: an outcome, so no error has this code."""

INTERRUPTED = 130

_CODES: tuple[tuple[type[ColearnError], int], ...] = (
    (ConfigError, 2),
    (MissingExtraError, 3),
    (LearnerError, 4),
    (WeightsError, 5),
    (ProtocolError, 6),
    (LedgerError, 7),
    (StoreError, 8),
    (PrivacyError, 10),
    (ColearnError, 1),
)


def exit_code(error: ColearnError) -> int:
    """Return the exit code for an error."""
    return next(code for kind, code in _CODES if isinstance(error, kind))
