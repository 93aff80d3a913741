"""The commands about a ledger that a group shares."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colearn.cli.guard import guarded

if TYPE_CHECKING:
    from colearn.ledger.serving import Serving

__all__ = ["app"]

app = typer.Typer(help="A ledger that a group shares.", no_args_is_help=True)

_PORT = 8463
_NOBODY = "0x" + "00" * 20


@app.callback()
def _ledger() -> None:
    """Keep the commands under one name."""


@app.command(epilog="Example: colearn ledger serve ledger.db --create")
@guarded
def serve(  # noqa: PLR0917  (a command's options)
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The ledger's file.")],
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; 0.0.0.0 is the whole network.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; 0 for any that is free.")
    ] = _PORT,
    create: Annotated[
        bool, typer.Option("--create", help="Make the ledger if the file is not there.")
    ] = False,
    creator: Annotated[
        str | None, typer.Option("--creator", help="The address that a new ledger names.")
    ] = None,
    certfile: Annotated[
        Path | None, typer.Option("--certfile", help="A certificate chain in PEM, for HTTPS.")
    ] = None,
    keyfile: Annotated[
        Path | None, typer.Option("--keyfile", help="Its key, if it is not in --certfile.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Serve a ledger over HTTP, until Ctrl-C or SIGTERM.

    The server orders calls and decides nothing: every learner verifies every row itself. It needs
    no key. Learners get its URL and, so that nobody can pass off another ledger, its genesis.
    """
    from colearn.crypto import parse_address  # noqa: PLC0415
    from colearn.ledger import EmbeddedLedger  # noqa: PLC0415
    from colearn.ledger.log import SHARED_DRIFT_S  # noqa: PLC0415
    from colearn.ledger.serving import serve as serve_ledger  # noqa: PLC0415

    address = _NOBODY if creator is None else parse_address(creator)
    if create and not path.exists():
        EmbeddedLedger.create(path, address, drift_s=SHARED_DRIFT_S)
    serve_ledger(
        path,
        host=host,
        port=port,
        certfile=certfile,
        keyfile=keyfile,
        ready=lambda serving: _tell(serving, path, host, as_json=as_json),
    )


def _tell(serving: Serving, path: Path, host: str, *, as_json: bool) -> None:
    genesis = serving.genesis
    for note in _notes(serving, host):
        typer.echo(f"colearn: {note}", err=True)
    if as_json:
        document = {"url": serving.url, "genesis": genesis.digest, "path": str(path)}
        typer.echo(json.dumps(document))
        return
    typer.echo(f"url      {serving.url}")
    typer.echo(f"genesis  {genesis.digest}")
    typer.echo(f"file     {path}")
    typer.echo("Ctrl-C stops it.")


def _notes(serving: Serving, host: str) -> list[str]:
    """Return what its owner should know."""
    notes = []
    if not _is_loopback(host) and serving.url.startswith("http:"):
        notes.append("warning: without --certfile everybody on the way can read this ledger.")
    if serving.genesis.drift_s == 0:
        notes.append(
            "warning: this ledger was made for one process; others' clocks may not differ at all."
        )
    return notes


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
