"""Reading fields of a key file that somebody else may have written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colearn.errors import ConfigError

__all__ = ["hex_field", "int_field", "malformed", "object_field", "wrong_passphrase"]


def malformed(where: str, what: str) -> ConfigError:
    """Return the error for a file that is no key file; `what` never holds a value of it."""
    return ConfigError(
        f"{where} is no key file: {what}.", hint="Make one with `colearn key new`, or name another."
    )


def wrong_passphrase(where: str) -> ConfigError:
    """Return the one error for a passphrase that does not open the file.

    A changed file gives the same text: whoever guesses learns nothing from the difference.
    """
    return ConfigError(f"The passphrase does not open {where}, or the file was changed.")


def object_field(document: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """Return the JSON object called `name`.

    Raises:
        ConfigError: There is none.
    """
    value = document.get(name)
    if not isinstance(value, dict):
        raise malformed(where, f"{name!r} must be an object")
    return value


def int_field(document: Mapping[str, Any], name: str, low: int, high: int, where: str) -> int:
    """Return the whole number called `name`, from `low` to `high`.

    Raises:
        ConfigError: There is none, or it is out of range.
    """
    value = document.get(name)
    if type(value) is not int or not low <= value <= high:
        raise malformed(where, f"{name!r} must be a whole number from {low} to {high}")
    return value


def hex_field(document: Mapping[str, Any], name: str, low: int, high: int, where: str) -> bytes:
    """Return the bytes called `name`, written as `low` to `high` bytes in hexadecimal digits.

    Raises:
        ConfigError: There are none, too many or too few.
    """
    value = document.get(name)
    expected = malformed(where, f"{name!r} must be {low} to {high} bytes in hexadecimal digits")
    if not isinstance(value, str) or len(value) > 2 * high:
        raise expected
    try:
        data = bytes.fromhex(value)
    except ValueError:
        data = b""
    # fromhex passes over spaces, so the length is counted in what it made of the text.
    if 2 * len(data) != len(value) or len(data) < low:
        raise expected
    return data
