"""The options of commands that speak HTTPS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from colearn.store.sender import Credentials

__all__ = ["CaFile", "TlsCert", "TlsKey", "tls_of"]

CaFile = Annotated[
    Path | None, typer.Option("--ca-file", help="The only authority to trust for HTTPS, in PEM.")
]
TlsCert = Annotated[
    Path | None,
    typer.Option("--tls-cert", help="Your certificate chain in PEM, where one is asked for."),
]
TlsKey = Annotated[
    Path | None, typer.Option("--tls-key", help="Its key, if it is not in --tls-cert.")
]


def tls_of(ca_file: Path | None, cert: Path | None, key: Path | None) -> Credentials:
    """Return what the options say."""
    from colearn.store.sender import Credentials  # noqa: PLC0415

    return Credentials(ca_file, cert, key)
