"""The rules of an experiment that decide a vote (protocol P3.3), in exact arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from colearn.errors import ConfigError

__all__ = ["FRACTION_PART_MAX", "Rules", "Threshold", "exact_threshold"]

Threshold = Fraction | float | int | str | Decimal
"""What may be written for a threshold; a float means its shortest decimal (P3.3)."""

_TEXT_MAX = 64
"""Characters a threshold may be written in."""

_EXPONENT_MAX = 2
"""Digits of the exponent of a threshold that is text."""

_INT_MAX = 2**64
"""The largest int that is written out in an error; a threshold is 0 or 1."""

FRACTION_PART_MAX = 2**16 - 1
"""The ledger keeps numerator and denominator in 16 bits each (P3.3)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules every member of an experiment agreed to.

    Attributes:
        threshold: More than this fraction of the group must stand behind a proposal (P3.3).
    """

    threshold: Fraction = Fraction(1, 2)

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", exact_threshold(self.threshold))


def exact_threshold(value: Threshold) -> Fraction:
    """Return the threshold t as an exact fraction, 0 <= t <= 1 (P3.3).

    Args:
        value: A Fraction, an int, a Decimal, a text such as ``"3/5"`` or ``"0.6"``, or a float,
            which means its shortest decimal: 0.6 is 3/5, not the binary number beside it.

    Raises:
        ConfigError: Not a number, NaN, outside [0, 1], or a numerator or denominator over 65,535
            after reduction. ConfigError is a ValueError.
    """
    fraction = _fraction(value)
    if not 0 <= fraction <= 1:
        raise ConfigError(
            f"The vote threshold must be from 0 to 1, got {value!r}.",
            hint='Write for example "1/2".',
        )
    if fraction.denominator > FRACTION_PART_MAX:
        raise ConfigError(
            f"The vote threshold {value!r} is {fraction}, and a denominator must be at most "
            f"{FRACTION_PART_MAX}.",
            hint='Write it as a short fraction, for example "1/3".',
        )
    return fraction


def _fraction(value: Threshold) -> Fraction:
    # bool is an int to Python, and nobody means t = 1 by True.
    if isinstance(value, bool) or not isinstance(value, Fraction | float | int | str | Decimal):
        raise _no_number(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _no_number(value)
    if isinstance(value, Decimal) and not (value.is_finite() and -64 < value.adjusted() < 64):
        raise _no_number(value)
    if isinstance(value, int) and not -_INT_MAX <= value <= _INT_MAX:
        raise _no_number(value)
    # A text such as 1e-3000000 is a small number that takes seconds and megabytes to write out.
    if isinstance(value, str) and (len(value) > _TEXT_MAX or len(_exponent(value)) > _EXPONENT_MAX):
        raise _no_number(value)
    try:
        # float.__repr__, because a subclass (numpy.float64) prints more than the digits.
        return Fraction(float.__repr__(value) if isinstance(value, float) else value)
    except (ValueError, ZeroDivisionError, InvalidOperation) as error:
        raise _no_number(value) from error


def _exponent(text: str) -> str:
    return text.lower().partition("e")[2].strip().lstrip("+-")


def _no_number(value: object) -> ConfigError:
    try:
        shown = repr(value)[:_TEXT_MAX]
    except ValueError:
        shown = "a number too long to print"
    return ConfigError(
        f"The vote threshold must be a number from 0 to 1, got {shown}.",
        hint='Write for example "1/2", 0.6 or Fraction(2, 3).',
    )
