"""The command that joins an experiment: it shows what is agreed on, and asks before it signs."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from colearn.cli.create import founded_folder
from colearn.cli.guard import guarded
from colearn.cli.own_key import KeyPath, Passphrase, PassphraseFile, own_key
from colearn.cli.tls import CaFile, TlsCert, TlsKey, tls_of

if TYPE_CHECKING:
    from colearn.experiment import Plan
    from colearn.identity import Key
    from colearn.ledger import Ledger
    from colearn.network.folder import NodeFolder
    from colearn.network.invitation import Invitation
    from colearn.network.joining import Offer
    from colearn.network.settings import NodeSettings

__all__ = ["app"]

app = typer.Typer()

_MODEL_S = 600.0
"""Seconds that model 0 may take to come."""


@app.command(epilog='Example: colearn join "colearn://join?..." --learner learner:make')
@guarded
def join(  # noqa: PLR0917  (a command's options)
    link: Annotated[str, typer.Argument(metavar="LINK", help="The invitation.")],
    learner: Annotated[
        str | None,
        typer.Option("--learner", help="Your own module:make, in place of the agreed learner."),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("-o", help="KEY=VALUE for what is yours: task.use, learner.with.*, seed..."),
    ] = None,
    share: Annotated[
        int | None,
        typer.Option(
            "--share", min=1, max=10_000, help="Take the N-th part of the experiment's own data."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What your node is called.")] = None,
    directory: Annotated[
        Path | None, typer.Option("--directory", "-d", help="Its folder; nodes/NAME by default.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", help="HOST:PORT at which to serve weights.")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option("--public-url", help="Under which the others reach that.")
    ] = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    client_ca: Annotated[
        Path | None, typer.Option("--client-ca", help="Who signs the certificates of clients.")
    ] = None,
    node_url: Annotated[
        str | None,
        typer.Option("--node-url", help="The contract's address through your own chain node."),
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option("--trust", help="A module that the specification may name; repeat it."),
    ] = None,
    key: KeyPath = None,
    passphrase_file: PassphraseFile = None,
    passphrase: Passphrase = False,
    ca_file: CaFile = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Sign without asking.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Join an experiment: see what is agreed on, check that your learner fits, and sign.

    Modules of the current folder can be named in --learner.
    """
    from colearn.network.invitation import read_invitation  # noqa: PLC0415
    from colearn.network.local import Local  # noqa: PLC0415
    from colearn.network.settings import NodeSettings  # noqa: PLC0415

    asking = _Asking(yes=yes, as_json=as_json)
    asking.check()
    invitation = read_invitation(link)
    signer = own_key(key, passphrase_file, prompt=passphrase)
    _check_name(name)
    overrides = [*([] if learner is None else [f"learner.use={learner}"]), *(override or [])]
    local = Local(
        name or f"learner-{signer.address[2:8]}",
        int(signer.address[2:17], 16),
        share,
        tuple(overrides),
        Path.cwd(),
    )
    from colearn.cli.key import default_key_path  # noqa: PLC0415

    settings = NodeSettings.of(
        name=local.name,
        invitation=invitation.to_link(),
        key=(key or default_key_path()).absolute(),
        address=signer.address,
        seed=local.seed,
        share=share,
        overrides=local.overrides,
        search=local.search,
        listen=listen,
        public_url=_served_at(invitation, listen, public_url, secure=tls_cert is not None),
        tls_cert=_absolute(tls_cert),
        tls_key=_absolute(tls_key),
        client_ca=_absolute(client_ca),
        ca_file=_absolute(ca_file),
        node_url=node_url,
    )
    _join(settings, invitation, signer, directory, trust or [], asking, renamed=name is None)


@dataclass(frozen=True, slots=True)
class _Asking:
    """How the user is asked.

    Attributes:
        yes: Whether the answer was given beforehand.
        as_json: Whether a program reads along.
    """

    yes: bool
    as_json: bool

    def check(self) -> None:
        """Refuse where nobody can answer.

        Raises:
            ConfigError: A program reads along, and it did not say yes.
        """
        from colearn.errors import ConfigError  # noqa: PLC0415

        if self.as_json and not self.yes:
            raise ConfigError(
                "--json asks no question.", hint="Read the terms once without it, and say --yes."
            )

    def show(self, offer: Offer, address: str) -> None:
        """Show what is agreed on."""
        from colearn.network.words import in_words  # noqa: PLC0415

        if not self.as_json:
            for label, text in in_words(offer, address):
                typer.echo(f"{label:<11} {text}")

    def confirmed(self, prepared: Plan, place: int) -> bool:
        """Say that the learner fits, and ask.

        Raises:
            ConfigError: There is no terminal to ask on.
        """
        from colearn.errors import ConfigError  # noqa: PLC0415

        site = prepared.division.sites[place]
        if not self.as_json:
            typer.echo(
                f"\nYour learner fits: the same columns, classes and model 0. It trains on "
                f"{len(site.train)} rows of yours and votes with {len(site.vote)} others."
            )
        if not self.yes and not sys.stdin.isatty():
            raise ConfigError(
                "There is no terminal to ask on, and nothing was signed.",
                hint="Say --yes to sign what stands above.",
            )
        return self.yes or typer.confirm("Sign and join?", default=False)


