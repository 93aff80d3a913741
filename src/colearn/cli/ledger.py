"""The commands about a ledger that a group shares."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colearn.cli.guard import guarded
from colearn.errors import ConfigError

if TYPE_CHECKING:
    from colearn.identity import Claim
    from colearn.ledger.serving import Serving
    from colearn.network.hosting import BlobHosting

__all__ = ["app", "read_bytes"]

app = typer.Typer(help="A ledger that a group shares.", no_args_is_help=True)

_PORT = 8463
_NOBODY = "0x" + "00" * 20
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  (recognised, not listened on)

_AMOUNT = re.compile(r"([0-9]{1,15})\s*([kKMGT]i?)?B?")
_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"ki": 2**10, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


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
    client_ca: Annotated[
        Path | None,
        typer.Option("--client-ca", help="Let in only who shows a certificate of this authority."),
    ] = None,
    blobs: Annotated[
        Path | None,
        typer.Option("--blobs", metavar="DIR", help="Keep the members' weights too, in DIR."),
    ] = None,
    blob_quota: Annotated[
        str, typer.Option("--blob-quota", metavar="BYTES", help="How much --blobs keeps in all.")
    ] = "16GB",
    blob_quota_each: Annotated[
        str | None,
        typer.Option(
            "--blob-quota-each",
            metavar="BYTES",
            help="How much of one member; a quarter of all by default.",
        ),
    ] = None,
    public_urls: Annotated[
        list[str] | None,
        typer.Option(
            "--public-url", metavar="URL", help="Under which members ask this server; repeatable."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Serve a ledger over HTTP, until Ctrl-C or SIGTERM.

    The server orders calls and decides nothing: every learner verifies every row itself. It needs
    no key. Learners get its URL and, so that nobody can pass off another ledger, its genesis.

    With --blobs it keeps the weights as well, so that a learner needs one outbound connection.
    Only members get in, with requests signed by their keys.
    """
    from colearn.crypto import parse_address  # noqa: PLC0415
    from colearn.ledger import EmbeddedLedger  # noqa: PLC0415
    from colearn.ledger.log import SHARED_DRIFT_S  # noqa: PLC0415
    from colearn.ledger.serving import serve as serve_ledger  # noqa: PLC0415

    address = _NOBODY if creator is None else parse_address(creator)
    if create and not path.exists():
        EmbeddedLedger.create(path, address, drift_s=SHARED_DRIFT_S)
    hosting = None
    if blobs is not None:
        hosting = _hosting(blobs, blob_quota, blob_quota_each, public_urls or [])
    serve_ledger(
        path,
        host=host,
        port=port,
        certfile=certfile,
        keyfile=keyfile,
        client_ca=client_ca,
        more=None if hosting is None else hosting.further(),
        ready=lambda serving: _tell(serving, path, host, hosting, as_json=as_json),
    )


def _hosting(folder: Path, quota: str, each: str | None, public_urls: list[str]) -> BlobHosting:
    from colearn.network.hosting import BlobHosting  # noqa: PLC0415

    total = read_bytes("--blob-quota", quota)
    mine = total // 4 if each is None else read_bytes("--blob-quota-each", each)
    told: set[str] = set()

    def tell(claim: Claim) -> None:
        # Once for each member: who sends such requests can send many.
        if claim.address not in told:
            told.add(claim.address)
            typer.echo(
                f"colearn: warning: {claim.address} names head {claim.height}:{claim.head}, which "
                f"is not on this ledger. It signed: {json.dumps(claim.evidence())}",
                err=True,
            )

    return BlobHosting(folder, total, max(mine, 1), public_urls, tell)


def _tell(
    serving: Serving, path: Path, host: str, hosting: BlobHosting | None, *, as_json: bool
) -> None:
    genesis = serving.genesis
    for note in _notes(serving, host, hosting):
        typer.echo(f"colearn: {note}", err=True)
    if as_json:
        document = {"url": serving.url, "genesis": genesis.digest, "path": str(path)}
        if hosting is not None:
            document["blobs"] = str(hosting.folder)
        typer.echo(json.dumps(document))
        return
    typer.echo(f"url      {serving.url}")
    typer.echo(f"genesis  {genesis.digest}")
    typer.echo(f"file     {path}")
    if hosting is not None:
        typer.echo(f"blobs    {hosting.folder}, at most {hosting.quota_bytes:,} bytes")
    typer.echo("Ctrl-C stops it.")


def _notes(serving: Serving, host: str, hosting: BlobHosting | None) -> list[str]:
    """Return what its owner should know."""
    notes = []
    if not _is_loopback(host) and serving.url.startswith("http:"):
        notes.append("warning: without --certfile everybody on the way can read this ledger.")
    if serving.genesis.drift_s == 0:
        notes.append(
            "warning: this ledger was made for one process; others' clocks may not differ at all."
        )
    if hosting is not None and not hosting.public_urls and host in _EVERYWHERE:
        notes.append(
            "warning: without --public-url this server cannot tell requests that were meant for "
            "others."
        )
    return notes


def read_bytes(option: str, text: str) -> int:
    """Return a number of bytes that somebody typed, as 500MB, 8GB or 8GiB.

    Raises:
        ConfigError: It is none, or zero.
    """
    found = _AMOUNT.fullmatch(text.strip())
    amount = int(found[1]) * {**_UNITS, **_BINARY}[found[2] or ""] if found else 0
    if not amount:
        raise ConfigError(
            f"{option} must be a number of bytes, got {text!r}.", hint="Write 500MB or 8GB."
        )
    return amount


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
