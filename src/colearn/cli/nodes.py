"""The commands of who takes part: start, status, watch, stop and finish."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colearn.cli.guard import guarded
from colearn.cli.own_key import KeyPath, Passphrase, PassphraseFile, own_key, passphrase_for
from colearn.cli.tls import CaFile, TlsCert, TlsKey, tls_of

if TYPE_CHECKING:
    from colearn.ledger import Happening, Ledger
    from colearn.network.folder import NodeFolder
    from colearn.network.logs import NodeContext
    from colearn.network.starting import StartWhen
    from colearn.store.sender import Credentials

__all__ = ["app", "find_node"]

app = typer.Typer()

_STOP_S = 30.0
_WAIT_S = 20.0
_AGAIN_S = 2.0
_HEALTH_S = 3.0
_HEALTH_BYTES_MAX = 2**16
_SCHEME = "colearn://"

_Node = Annotated[
    Path | None, typer.Argument(metavar="NODE", help="The node's folder; the only one in nodes/.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@app.command(epilog="Example: colearn start nodes/ada")
@guarded
def start(  # noqa: PLR0917  (a command's options)
    node: Annotated[
        str | None,
        typer.Argument(metavar="NODE", help="The node's folder, or the link without a seat."),
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="As its creator: start with those that have joined.")
    ] = False,
    wait: Annotated[
        int | None, typer.Option("--wait", help="As its creator: start once N have joined.")
    ] = None,
    health: Annotated[
        str | None,
        typer.Option("--health", help="HOST:PORT of health and metrics; any of 127.0.0.1 else."),
    ] = None,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Write the log as lines of JSON.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log more than warnings.")
    ] = False,
    key: KeyPath = None,
    passphrase_file: PassphraseFile = None,
    passphrase: Passphrase = False,
    ca_file: CaFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: _Json = False,
) -> None:
    """Take part until the experiment is over, or until Ctrl-C or `colearn stop`.

    The creator's node opens round 1 once everybody who is invited has joined. A creator without a
    seat gives the invitation's link in place of a folder: then nothing but that is done.
    A node has its key and its certificates from when it joined.
    """
    from colearn.experiment.statement import private_statement_of  # noqa: PLC0415
    from colearn.network.logs import NodeContext  # noqa: PLC0415
    from colearn.network.service import run_node  # noqa: PLC0415
    from colearn.network.serving import parse_door  # noqa: PLC0415

    start_when = _start_when(wait, now=now)
    if node is not None and node.startswith(_SCHEME):
        creator, tls = (key, passphrase_file, passphrase), tls_of(ca_file, tls_cert, tls_key)
        _start_only(node, start_when, creator, tls, as_json=as_json)
        return
    folder = find_node(None if node is None else Path(node))
    secret = passphrase_for(folder.settings.key, passphrase_file, prompt=passphrase)
    signer = folder.load_key(secret)
    tell = _teller(folder.invitation.experiment, signer.address, as_json=as_json)
    if not as_json:
        typer.echo(f"{folder.name} takes part; Ctrl-C stops it.")
        for line in private_statement_of(folder.terms().config):
            typer.echo(f"privacy  {line}")
    context = NodeContext(folder.name)
    with _log_on_stderr(context, as_json=log_json, verbose=verbose):
        run_node(
            folder,
            signer,
            on_happening=tell,
            start_when=start_when,
            context=context,
            health=None if health is None else parse_door(health),
        )


@app.command(epilog="Example: colearn status nodes/ada --json")
@guarded
def status(node: _Node = None, as_json: _Json = False) -> None:
    """Say whether a node runs, and how its experiment stands."""
    from colearn.crypto import checksum_address  # noqa: PLC0415
    from colearn.network.starting import state_of  # noqa: PLC0415

    folder = find_node(node)
    own, number = folder.settings, folder.invitation.experiment
    known = {"node": str(folder.path), "name": folder.name, "running": folder.is_running()}
    health = _health(folder) if known["running"] else None
    document: dict[str, Any]
    if health is not None:
        document = {**known, **health}
    else:
        with folder.ledger() as ledger:
            ledger.sync()
            state = state_of(ledger, number, own.address)
        document = {**known, "address": checksum_address(own.address), **state}
    if as_json:
        typer.echo(json.dumps(document, sort_keys=True))
        return
    # A clock's seconds say nothing to people; what is left of the phase does.
    now, deadline = document.pop("now", None), document.get("deadline")
    if now is not None and deadline is not None:
        document["deadline"] = f"in {max(deadline - now, 0)} s"
    for name, value in document.items():
        typer.echo(f"{name:<11} {_shown(value)}")


@app.command(epilog="Example: colearn watch nodes/ada")
@guarded
def watch(
    node: Annotated[
        str | None, typer.Argument(metavar="NODE|LINK", help="A node's folder, or an invitation.")
    ] = None,
    ca_file: CaFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: _Json = False,
) -> None:
    """Follow an experiment until it is over or Ctrl-C; nothing is signed."""
    from colearn.core import Phase  # noqa: PLC0415
    from colearn.network.connect import open_ledger  # noqa: PLC0415
    from colearn.network.invitation import read_invitation  # noqa: PLC0415

    if node is not None and node.startswith(_SCHEME):
        invitation, me = read_invitation(node), ""
        ledger = open_ledger(invitation, tls=tls_of(ca_file, tls_cert, tls_key))
    else:
        folder = find_node(None if node is None else Path(node))
        invitation, me = folder.invitation, folder.settings.address
        ledger = folder.ledger()
    number = invitation.experiment
    with ledger:
        ledger.listen(_teller(number, me, as_json=as_json))
        ledger.sync()
        while ledger.experiment(number).phase is not Phase.OVER:
            _follow(ledger)


@app.command(epilog="Example: colearn stop nodes/ada")
@guarded
def stop(node: _Node = None, as_json: _Json = False) -> None:
    """Stop a node; `colearn start` goes on where the ledger stands."""
    from colearn.errors import ColearnError  # noqa: PLC0415

    folder = find_node(node)
    ran = folder.is_running()
    if ran:
        state = folder.state()
        if state is None:
            raise ColearnError(
                f"The node in {folder.path} is just starting.", hint="Try again in a moment."
            )
        with suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)
        until = time.monotonic() + _STOP_S
        while folder.is_running():
            if time.monotonic() > until:
                raise ColearnError(
                    f"Process {state.pid} was asked to stop and still runs after {_STOP_S:.0f} s.",
                    hint=f"Wait, or end it yourself: kill -9 {state.pid} loses nothing signed.",
                )
            time.sleep(0.1)
    if as_json:
        typer.echo(json.dumps({"node": str(folder.path), "stopped": ran}))
    else:
        typer.echo(f"{folder.name} stopped." if ran else f"{folder.name} was not running.")


@app.command(epilog="Example: colearn finish nodes/ada")
@guarded
def finish(
    node: _Node = None,
    passphrase_file: PassphraseFile = None,
    passphrase: Passphrase = False,
    as_json: _Json = False,
) -> None:
    """Open or back the motion that ends the experiment; it takes more than two thirds (7.7)."""
    from colearn.network.starting import finish as finish_it  # noqa: PLC0415

    folder = find_node(node)
    secret = passphrase_for(folder.settings.key, passphrase_file, prompt=passphrase)
    signer = folder.load_key(secret)
    with folder.ledger() as ledger:
        ledger.sync()
        passed = finish_it(ledger, signer, folder.invitation.experiment)
    if as_json:
        typer.echo(json.dumps({"node": str(folder.path), "passed": passed}))
    elif passed:
        typer.echo("The motion has passed: the experiment ends after the open round.")
    else:
        typer.echo("You support the end of the experiment; more members must.")


def find_node(path: Path | None) -> NodeFolder:
    """Open a node's folder; without one, the only node in ``nodes/``.

    Raises:
        ConfigError: There is none, or there are several.
    """
    from colearn.errors import ConfigError  # noqa: PLC0415
    from colearn.network.folder import NodeFolder  # noqa: PLC0415

    if path is not None:
        return NodeFolder.open(path)
    here = Path("nodes")
    found = sorted(each.parent for each in here.glob("*/node.toml")) if here.is_dir() else []
    if len(found) == 1:
        return NodeFolder.open(found[0])
    if not found:
        raise ConfigError(
            "There is no node in nodes/.", hint="Join an experiment with `colearn join LINK`."
        )
    names = ", ".join(str(each) for each in found[:10])
    raise ConfigError(f"There are several nodes: {names}.", hint="Name one of them.")


def _start_when(wait: int | None, *, now: bool) -> StartWhen:
    from colearn.errors import ConfigError  # noqa: PLC0415
    from colearn.network.starting import all_joined, at_once, members_joined  # noqa: PLC0415

    if now and wait is not None:
        raise ConfigError("Give --now or --wait, not both.")
    if wait is not None:
        return members_joined(wait)
    return at_once if now else all_joined


def _start_only(
    link: str,
    start_when: StartWhen,
    creator: tuple[Path | None, Path | None, bool],
    tls: Credentials,
    *,
    as_json: bool,
) -> None:
    """Open round 1 for a creator that has no seat."""
    from colearn.core import Phase  # noqa: PLC0415
    from colearn.errors import ConfigError, LedgerRejectedError  # noqa: PLC0415
    from colearn.network.connect import open_ledger  # noqa: PLC0415
    from colearn.network.invitation import read_invitation  # noqa: PLC0415
    from colearn.network.starting import start as start_it  # noqa: PLC0415

    invitation = read_invitation(link)
    key, passphrase_file, prompt = creator
    signer = own_key(key, passphrase_file, prompt=prompt)
    number = invitation.experiment
    with open_ledger(invitation, tls=tls) as ledger:
        ledger.sync()
        if ledger.experiment(number).creator != signer.address:
            raise ConfigError(
                f"Another key created experiment {number}.", hint="Name its creator's with --key."
            )
        while ledger.experiment(number).phase is Phase.SETUP:
            if not start_when(ledger.experiment(number)):
                _follow(ledger)
                continue
            try:
                start_it(ledger, signer, number)
            except LedgerRejectedError:
                # Somebody joined meanwhile: the roster is another one now.
                ledger.sync()
        count = ledger.experiment(number).roster.size
    if as_json:
        typer.echo(json.dumps({"experiment": number, "members": count}))
    else:
        typer.echo(f"Experiment {number} runs with {count} members.")


def _teller(number: int, me: str, *, as_json: bool) -> Callable[[Happening], None]:
    """Return what prints a line for everything that happens."""
    from colearn.network.telling import Narrator  # noqa: PLC0415

    narrator = Narrator(number, me)

    def tell(happening: Happening) -> None:
        for line in narrator.hear(happening):
            # Who reads along may leave; the node goes on.
            with suppress(OSError, ValueError):
                typer.echo(json.dumps(line.document) if as_json else line.text)
                sys.stdout.flush()

    return tell


def _follow(ledger: Ledger) -> None:
    """Wait for news; a ledger that does not answer is asked again."""
    from colearn.errors import LedgerUnavailableError  # noqa: PLC0415

    try:
        ledger.wait(_WAIT_S)
    except LedgerUnavailableError as error:
        typer.echo(f"colearn: {error}", err=True)
        time.sleep(_AGAIN_S)


def _health(folder: NodeFolder) -> dict[str, Any] | None:
    """Return what a running node says of itself; None where it says nothing."""
    import urllib.request  # noqa: PLC0415

    state = folder.state()
    if state is None or state.health is None or not state.health.startswith("http://"):
        return None
    request = urllib.request.Request(f"{state.health.rstrip('/')}/v1/health")  # noqa: S310
    # The node is on this machine: no proxy stands between.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_HEALTH_S) as answer:
            document = json.loads(answer.read(_HEALTH_BYTES_MAX))
    except urllib.request.HTTPError as error:
        with error, suppress(ValueError):
            document = json.loads(error.read(_HEALTH_BYTES_MAX))
            return document if isinstance(document, dict) else None
        return None
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _shown(value: object) -> str:
    from colearn.network.words import plain  # noqa: PLC0415

    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value in (None, "") else plain(value)


@contextmanager
def _log_on_stderr(context: NodeContext, *, as_json: bool, verbose: bool) -> Iterator[None]:
    """Show what the library logs while a node runs."""
    from colearn.network.logs import JsonLines  # noqa: PLC0415

    log, handler = logging.getLogger("colearn"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else logging.Formatter("colearn: %(message)s"))
    handler.addFilter(context)
    before = log.level
    log.setLevel(logging.INFO if verbose else logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
