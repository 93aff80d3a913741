"""Exit codes: one table from the error tree to what a script sees (docs/errors.md)."""

from __future__ import annotations

from colearn.errors import (
    ColearnError,
    ConfigError,
    LearnerError,
    MissingExtraError,
    ProtocolError,
    WeightsError,
)

__all__ = ["INTERRUPTED", "exit_code"]

INTERRUPTED = 130

_CODES: tuple[tuple[type[ColearnError], int], ...] = (
    (ConfigError, 2),
    (MissingExtraError, 3),
    (LearnerError, 4),
    (WeightsError, 5),
    (ProtocolError, 6),
    (ColearnError, 1),
)


def exit_code(error: ColearnError) -> int:
    """Return the exit code for an error."""
    return next(code for kind, code in _CODES if isinstance(error, kind))
