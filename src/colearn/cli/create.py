"""The commands of who creates an experiment: create and invite."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colearn.cli.guard import guarded
from colearn.cli.own_key import KeyPath, Passphrase, PassphraseFile, own_key
from colearn.cli.tls import CaFile, TlsCert, TlsKey, tls_of

if TYPE_CHECKING:
    from colearn.identity import Key
    from colearn.ledger import Ledger
    from colearn.network.creating import Founding
    from colearn.network.invitation import Invitation
    from colearn.store.sender import Credentials

__all__ = ["app", "founded_folder", "search_beside_file"]

app = typer.Typer()

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@app.command(epilog="Example: colearn create experiment.toml --ledger http://ledger.example:8463")
@guarded
def create(  # noqa: PLR0917  (a command's options)
    experiment: Annotated[Path, typer.Argument(help="The experiment file.")] = Path(
        "experiment.toml"
    ),
    ledger: Annotated[
        str,
        typer.Option("--ledger", help="http(s)://..., evm+http(s)://.../0x..., or a file."),
    ] = "",
    store: Annotated[
        str | None,
        typer.Option("--store", help="Where weights are: hosted, peers, s3://... or directory:..."),
    ] = None,
    invited: Annotated[
        list[str] | None, typer.Option("--invite", help="An address that may join; repeat it.")
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option("--peer", help="Where a member serves weights; repeat it.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("-o", help="KEY=VALUE, replaces what the file says.")
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("--experiment", min=1, help="Go on with one that this key created."),
    ] = None,
    seat: Annotated[
        bool, typer.Option("--seat/--no-seat", help="Whether the creator may join as well.")
    ] = True,
    key: KeyPath = None,
    passphrase_file: PassphraseFile = None,
    passphrase: Passphrase = False,
    ca_file: CaFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: _Json = False,
) -> None:
    """Create an experiment on a shared ledger, and print the invitation to it.

    The link holds no secret: who may join is said with --invite, or later with `colearn invite`.
    """
    from colearn.crypto import parse_address  # noqa: PLC0415
    from colearn.errors import ConfigError  # noqa: PLC0415
    from colearn.experiment import load_config  # noqa: PLC0415
    from colearn.network.connect import genesis_of, ledger_address, store_address  # noqa: PLC0415
    from colearn.network.creating import create as create_on  # noqa: PLC0415
    from colearn.network.creating import found  # noqa: PLC0415

    if not ledger:
        raise ConfigError("The ledger is missing.", hint="Say --ledger http://HOST:PORT.")
    who = [parse_address(address) for address in invited or []]
    place = ledger_address(ledger)
    blobs = store_address(store, place)
    signer = own_key(key, passphrase_file, prompt=passphrase)
    search_beside_file(experiment)
    founding = found(load_config(experiment, override or []))
    tls = tls_of(ca_file, tls_cert, tls_key)
    with _opened(place, signer, tls) as view:
        draft = founding.invitation(place, genesis_of(view), blobs, peer or [])
        _check_peers(draft)
        view.sync()
        invitation = create_on(
            founding, draft, view, signer, invited=who, seat=seat, number=number
        )  # fmt: skip
        _leave_or_say(founding, invitation, signer, view, tls)
        members = view.experiment(invitation.experiment).roster
        expected = len({*members.invited, *members.addresses})
    _tell_created(founding, invitation, expected, signer.address, as_json=as_json)


@app.command(epilog="Example: colearn invite LINK 0x52908400098527886E0F7030069857D2E4169EE7")
@guarded
def invite(  # noqa: PLR0917  (a command's options)
    link: Annotated[str, typer.Argument(metavar="LINK", help="The invitation.")],
    addresses: Annotated[
        list[str], typer.Argument(metavar="ADDRESS...", help="Who may join, before the start.")
    ],
    key: KeyPath = None,
    passphrase_file: PassphraseFile = None,
    passphrase: Passphrase = False,
    ca_file: CaFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: _Json = False,
) -> None:
    """Let more addresses join an experiment that this key created."""
    from colearn.crypto import checksum_address, parse_address  # noqa: PLC0415
    from colearn.network.connect import open_ledger  # noqa: PLC0415
    from colearn.network.creating import invite as invite_on  # noqa: PLC0415
    from colearn.network.invitation import read_invitation  # noqa: PLC0415

    invitation = read_invitation(link)
    who = [parse_address(address) for address in addresses]
    signer = own_key(key, passphrase_file, prompt=passphrase)
    with open_ledger(invitation, tls=tls_of(ca_file, tls_cert, tls_key)) as view:
        view.sync()
        new = [
            checksum_address(each)
            for each in invite_on(view, signer, invitation.experiment, who)
        ]  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"experiment": invitation.experiment, "invited": new}))
        return
    for each in new:
        typer.echo(f"invited  {each}")
    if not new:
        typer.echo("All of them are invited already.")


def founded_folder() -> Path:
    """Return where the blobs of experiments are kept whose members keep their blobs themselves."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "colearn" / "founded"


