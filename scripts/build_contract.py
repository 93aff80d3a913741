"""Compile the contract: ``python scripts/build_contract.py [--check]``.

Writes the artefact beside the source; with ``--check`` it only says whether the committed one is
what the source compiles to. Needs the `dev` extra: the compiler is no dependency of the package.
"""
# ruff: noqa: INP001, T201  (a script, which prints)

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import vyper
from vyper.compiler import compile_code

FOLDER = Path(__file__).parents[1] / "src" / "colearn" / "ledger" / "contract"
SOURCE, ARTEFACT = FOLDER / "Colearn.vy", FOLDER / "Colearn.json"
EVM_VERSION = "london"


def compiled(source: str) -> dict[str, Any]:
    """Return the artefact of a contract's source, as it is written to the file.

    The source's pragmas fix compiler, EVM and optimiser. The metadata that the compiler can append
    is left out: it holds a hash of the source, so that a comment would change the bytecode.
    """
    output = compile_code(
        source,
        contract_path=SOURCE.name,
        output_formats=["abi", "bytecode", "bytecode_runtime", "layout"],
        no_bytecode_metadata=True,
    )
    slots = output["layout"]["storage_layout"]
    bytecode = output["bytecode"].removeprefix("0x")
    runtime = output["bytecode_runtime"].removeprefix("0x")
    if not bytecode.endswith(runtime):
        raise SystemExit("The compiler no longer puts the runtime code last.")
    return {
        "abi": output["abi"],
        "bytecode": bytecode,
        "compiler": f"vyper {vyper.__version__}",
        "evm_version": EVM_VERSION,
        "runtime_bytes": len(runtime) // 2,
        "storage": {name: place["slot"] for name, place in slots.items()},
    }


def text(document: dict[str, Any]) -> str:
    """Return the file's text: sorted keys, no spaces, one line."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n"


def main() -> int:
    """Write the artefact or check it; the exit status is 1 when the committed one is stale."""
    fresh = text(compiled(SOURCE.read_text()))
    if "--check" in sys.argv[1:]:
        same = ARTEFACT.is_file() and ARTEFACT.read_text() == fresh
        print("up to date" if same else f"{ARTEFACT.name} is stale: run {sys.argv[0]}")
        return 0 if same else 1
    ARTEFACT.write_text(fresh)
    size = json.loads(fresh)["runtime_bytes"]
    print(f"{ARTEFACT.name}: {len(fresh)} characters, {size} bytes of runtime code")
    return 0


if __name__ == "__main__":
    sys.exit(main())
