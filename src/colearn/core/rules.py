"""The rules of an experiment: the threshold in exact arithmetic (P3.3), and what `create` fixes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from colearn.errors import ConfigError

__all__ = ["DURATION_MAX_S", "FRACTION_PART_MAX", "Rules", "Threshold", "exact_threshold"]

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


DURATION_MAX_S = 2**32 - 1
"""The longest a phase may last; the ledger keeps durations in 32 bits."""

_WORD: tuple[tuple[str, int, int], ...] = (
    ("contribute_s", 32, 32),
    ("propose_s", 64, 32),
    ("vote_s", 96, 32),
    ("reveal_s", 128, 32),
    ("rounds", 160, 32),
    ("merge_tolerance", 192, 16),
    ("patience", 224, 16),
)
"""Name, lowest bit and width of each field of the rules word; the threshold is below them.

Bits 208 to 215 are left for another election rule and 240 to 255 for what is not known yet.
"""

_EARLY_CLOSE_BIT = 216
_USED_BITS = (2**208 - 1) | 1 << _EARLY_CLOSE_BIT | (2**16 - 1) << 224


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules every member of an experiment agreed to.

    The minimal driver knows the threshold alone; the rest is for a ledger.

    Attributes:
        threshold: More than this fraction of the group must stand behind a proposal (P3.3).
        contribute_s: Seconds a council has to contribute (5.1); 0 for no council.
        propose_s: Seconds the proposer has (7.2).
        vote_s: Seconds the voters have.
        reveal_s: Seconds to reveal blind ballots (7.4); 0 for open votes.
        rounds: Rounds with a proposal after which the experiment is over; 0 for no end (7.2).
        merge_tolerance: k, the hostile contributors a council survives (5.1).
        early_close: Whether a vote ends once its outcome cannot change any more (7.2).
        patience: Proposals in a row not accepted after which it is over; 0 for none (6.1).

    Raises:
        ConfigError: A field is no whole number in its range.
    """

    threshold: Fraction = Fraction(1, 2)
    contribute_s: int = 0
    propose_s: int = 600
    vote_s: int = 600
    reveal_s: int = 0
    rounds: int = 0
    merge_tolerance: int = 0
    early_close: bool = False
    patience: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", exact_threshold(self.threshold))
        for name, _, width in _WORD:
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value < 1 << width:
                raise ConfigError(
                    f"{name} must be a whole number from 0 to {(1 << width) - 1}, got {value!r}."
                )
        if type(self.early_close) is not bool:
            raise ConfigError(f"early_close must be True or False, got {self.early_close!r}.")

    def to_word(self) -> int:
        """Return the rules as the 256-bit number that `create` carries."""
        word = self.threshold.numerator | self.threshold.denominator << 16
        for name, low, _ in _WORD:
            word |= getattr(self, name) << low
        return word | self.early_close << _EARLY_CLOSE_BIT

    @staticmethod
    def from_word(word: int) -> Rules:
        """Read the number that `create` carries.

        Raises:
            ConfigError: No fraction from 0 to 1, or a bit that has no meaning yet.
        """
        denominator = word >> 16 & FRACTION_PART_MAX
        if not 0 <= word < 2**256 or word & ~_USED_BITS or denominator == 0:
            raise ConfigError(f"{word!r} is no word of rules.")
        fields = {name: word >> low & ((1 << width) - 1) for name, low, width in _WORD}
        return Rules(
            threshold=Fraction(word & FRACTION_PART_MAX, denominator),
            early_close=bool(word >> _EARLY_CLOSE_BIT & 1),
            **fields,
        )


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
