"""Check 13: the contract's bytecode, fed with the same calls, says the same (7.8)."""

from __future__ import annotations

from colearn.audit.report import Check
from colearn.core import Genesis, RefusedError
from colearn.core.calls import Call
from colearn.core.events import Event
from colearn.errors import MissingExtraError
from colearn.ledger.contract import artefact

__all__ = ["Bytecode"]


class Bytecode:
    """An in-process EVM beside the replay.

    Raises:
        MissingExtraError: The extra `evm` is not installed, or has no wheel for this system.
    """

    def __init__(self, genesis: Genesis, check: Check) -> None:
        """Deploy the contract with the log's drift at the log's own address."""
        try:
            from colearn.ledger.bytecode import BytecodeReplica  # noqa: PLC0415  (needs its extra)
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "pyrevm", extra="evm") from error
        shipped = artefact().digest
        if genesis.contract != shipped:
            check.find(0, "7.9", f"a log of the contract {shipped}", genesis.contract)
        self._replica = BytecodeReplica(genesis.domain, genesis.drift_s)
        self._check = check
        self.count = 0

    def compare(
        self, entry: int, call: Call, sender: str, stamp: int, expected: tuple[Event, ...]
    ) -> None:
        """Apply a call that the pure rules accepted, and compare what it made known."""
        self.count += 1
        try:
            answer: object = self._replica.apply(call, sender, stamp)
        except RefusedError as error:
            answer = f"a refusal: {error.reason}"
        if answer != expected:
            self._check.find(entry, "7.8", expected, answer)
