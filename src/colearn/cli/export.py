"""The command that takes a model out of a run or of a node."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TypedDict

import typer

from colearn.errors import ColearnWarning
from colearn.experiment.certified import card_of
from colearn.experiment.exported_run import export_run
from colearn.network.exported_node import export_node
from colearn.network.folder import NodeFolder

__all__ = ["export_to_onnx"]


class _Settings(TypedDict):
    round_number: int | None
    tolerance: float
    force: bool


def export_to_onnx(
    folder: Path,
    path: Path,
    *,
    round_number: int | None,
    tolerance: float,
    force: bool,
    as_json: bool,
) -> None:
    """Export, and print what was checked and what the file says of itself.

    Raises:
        ColearnError: As `export_run`.
    """
    with warnings.catch_warnings():
        # The run that made the model has said them.
        warnings.simplefilter("ignore", ColearnWarning)
        settings: _Settings = {
            "round_number": round_number, "tolerance": tolerance, "force": force
        }  # fmt: skip
        if NodeFolder.holds_node(folder):
            done = export_node(NodeFolder.open(folder), path, **settings)
        else:
            done = export_run(folder, path, **settings)
    if as_json:
        document = {
            "file": str(done.path),
            "card": str(card_of(done.path)),
            "adapter": done.adapter,
            "rows": done.rows,
            "difference": done.difference,
            "tolerance": tolerance,
            "size": done.size,
            "metadata": done.metadata,
        }
        typer.echo(json.dumps(document, sort_keys=True))
        return
    typer.echo(f"model    {done.path}, {done.size} bytes")
    typer.echo(f"card     {card_of(done.path)}")
    typer.echo(f"from     {done.adapter}")
    typer.echo(
        f"checked  {done.rows} rows in onnxruntime, largest difference {done.difference:.2g}"
    )
    for name, value in sorted(done.metadata.items()):
        short = value if len(value) <= 100 else f"{value[:97]}..."
        typer.echo(f"  {name} = {short}")
