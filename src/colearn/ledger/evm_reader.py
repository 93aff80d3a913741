"""Reading a contract's blocks and events from a node of its chain (7.8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from colearn.core.bindings import Domain
from colearn.core.events import Event
from colearn.core.machine import Book, shortest_phase_s
from colearn.errors import ConfigError, LedgerTamperedError, LedgerUnavailableError
from colearn.ledger.abi import from_log
from colearn.ledger.contract import artefact
from colearn.ledger.evm_blocks import Block, Blocks, odd_answer
from colearn.ledger.evm_calls import Retold
from colearn.ledger.evm_rpc import (
    NodeRefusal,
    RpcNode,
    TooLongError,
    bytes_of,
    digest_of,
    number_of,
)
from colearn.ledger.evm_url import EvmPlace

__all__ = ["Chain", "Transaction"]

_RANGE_BLOCKS = 2000
"""Blocks of one request; a node that allows fewer is asked for fewer."""

_NEAR_BLOCKS = 16
"""The newest blocks are read one by one, each with the events of exactly that block: a node whose
index is not there yet must say so, while a range may silently end earlier."""

_SCAN_BLOCKS = 100_000
"""How long a chain may be that is read from its beginning where nobody knows a better place."""

_WORD_BYTES = 32


class Transaction(NamedTuple):
    """What one transaction made the contract log.

    Attributes:
        digest: Its hash, in hex.
        events: In their order; at least one.
    """

    digest: str
    events: tuple[Event, ...]


class _Log(NamedTuple):
    block: int
    block_digest: str
    place: int
    transaction: str
    event: Event


_Read = tuple[Block, tuple[Transaction, ...]]


class Chain:
    """A contract on a chain, as a node shows it.

    Attributes:
        place: Where it is; its `start` is known.
        domain: Chain id and contract.
        drift_s: Of the contract's constructor (7.2).
        blocks: Of the chain.
        base: The block before the first one that is read.
    """

    def __init__(self, node: RpcNode, place: EvmPlace, chain_id: int | None = None) -> None:
        """Look whether the contract is there, and is the one that comes with the package.

        Raises:
            ConfigError: It is not, or the chain is another one than `chain_id`, or `place` names
                a block that does not exist.
            LedgerUnavailableError: The node cannot be asked, or no longer knows when the contract
                was deployed.
        """
        self.blocks = Blocks(node)
        self._shown = node.shown
        found = self.blocks.chain_id()
        if chain_id is not None and found != chain_id:
            raise ConfigError(
                f"The node {node.shown} is on chain {found}, and {chain_id} was asked for.",
                hint="Name a node of the right chain.",
            )
        self.domain = Domain(found, place.contract)
        self.drift_s = self._drift_s()
        newest = self.blocks.newest().number
        start = max(self._deployed(newest) if place.start is None else place.start, 1)
        base = self.blocks.at(start - 1)
        if base is None:
            raise ConfigError(
                f"There is no block {start - 1} yet; the chain has {newest}.",
                hint="Name the block in which the contract was deployed.",
            )
        self.place = place._replace(start=start)
        self.base = base
        self._range = _RANGE_BLOCKS

    def beginning(self) -> Retold:
        """Return the state in which no experiment has been created."""
        return Retold(Book(self.domain, self.drift_s))

    def begin_again(self) -> None:
        """Start on the line that the chain is on now, which has another block before the first.

        Raises:
            LedgerTamperedError: The contract is not on it.
            LedgerUnavailableError: The node does not tell.
        """
        base = self.blocks.at(self.base.number)
        if base is None or not self._code().startswith(artefact().runtime):
            raise LedgerTamperedError(
                f"The chain of {self.domain.contract} was replaced by one without it: block "
                f"{self.base.number} had hash 0x{self.base.digest}.",
                entry=self.base.number,
                rule="7.8",
                hint="Ask another node of the chain.",
            )
        self.base = base

    def read(self, after: Block, up_to: int) -> Iterator[_Read]:
        """Yield the blocks behind `after` that have events, and others to mark how far that is.

        Args:
            after: The last block that was read.
            up_to: The number of the last one to read; the node may end earlier.

        Raises:
            LedgerUnavailableError: The node does not tell, or the chain changed meanwhile: look
                whether `after` is still on it, and read on.
            LedgerTamperedError: A log is none of the contract's.
        """
        while after.number < up_to:
            begin, near = after.number + 1, up_to - after.number <= _NEAR_BLOCKS
            end = begin if near else min(after.number + self._range, up_to - _NEAR_BLOCKS)
            last = self.blocks.at(end)
            if last is None:
                return
            if near and last.parent != after.digest:
                raise _changed()
            last, logs = (last, self._logs_of(last)) if near else self._logs_up_to(begin, last)
            yield from self._by_block(logs, begin, last)
            after = last

    def word_at(self, slot: int, block: Block) -> int:
        """Return a word of the contract's storage, as it was after a block.

        Raises:
            LedgerUnavailableError: The node does not tell, or has forgotten it.
        """
        where = (self.domain.contract, hex(slot), hex(block.number))
        return int.from_bytes(bytes_of(self.blocks.asked("eth_getStorageAt", *where)), "big")

    # -------------------------------------------------------------------------- the contract

    def _code(self) -> bytes:
        return bytes_of(self.blocks.asked("eth_getCode", self.domain.contract, "latest"))

    def _drift_s(self) -> int:
        """Compare the code with the package's, and read the drift that stands behind it (7.2)."""
        code, runtime = self._code(), artefact().runtime
        what = f"at {self.domain.contract} on chain {self.domain.chain_id}"
        if not code:
            raise ConfigError(
                f"There is no contract {what}.",
                hint="Copy its address again, or deploy it.",
            )
        shortest_s = int.from_bytes(code[len(runtime) :], "big")
        drift_s = 0 if shortest_s == 1 else shortest_s // 4
        own = code.startswith(runtime) and len(code) == len(runtime) + _WORD_BYTES
        if not own or shortest_phase_s(drift_s) != shortest_s:
            raise ConfigError(
                f"The contract {what} is not the one of this version of Colearn.",
                hint="Use the version that deployed it, or deploy this one.",
            )
        return drift_s

    def _deployed(self, newest: int) -> int:
        """Return the first block with the contract, by halving; it cannot vanish again."""
        low, high = 0, newest
        while low < high:
            middle = (low + high) // 2
            try:
                code = self.blocks.node.ask("eth_getCode", self.domain.contract, hex(middle))
            except NodeRefusal as error:
                return self._from_the_beginning(newest, error)
            if bytes_of(code):
                high = middle
            else:
                low = middle + 1
        return low

    def _from_the_beginning(self, newest: int, error: NodeRefusal) -> int:
        """Read a short chain whole where the node has forgotten what was when."""
        if newest <= _SCAN_BLOCKS:
            return 0
        raise LedgerUnavailableError(
            f"The node {self._shown} does not know any more in which block the contract was "
            f"deployed ({error.said}).",
            hint="Write the block behind the contract: .../0xCONTRACT@BLOCK.",
        ) from error

    # -------------------------------------------------------------------------------- events

    def _logs_of(self, block: Block) -> list[_Log]:
        """Return the logs of this block, and of no other one of its number."""
        wanted = {"address": self.domain.contract, "blockHash": f"0x{block.digest}"}
        return self._logs(self.blocks.asked("eth_getLogs", wanted))

    def _logs_up_to(self, begin: int, last: Block) -> tuple[Block, list[_Log]]:
        """Return the logs from block `begin` on, and the last block that they reach to."""
        while True:
            wanted = {
                "address": self.domain.contract,
                "fromBlock": hex(begin),
                "toBlock": hex(last.number),
            }
            try:
                logs = self._logs(self.blocks.node.ask("eth_getLogs", wanted))
            except (NodeRefusal, TooLongError) as error:
                # Too many blocks, events or bytes: every node says it in other words.
                if last.number == begin:
                    raise LedgerUnavailableError(
                        f"The node {self._shown} does not tell what happened in block {begin}: "
                        f"{error}"
                    ) from error
                self._range = (last.number - begin + 1) // 2
                shorter = self.blocks.at(begin + self._range - 1)
                if shorter is None:
                    raise _changed() from None
                last = shorter
            else:
                self._range = min(self._range + self._range // 4 + 1, _RANGE_BLOCKS)
                return last, logs

    def _by_block(self, logs: list[_Log], begin: int, last: Block) -> Iterator[_Read]:
        """Yield each block with its transactions, and `last` in any case.

        `last` was read before the logs: if the chain changes in between, the next reader finds
        another block in its place.
        """
        block = None
        for number, group in groupby(logs, lambda log: log.block):
            of_block = list(group)
            if not begin <= number <= last.number:
                raise odd_answer(f"events of block {number}")
            block = last if number == last.number else self.blocks.at(number)
            if block is None or any(log.block_digest != block.digest for log in of_block):
                raise _changed()
            yield block, _transactions(of_block)
        if block != last:
            yield last, ()

    def _logs(self, answer: Any) -> list[_Log]:
        if not isinstance(answer, list):
            raise odd_answer("no list of events")
        logs = sorted((self._log(entry) for entry in answer), key=lambda log: log[:3])
        places = {(log.block, log.place) for log in logs}
        if len(places) != len(logs):
            raise odd_answer("two events in one place")
        return logs

    def _log(self, entry: Any) -> _Log:
        if not isinstance(entry, Mapping) or entry.get("removed"):
            raise odd_answer("no event")
        address, topics = entry.get("address"), entry.get("topics")
        if not isinstance(address, str) or address.lower() != self.domain.contract:
            raise odd_answer("an event of another contract")
        if not isinstance(topics, list):
            raise odd_answer("an event without topics")
        block = number_of(entry.get("blockNumber"))
        transaction = digest_of(entry.get("transactionHash"))
        try:
            event = from_log([bytes_of(each) for each in topics], bytes_of(entry.get("data")))
        except LedgerTamperedError as error:
            raise LedgerTamperedError(
                f"Block {block}, transaction 0x{transaction}: {error}", entry=block, rule=error.rule
            ) from error
        place, digest = number_of(entry.get("logIndex")), digest_of(entry.get("blockHash"))
        return _Log(block, digest, place, transaction, event)


def _transactions(logs: Iterable[_Log]) -> tuple[Transaction, ...]:
    return tuple(
        Transaction(digest, tuple(log.event for log in group))
        for digest, group in groupby(logs, lambda log: log.transaction)
    )


def _changed() -> LedgerUnavailableError:
    return LedgerUnavailableError("The chain changed while it was read.", hint="Read again.")
