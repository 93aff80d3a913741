"""The command that audits a ledger."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from colearn.audit import CHECKS, Report, Verdict, audit, open_source, parse_head
from colearn.audit.chain import ChainSource
from colearn.audit.source import LogSource
from colearn.cli.exits import AUDIT_FINDINGS
from colearn.errors import ConfigError
from colearn.ledger import Head
from colearn.network.folder import NodeFolder
from colearn.network.invitation import EMBEDDED
from colearn.store.sender import Credentials

__all__ = ["audit_ledger"]

_STYLES = {Verdict.PASSED: "green", Verdict.FAILED: "bold red", Verdict.NOT_DONE: "yellow"}
_FINDINGS_SHOWN = 20


def audit_ledger(
    where: str,
    *,
    bytecode: bool,
    head: str | None,
    blobs: Path | None,
    credentials: Credentials,
    as_json: bool,
) -> None:
    """Audit, print the report, and exit with `AUDIT_FINDINGS` if there is any.

    Raises:
        ColearnError: There is nothing to audit, or it cannot be read.
    """
    known = None if head is None else parse_head(head)
    node = Path(where)
    if NodeFolder.holds_node(node):
        source, seen = _of_node(NodeFolder.open(node), blobs)
        known = known or seen
    else:
        source = open_source(where, blobs, **asdict(credentials))
    report = audit(source, bytecode=bytecode, head=known)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), sort_keys=True))
    else:
        _show(report)
    if not report.passed:
        raise typer.Exit(AUDIT_FINDINGS)


def _of_node(folder: NodeFolder, blobs: Path | None) -> tuple[LogSource | ChainSource, Head | None]:
    """Open the ledger of a node with the node's own blobs, and what it has seen of that ledger.

    Raises:
        ConfigError: The ledger is another one than the node joined.
    """
    invitation, own = folder.invitation, folder.settings
    where = (own.node_url or invitation.ledger).removeprefix(EMBEDDED)
    source = open_source(
        where,
        blobs or folder.blobs,
        ca_file=own.ca_file,
        certfile=own.tls_cert,
        keyfile=own.tls_key,
    )
    if isinstance(source, LogSource) and source.genesis.digest != invitation.genesis:
        raise ConfigError(
            f"{where} is the log of genesis {source.genesis.digest}, and this node joined "
            f"{invitation.genesis}.",
            hint="Somebody put another log there: ask the other members.",
        )
    seen = None if isinstance(source, ChainSource) else folder.anchor()
    return replace(source, partial=blobs is None), seen


def _show(report: Report) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, justify in (("", "right"), ("check", "left"), ("", "left"), ("", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for check in report.checks:
        verdict = Text(check.verdict, _STYLES[check.verdict])
        table.add_row(str(check.number), check.name, verdict, check.detail)
    console.print(Text(f"{report.source} · {report.kind} ledger", "bold"))
    console.print(table)
    for check in report.checks:
        for finding in check.findings[:_FINDINGS_SHOWN]:
            text = f"check {check.number} ({check.name}), {finding}"
            console.print(Text(text, "red"), soft_wrap=True)
            console.print(
                Text(f"  it proves that {CHECKS[check.number][1]}", "dim"), soft_wrap=True
            )
    console.print(f"head  {report.height}:{report.head}", soft_wrap=True)
    if report.passed:
        console.print(Text("Nothing was found against this ledger.", "green"))
    else:
        console.print(Text("This ledger is not what its members signed.", "bold red"))
    if not any(check.number == 14 for check in report.checks):
        console.print(
            "A tail that was cut off cannot be seen from here: hold the ledger against a head that "
            "you know, with --head HEIGHT:HASH.",
            soft_wrap=True,
        )