def search_beside_file(experiment: Path) -> None:
    """Let `use = "learner:make"` be learner.py beside the experiment file."""
    from colearn.network.local import search_beside  # noqa: PLC0415

    search_beside(experiment.resolve().parent)


def _opened(place: str, signer: Key, tls: Credentials) -> Ledger:
    """Open the ledger; a file that is not there is made, for several processes to share."""
    from colearn.ledger import EmbeddedLedger  # noqa: PLC0415
    from colearn.ledger.log import SHARED_DRIFT_S  # noqa: PLC0415
    from colearn.network.connect import open_ledger_at  # noqa: PLC0415
    from colearn.network.invitation import EMBEDDED  # noqa: PLC0415

    file = Path(place.removeprefix(EMBEDDED))
    if place.startswith(EMBEDDED) and not file.exists():
        EmbeddedLedger.create(file, signer.address, drift_s=SHARED_DRIFT_S)
    return open_ledger_at(place, tls=tls)


def _check_peers(draft: Invitation) -> None:
    from colearn.errors import ConfigError  # noqa: PLC0415
    from colearn.network.invitation import PEERS  # noqa: PLC0415

    if draft.store == PEERS and not draft.peers:
        raise ConfigError(
            "Where members keep the weights themselves, the invitation must name one of them.",
            hint="Say --peer https://HOST:PORT: the address at which your own node will serve.",
        )


def _leave_or_say(
    founding: Founding, invitation: Invitation, signer: Key, view: Ledger, tls: Credentials
) -> None:
    """Leave the blobs; where that fails, say how to go on with what was created.

    Raises:
        StoreError: They cannot be left.
    """
    from colearn.errors import StoreError  # noqa: PLC0415
    from colearn.network.invitation import HOSTED  # noqa: PLC0415

    try:
        _leave(founding, invitation, signer, view, tls)
    except StoreError as error:
        number = invitation.experiment
        keeps = ", once the server keeps weights (`colearn ledger serve --blobs DIR`)"
        raise StoreError(
            f"Experiment {number} is on the ledger, and its specification and model 0 could not be "
            f"left for the others: {error}",
            hint=f"Repeat the command with --experiment {number}"
            f"{keeps if invitation.store == HOSTED else ''}.",
        ) from error


def _leave(
    founding: Founding, invitation: Invitation, signer: Key, view: Ledger, tls: Credentials
) -> None:
    """Leave the specification and model 0 where those who join can fetch them."""
    from colearn.network.connect import open_store  # noqa: PLC0415
    from colearn.network.creating import leave_blobs  # noqa: PLC0415
    from colearn.network.invitation import PEERS  # noqa: PLC0415
    from colearn.store import DirectoryStore  # noqa: PLC0415

    if invitation.store == PEERS:
        # Its creator is the first to have them, and `colearn join` finds them there.
        leave_blobs(founding, DirectoryStore(founded_folder()))
        return
    with tempfile.TemporaryDirectory(prefix="colearn-") as folder:
        store = open_store(invitation, DirectoryStore(folder), signer, view, tls=tls)
        try:
            leave_blobs(founding, store)
        finally:
            store.close()


def _tell_created(
    founding: Founding, invitation: Invitation, members: int, address: str, *, as_json: bool
) -> None:
    from colearn.crypto import checksum_address  # noqa: PLC0415
    from colearn.network.terms import rules_of  # noqa: PLC0415
    from colearn.network.words import tolerance_lines  # noqa: PLC0415

    lines = tolerance_lines(rules_of(founding.config), members)
    notes = [line for line in lines if line.startswith("warning")] + _notes(invitation)
    link = invitation.to_link()
    if as_json:
        document: dict[str, Any] = {
            "invitation": link,
            "experiment": invitation.experiment,
            "ledger": invitation.ledger,
            "specification": invitation.specification,
            "model": invitation.model,
            "creator": checksum_address(address),
            "members": members,
            "warnings": notes,
        }
        typer.echo(json.dumps(document, sort_keys=True))
        return
    typer.echo(f"experiment  {founding.config.name}, number {invitation.experiment}")
    typer.echo(f"creator     {checksum_address(address)}")
    typer.echo(f"model 0     {founding.model.cid}")
    for line in lines:
        typer.echo(f"tolerance   {line}")
    for note in notes[len(notes) - len(_notes(invitation)) :]:
        typer.echo(f"colearn: {note}", err=True)
    typer.echo("Send this link to those who are invited; they join with `colearn join LINK`:")
    typer.echo(link)


def _notes(invitation: Invitation) -> list[str]:
    """Return what the creator should know before it sends the link."""
    from colearn.ledger.evm_url import is_evm_url, parse_url  # noqa: PLC0415

    notes = []
    with suppress(ValueError):
        node = parse_url(invitation.ledger).node if is_evm_url(invitation.ledger) else ""
        if node.partition("://")[2].rstrip("/").count("/") or "?" in node:
            notes.append(
                "warning: the link shows the whole address of your chain's node. If a key is part "
                "of it, create with the address of another node."
            )
    return notes
