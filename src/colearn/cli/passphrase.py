"""Where the command line takes a passphrase from; never from an argument, which others can see."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from colearn.errors import ConfigError

__all__ = ["ENVIRONMENT_VARIABLE", "read_passphrase"]

ENVIRONMENT_VARIABLE = "COLEARN_PASSPHRASE"

_FILE_BYTES_MAX = 8192


def read_passphrase(file: Path | None, *, prompt: bool, confirm: bool = False) -> str | None:
    """Return the passphrase from a file, a prompt or the environment; None without any of them.

    Args:
        file: A file with the passphrase in its only line; goes before the environment.
        prompt: Ask for it on the terminal; goes before the environment.
        confirm: Whether the prompt asks twice.

    Raises:
        ConfigError: Both ways at once, no terminal to ask on, a file that cannot be read or is
            no single line, or an empty passphrase.
    """
    if file is not None and prompt:
        raise ConfigError("Give --passphrase-file or --passphrase, not both.")
    if file is not None:
        return _from_file(file)
    if prompt:
        if not sys.stdin.isatty():
            raise ConfigError(
                "There is no terminal to ask for the passphrase.", hint="Use --passphrase-file."
            )
        return _asked(confirm=confirm)
    given = os.environ.get(ENVIRONMENT_VARIABLE)
    if given == "":
        # Set but empty is a mistake of a script, and must not write a key that is not encrypted.
        raise ConfigError(f"{ENVIRONMENT_VARIABLE} is empty.", hint="Set a passphrase or unset it.")
    return given


def _asked(*, confirm: bool) -> str:
    try:
        return str(
            typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
        )
    except typer.Abort as error:
        # Ctrl-C at a prompt is Ctrl-C.
        raise KeyboardInterrupt from error


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"Cannot read the passphrase file {path}: {error.strerror or error}."
        ) from error
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if not line or b"\n" in line or len(data) > _FILE_BYTES_MAX:
        raise ConfigError(f"The passphrase file {path} must hold one line, which is not empty.")
    # As the environment does it, so that the same bytes are the same passphrase in both.
    return line.decode("utf-8", "surrogateescape")
