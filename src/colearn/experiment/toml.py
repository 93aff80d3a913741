"""Reading TOML that somebody has written: whatever is wrong with it is one kind of error."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from colearn.errors import ConfigError

__all__ = ["key_of", "parse_toml", "read_toml"]


def read_toml(path: Path, bytes_max: int) -> dict[str, Any]:
    """Read a file of TOML.

    Raises:
        ConfigError: It cannot be read, is larger than `bytes_max`, or is no TOML.
    """
    try:
        if path.stat().st_size > bytes_max:
            raise ConfigError(f"{path} is larger than {bytes_max} bytes.")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}.") from error
    try:
        return parse_toml(data.decode("utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Read TOML.

    Raises:
        ConfigError: It is none.
    """
    try:
        # As a file that is opened as text is read.
        return tomllib.loads(text.replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:
        # Numbers of too many digits are no TOMLDecodeError, and what nests too deep is none.
        raise ConfigError(str(error)) from error


def key_of(place: Iterable[int | str]) -> str:
    """Return where a value stands, as sections and key, in a form that any terminal can show."""
    key = ".".join(str(part) for part in place)
    # Keys may be somebody else's, and hold what moves a cursor.
    return key if key.isprintable() else repr(key)[1:-1]