def _join(  # noqa: PLR0917
    settings: NodeSettings,
    invitation: Invitation,
    signer: Key,
    directory: Path | None,
    trusted: list[str],
    asking: _Asking,
    *,
    renamed: bool,
) -> None:
    from colearn.network.connect import open_ledger, open_store  # noqa: PLC0415
    from colearn.network.folder import NodeFolder, local_of  # noqa: PLC0415
    from colearn.network.joining import check_place, fetch_offer, take_seat  # noqa: PLC0415
    from colearn.store import DirectoryStore  # noqa: PLC0415

    number, tls = (
        invitation.experiment,
        tls_of(settings.ca_file, settings.tls_cert, settings.tls_key),
    )
    with (
        tempfile.TemporaryDirectory(prefix="colearn-") as place,
        open_ledger(invitation, tls=tls, node_url=settings.node_url) as view,
    ):
        view.sync()
        seated = check_place(invitation, view.experiment(number), signer.address)
        held = DirectoryStore(place)
        _take_own(invitation, held)
        store = open_store(invitation, held, signer, view, tls=tls)
        try:
            offer = fetch_offer(invitation, view.experiment(number), store, _MODEL_S)
        finally:
            store.close()
        asking.show(offer, signer.address)
        settings, prepared = _fitting(offer, settings, trusted, renamed=renamed)
        path = directory or Path("nodes") / settings.name
        if not NodeFolder.holds_node(path):
            NodeFolder.refuse_taken(path)
        if not asking.confirmed(prepared, local_of(settings).place):
            typer.echo("Nothing was signed.")
            raise typer.Exit(1)
        folder = take_seat(offer, view, signer, settings, path)
        _tell(offer, folder, view, seated=seated, as_json=asking.as_json)


def _fitting(
    offer: Offer, settings: NodeSettings, trusted: list[str], *, renamed: bool
) -> tuple[NodeSettings, Plan]:
    """Check the learner; a node without a name of its own gets that of its share."""
    from colearn.network.folder import local_of  # noqa: PLC0415
    from colearn.network.joining import check_fit  # noqa: PLC0415

    prepared = check_fit(offer, local_of(settings), trusted)
    if renamed and settings.share is not None:
        settings = settings.model_copy(update={"name": prepared.names[settings.share - 1]})
    return settings, prepared


def _take_own(invitation: Invitation, held: object) -> None:
    """Take what this user created, where the members keep the blobs themselves."""
    from colearn.errors import StoreError  # noqa: PLC0415
    from colearn.network.invitation import PEERS  # noqa: PLC0415
    from colearn.store import DirectoryStore  # noqa: PLC0415
    from colearn.weights import DEFAULT_LIMITS  # noqa: PLC0415

    assert isinstance(held, DirectoryStore)
    if invitation.store != PEERS:
        return
    own = DirectoryStore(founded_folder())
    for digest in (invitation.specification, invitation.model):
        try:
            held.put(own.get(digest, DEFAULT_LIMITS.proposal_bytes))
        except StoreError:
            # Somebody else created it: the peers have it.
            return


def _tell(
    offer: Offer, folder: NodeFolder, view: Ledger, *, seated: bool, as_json: bool
) -> None:  # fmt: skip
    from colearn.network.words import as_document  # noqa: PLC0415

    address = folder.settings.address
    experiment = view.experiment(folder.invitation.experiment)
    if as_json:
        document = {
            **as_document(offer, address),
            "node": str(folder.path),
            "seat": experiment.roster.seat_of[address],
            "joined_before": seated,
        }
        typer.echo(json.dumps(document, sort_keys=True))
        return
    typer.echo("You had joined before." if seated else "Joined.")
    typer.echo(f"node     {folder.path}")
    typer.echo(f"Next: colearn start {folder.path}")


def _served_at(
    invitation: Invitation, listen: str | None, public_url: str | None, *, secure: bool
) -> str | None:
    """Return the address at which others reach this node; None where it serves nothing."""
    from colearn.errors import ConfigError  # noqa: PLC0415
    from colearn.network.invitation import PEERS  # noqa: PLC0415

    if listen is None and (public_url is not None or invitation.store == PEERS):
        raise ConfigError(
            "The members of this experiment serve the weights themselves, and this node would not.",
            hint="Say --listen HOST:PORT, and --public-url if the others reach it otherwise.",
        )
    if listen is None or public_url is not None:
        return public_url
    return f"{'https' if secure else 'http'}://{listen}"


def _check_name(name: str | None) -> None:
    import re  # noqa: PLC0415

    from colearn.errors import ConfigError  # noqa: PLC0415
    from colearn.network.settings import NAME_PATTERN  # noqa: PLC0415

    if name is not None and not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(
            f"A node's name is 1 to 64 letters, digits, '_', '.' and '-', got {name[:80]!r}."
        )


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()
