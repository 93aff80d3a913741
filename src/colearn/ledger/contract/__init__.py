"""The compiled contract that comes with the package (protocol 7.1).

`Colearn.vy` is the source; `Colearn.json` is what a fixed version of the compiler makes of it,
written by ``scripts/build_contract.py`` and compared with the source by a test. Nothing here needs
the compiler.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

__all__ = ["ARTEFACT_NAME", "SOURCE_NAME", "Artefact", "artefact"]

SOURCE_NAME = "Colearn.vy"
ARTEFACT_NAME = "Colearn.json"


@dataclass(frozen=True, slots=True)
class Artefact:
    """What the compiler made of the contract's source.

    Attributes:
        abi: The interface, as Ethereum's tools read it.
        bytecode: What a deployment sends, without the constructor's argument (the drift, 32 bytes).
        runtime: What a chain then holds, without the immutable word behind it.
        storage: The storage slot of each variable of the source, by its name.
        compiler: The compiler and its version.
        evm_version: The oldest version of the EVM that can run it (7.5).
        digest: Sha256 of the artefact's bytes, in hex; a log's genesis names it (7.9).
    """

    abi: tuple[Mapping[str, Any], ...]
    bytecode: bytes
    runtime: bytes
    storage: Mapping[str, int]
    compiler: str
    evm_version: str
    digest: str


@cache
def artefact() -> Artefact:
    """Return the artefact in the package; it is read once."""
    data = files(__name__).joinpath(ARTEFACT_NAME).read_bytes()
    document = json.loads(data)
    bytecode = bytes.fromhex(document["bytecode"])
    return Artefact(
        abi=tuple(MappingProxyType(entry) for entry in document["abi"]),
        bytecode=bytecode,
        runtime=bytecode[-document["runtime_bytes"] :],
        storage=MappingProxyType(document["storage"]),
        compiler=document["compiler"],
        evm_version=document["evm_version"],
        digest=hashlib.sha256(data).hexdigest(),
    )
