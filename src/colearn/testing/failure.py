"""What a check raises."""

from __future__ import annotations

from colearn.errors import ColearnError

__all__ = ["LearnerCheckError"]


class LearnerCheckError(ColearnError, AssertionError):
    """A learner does not do what the protocol asks; the text says expected, got, and what to do.

    Any test runner shows it as a failed assertion.
    """
