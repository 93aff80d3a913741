"""The commands about a learner's key."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from colearn.cli.guard import guarded
from colearn.cli.passphrase import read_passphrase
from colearn.errors import ConfigError

__all__ = ["app", "default_key_path"]

app = typer.Typer(
    help="The key whose address is this learner's name on every ledger.", no_args_is_help=True
)

_Path = Annotated[
    Path | None,
    typer.Argument(metavar="PATH", help="The key file; ~/.config/colearn/key.json by default."),
]
_PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="A file with the passphrase in one line.")
]
_Passphrase = Annotated[bool, typer.Option("--passphrase", help="Ask for the passphrase.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def default_key_path() -> Path:
    """Return where the key is when nobody says otherwise, under ``XDG_CONFIG_HOME``.

    Raises:
        ConfigError: The user has no home folder.
    """
    # The XDG specification says that a relative path is to be ignored.
    configured = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if configured.is_absolute():
        return configured / "colearn" / "key.json"
    try:
        return Path.home() / ".config" / "colearn" / "key.json"
    except RuntimeError as error:
        raise ConfigError("There is no home folder.", hint="Name the key file.") from error


@app.command(epilog="Example: colearn key new --passphrase")
@guarded
def new(
    path: _Path = None,
    passphrase_file: _PassphraseFile = None,
    passphrase: _Passphrase = False,
    as_json: _Json = False,
) -> None:
    """Make a key and write it into a new file that only you can read.

    Without an option the passphrase is taken from COLEARN_PASSPHRASE. Without that too, the file is
    not encrypted.
    """
    from colearn.identity import Key, save  # noqa: PLC0415

    path = path or default_key_path()
    secret = read_passphrase(passphrase_file, prompt=passphrase, confirm=True)
    key = Key.generate()
    save(key, path, secret)
    _tell(path, key.address, encrypted=secret is not None, checked=True, as_json=as_json)


@app.command(epilog="Example: colearn key show learner-1.json --json")
@guarded
def show(
    path: _Path = None,
    passphrase_file: _PassphraseFile = None,
    passphrase: _Passphrase = False,
    as_json: _Json = False,
) -> None:
    """Show the address of a key file, never its secret.

    With the passphrase, from an option or from COLEARN_PASSPHRASE, an encrypted file is opened and
    its address is checked; without it, the address is what the file says.
    """
    from colearn.identity import describe, load  # noqa: PLC0415

    path = path or default_key_path()
    file = describe(path)
    secret = read_passphrase(passphrase_file, prompt=passphrase) if file.encrypted else None
    checked = secret is not None or not file.encrypted
    address = load(path, secret).address if checked else file.address
    _tell(path, address, encrypted=file.encrypted, checked=checked, as_json=as_json)


def _tell(
    path: Path, address: str | None, *, encrypted: bool, checked: bool, as_json: bool
) -> None:
    from colearn.crypto import checksum_address  # noqa: PLC0415

    shown = None if address is None else checksum_address(address)
    if as_json:
        document = {
            "address": shown,
            "path": str(path),
            "encrypted": encrypted,
            "checked": checked,
        }
        typer.echo(json.dumps(document))
        return
    note = "" if checked else "  (as the file says; the passphrase was not given)"
    typer.echo(f"address    {shown or 'not stated'}{note}")
    typer.echo(f"file       {path}")
    typer.echo(f"encrypted  {'yes' if encrypted else 'no: whoever reads the file is this learner'}")
