"""The audit of a contract on a chain: its events, put through the pure rules (section 8, 7.8).

A chain orders the calls and verifies who makes them; that is not done again. What is done: the
code at the address is the package's; every call is read back from its events, and the pure rules,
which are the second implementation, have to give the same events; and at the end the contract's
own storage has to say what the rules say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from colearn.audit.report import Check
from colearn.audit.stories import Stories
from colearn.errors import LedgerError, LedgerTamperedError, MissingExtraError
from colearn.ledger import Head
from colearn.ledger.evm_calls import RulesDisagreeError, retell
from colearn.store import BlobStore

if TYPE_CHECKING:  # they need the extra `evm`, and whoever opened the chain has it
    from colearn.ledger.evm_blocks import Block
    from colearn.ledger.evm_reader import Chain, Transaction

__all__ = ["ChainReplay", "ChainSource"]

_EXPERIMENTS_COMPARED = 20
"""Newest experiments whose storage is read: every word of it is a question to the node."""


@dataclass(frozen=True, slots=True)
class ChainSource:
    """A contract on a chain, as a node shows it.

    Attributes:
        name: What may be shown of its address.
        kind: "evm".
        chain: The contract.
        store: Where its blobs are; None where they are not at hand.
        partial: Whether some may be missing there, as in a node's folder.
    """

    name: str
    kind: str
    chain: Chain
    store: BlobStore | None
    partial: bool = False


class ChainReplay:
    """Replays the calls of a chain up to its newest block, or to the first that is not right.

    Attributes:
        stories: Each experiment told again.
        head: The last block that was read.
    """

    def __init__(self, chain: Chain, checks: dict[int, Check]) -> None:
        """Start before the first block; faults go to `checks`, by number."""
        self.stories = Stories(checks)
        self._chain = chain
        self._checks = checks
        self._state = chain.beginning()
        self._last: Block = chain.base
        self._calls_count = 0

    @property
    def head(self) -> Head:
        """The last block that was read."""
        return Head(self._last.number, self._last.digest)

    def run(self) -> None:
        """Replay everything.

        Raises:
            LedgerUnavailableError: The node does not tell.
        """
        newest = self._chain.blocks.newest()
        compared = "its storage was not compared"
        try:
            for block, transactions in self._chain.read(self._chain.base, newest.number):
                for transaction in transactions:
                    self._replay(block, transaction)
                self._last = block
            compared = self._compare_storage()
        except RulesDisagreeError as error:
            found = f"{error.found} in transaction 0x{error.transaction}"
            self._checks[13].find(error.entry, error.rule, error.expected, found)
        except LedgerTamperedError as error:
            self._checks[13].find(error.entry, error.rule, "events of the contract", error)
        self._describe(compared)

    def check_head(self, head: Head, check: Check) -> None:
        """Look whether the chain has the block that somebody has seen.

        Raises:
            LedgerUnavailableError: The node does not tell.
        """
        check.detail = f"block {head.height}"
        block = self._chain.blocks.at(head.height)
        if block is None:
            expected = f"a block {head.height} with hash {head.digest}"
            check.find(None, "7.8", expected, "no such block")
        elif block.digest != head.digest:
            check.find(head.height, "7.8", f"hash {head.digest}", block.digest)

    def _replay(self, block: Block, transaction: Transaction) -> None:
        for told in retell(
            self._state,
            transaction.events,
            block.time,
            block=block.number,
            transaction=transaction.digest,
        ):
            self._state = told.state
            self._calls_count += 1
            for event in told.events:
                self.stories.tell(block.number, block.time, event)

    def _compare_storage(self) -> str:
        """Hold the contract's words against the state of the rules, as of the last block."""
        try:
            from colearn.ledger.agreement import differences  # noqa: PLC0415  (needs its extra)
        except MissingExtraError:
            return "its storage was not compared, without pyrevm"
        storage, check = _Storage(self._chain, self._last), self._checks[13]
        experiments = self._state.book.experiments
        try:
            created = storage.read("experiments")
            if created != len(experiments):
                check.find(self._last.number, "7.8", f"{len(experiments)} experiments", created)
            for number in sorted(experiments)[-_EXPERIMENTS_COMPARED:]:
                for difference in differences(cast("Any", storage), experiments[number]):
                    expected = f"the storage of experiment {number} as the rules have it"
                    check.find(self._last.number, "7.8", expected, difference)
        except LedgerError:
            return "its storage was not compared: the node does not show it"
        return f"{storage.count} words of its storage"

    def _describe(self, compared: str) -> None:
        domain, last = self._chain.domain, self._last
        for number, what in ((1, "orders the calls"), (2, "verifies who makes them")):
            self._checks[number].done = False
            self._checks[number].detail = f"the chain itself {what}"
        self.stories.describe()
        self._checks[
            8
        ].detail = (
            f"up to block {last.number} of chain {domain.chain_id}, as final as the chain is there"
        )
        self._checks[13].detail = (
            f"the chain's own execution equals the pure rules: {self._calls_count} calls, "
            f"{compared}"
        )


class _Storage:
    """The contract's storage at a block, as `colearn.ledger.agreement` reads it."""

    def __init__(self, chain: Chain, block: Block) -> None:
        from colearn.ledger.bytecode import slot  # noqa: PLC0415  (needs its extra)

        self.count = 0
        self._chain, self._block, self._slot = chain, block, slot

    def read(self, variable: str, *keys: int | str, offset: int = 0) -> int:
        self.count += 1
        return self._chain.word_at(self._slot(variable, *keys, offset=offset), self._block)
