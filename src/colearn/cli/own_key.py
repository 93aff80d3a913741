"""The key that a command signs with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colearn.cli.key import default_key_path
from colearn.cli.passphrase import read_passphrase

if TYPE_CHECKING:
    from colearn.identity import Key

__all__ = ["KeyPath", "Passphrase", "PassphraseFile", "own_key", "passphrase_for"]

KeyPath = Annotated[
    Path | None, typer.Option("--key", help="The key file; ~/.config/colearn/key.json by default.")
]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="A file with the passphrase in one line.")
]
Passphrase = Annotated[bool, typer.Option("--passphrase", help="Ask for the passphrase.")]


def own_key(path: Path | None, file: Path | None, *, prompt: bool) -> Key:
    """Read the key of a command.

    Args:
        path: The key file; None for the default one.
        file: A file with the passphrase.
        prompt: Whether to ask for the passphrase.

    Raises:
        ConfigError: There is no key, or it cannot be opened.
    """
    from colearn.identity import load  # noqa: PLC0415

    path = path or default_key_path()
    return load(path, passphrase_for(path, file, prompt=prompt))


def passphrase_for(path: Path, file: Path | None, *, prompt: bool) -> str | None:
    """Return the passphrase of a key file; None where it needs none.

    Raises:
        ConfigError: There is no key, or the passphrase cannot be read.
    """
    from colearn.identity import describe  # noqa: PLC0415

    return read_passphrase(file, prompt=prompt) if describe(path).encrypted else None
