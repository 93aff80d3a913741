"""The EVM ledger: the contract on any chain, read and written through a node's JSON-RPC (7.8).

The chain orders the calls, checks who makes them, and carries the rules out. A view reads the
contract's events and puts the calls behind them through the pure rules: events that the rules do
not give are named, with their block and transaction. What nobody can see through one node alone is
how much of the end it keeps back, or whether a story that keeps to the rules happened at all; who
does not run the node asks a second one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from colearn.core import Experiment
from colearn.core.calls import Advance, Call, Create, Invite
from colearn.core.events import Event
from colearn.errors import (
    ConfigError,
    LedgerRejectedError,
    LedgerTamperedError,
    LedgerUnavailableError,
    LocalProtocolError,
)
from colearn.identity import Key
from colearn.ledger.abi import to_calldata
from colearn.ledger.base import Happening, Head, Ledger, unknown_experiment
from colearn.ledger.evm_blocks import Block
from colearn.ledger.evm_calls import Retold, retell
from colearn.ledger.evm_deploy import deploy
from colearn.ledger.evm_reader import Chain, Transaction
from colearn.ledger.evm_rpc import RpcNode
from colearn.ledger.evm_sender import Attempt, Receipt, Sender, Transfer, polling
from colearn.ledger.evm_url import EvmPlace, parse_url
from colearn.ledger.log import Clock, system_clock

__all__ = ["MAX_FEE_WEI", "EvmLedger", "Undone", "deploy"]

MAX_FEE_WEI = 5 * 10**16
"""The most that one call may cost, unless the user says something else: 0.05 coins."""

Undone = Callable[[Head], None]
"""Told to which place a view went back."""

_CONFIRMATIONS_MAX = 10_000
_CHECKPOINTS = 256
"""Newest places of which the state is kept, to go back to."""

_IDLE_S = 60
"""A chain whose newest block is older than this makes blocks only for transactions."""

_SPARE_GAS = (200_000, 12_000)
"""What a call gets beside the gas that it takes when it is tried, and that for each seat: between
trying and mining it may have become the one that closes the round and changes the roster."""

_log = logging.getLogger("colearn.ledger.evm")
_log.addHandler(logging.NullHandler())


class EvmLedger(Ledger):
    """A view of a contract on a chain.

    Heights are numbers of blocks, and heads their hashes. `confirmations` says how many blocks
    must stand on one before it is read:

    - With 0, everything is read at once, and the chain may take it back. The view then goes back
      to the newest place that is still on the chain, tells `undone` that place, and reads on:
      listeners hear the calls of the new line from there. That is right for nodes, which look at
      the state and remember nothing else; who keeps records needs a chain that takes nothing back
      (QBFT, IBFT), or more confirmations.
    - With more, nothing that was read may ever change: a chain that takes it back all the same is
      no better than a log that lies, and `LedgerTamperedError` has both hashes. A call takes as
      many blocks longer.

    After `LedgerTamperedError` a view has stopped: `submit`, `sync` and `wait` raise it again.

    Attributes:
        place: Where the contract is, with the block in which it was deployed.
        drift_s: By how much clocks may differ (7.2).
    """

    kind = "evm"

    def __init__(
        self,
        url: str,
        *,
        confirmations: int = 0,
        start: int | None = None,
        chain_id: int | None = None,
        max_fee_wei: int = MAX_FEE_WEI,
        timeout_s: float = 10.0,
        patience_s: float = 120.0,
        clock: Clock = system_clock,
        undone: Undone | None = None,
    ) -> None:
        """Ask the node for the contract; no event is read yet.

        Args:
            url: ``evm+http://HOST:PORT/0xCONTRACT`` or ``evm+https://...``, with ``@BLOCK`` behind
                it where the block of the deployment is known.
            confirmations: Blocks that must stand on a block before it is read.
            start: The block of the deployment, in place of ``@BLOCK``.
            chain_id: The chain that it must be; None for whichever the node is on.
            max_fee_wei: The most that one transaction may cost.
            timeout_s: How long one answer of the node may take.
            patience_s: How long `submit` waits for its call to be mined and confirmed.
            clock: Seconds since 1970.
            undone: Told where the view goes back to, before anything of the new line is.

        Raises:
            ConfigError: An argument is none of these, or this contract is not there.
            LedgerUnavailableError: The node cannot be asked.
        """
        super().__init__()
        if not 0 <= confirmations <= _CONFIRMATIONS_MAX:
            raise ConfigError(
                f"confirmations is from 0 to {_CONFIRMATIONS_MAX}, got {confirmations!r}."
            )
        place = parse_url(url)
        place = place if start is None else place._replace(start=start)
        self._node = RpcNode(place.node, timeout_s)
        try:
            self._chain = Chain(self._node, place, chain_id)
        except BaseException:
            self._node.close()
            raise
        self.place: EvmPlace = self._chain.place
        self.drift_s = self._chain.drift_s
        self._blocks = self._chain.blocks
        self._sender = Sender(self._blocks, self._chain.domain.chain_id, max_fee_wei)
        self._confirmations, self._patience_s = confirmations, patience_s
        self._clock, self._undone = clock, undone
        self._line: list[tuple[Block, Retold]] = [(self._chain.base, self._chain.beginning())]
        self._state = self._line[0][1]
        self._newest = self._chain.base
        self._own: dict[str, tuple[Event, ...] | None] = {}
        self._evidence: LedgerTamperedError | None = None
        self._telling = self._closed = False

    def submit(self, key: Key, call: Call) -> tuple[Event, ...]:
        """Try a call, sign and send it, and wait until it is mined, confirmed and read.

        A call whose fate was unknown is not made twice: the same call again waits for the first
        one, and another call takes its place.

        Raises:
            LedgerRejectedError: The contract refuses it, as a rule before anything is spent.
            LedgerConflictError: Another program sends with the same key.
            LedgerUnavailableError: Nobody knows whether it came in.
            LedgerTamperedError: The node lies, or the chain took back what was confirmed.
        """
        transfer = Transfer(self.place.contract, to_calldata(call), self._spare_gas(call))
        with self._watching():
            self._catch_up()
            try:
                attempt = self._sent(key, transfer, blind=self._is_due_on_idle_chain(call))
                return self._outcome(attempt, silent=isinstance(call, Invite) and not call.who)
            except LedgerRejectedError:
                with suppress(LedgerUnavailableError):
                    self._catch_up()
                raise

    def sync(self) -> int:
        """Read what is new and confirmed, and put it through the pure rules."""
        with self._watching():
            return self._catch_up()

    def wait(self, timeout_s: float) -> bool:
        """Ask the node at growing pauses until there are new calls."""
        return any(self.sync() for _ in polling(time.monotonic() + timeout_s))

    def now(self) -> int:
        """Return the time by which the next block will judge deadlines, as far as one can know.

        That is at least the newest block's time. A chain that is idle makes no blocks, so the own
        clock counts too; less the drift, so that a clock that is ahead by no more than that (7.2)
        never takes a deadline for passed that the chain still holds open.
        """
        return max(self._newest.time, self._clock() - self.drift_s)

    @property
    def head(self) -> Head:
        """The last block that was read: its number and its hash."""
        return Head(self._last.number, self._last.digest)

    def experiment(self, number: int) -> Experiment:
        """Return the state of an experiment."""
        try:
            return self._state.book.experiments[number]
        except KeyError:
            raise unknown_experiment(number) from None

    def certified(self, number: int) -> int:  # noqa: ARG002  (a chain is final for all alike)
        """Return the last block that was read: it had its confirmations."""
        return self._last.number

    def close(self) -> None:
        """Close the connections."""
        self._closed = True
        self._node.close()

    # ---------------------------------------------------------------------------- reading

    @property
    def _last(self) -> Block:
        return self._line[-1][0]

    def _catch_up(self) -> int:
        newest = self._blocks.newest()
        if newest == self._newest and newest.number - self._confirmations <= self._last.number:
            return 0
        self._stay_on_line(newest)
        count = 0
        up_to = newest.number - self._confirmations
        for block, transactions in self._chain.read(self._last, up_to):
            count += self._take(block, transactions)
        self._newest = newest
        return count

    def _take(self, block: Block, transactions: tuple[Transaction, ...]) -> int:
        count = 0
        for transaction in transactions:
            for told in retell(
                self._state,
                transaction.events,
                block.time,
                block=block.number,
                transaction=transaction.digest,
            ):
                self._state = told.state
                self._tell(Happening(block.number, block.time, told.sender, told.events))
                count += 1
            if transaction.digest in self._own:
                self._own[transaction.digest] = transaction.events
        self._line.append((block, self._state))
        if len(self._line) > _CHECKPOINTS:
            del self._line[1]
        return count

    def _tell(self, happening: Happening) -> None:
        self._telling = True
        try:
            super()._tell(happening)
        finally:
            self._telling = False

    def _stay_on_line(self, newest: Block) -> None:
        """Look whether the last block that was read is still on the chain."""
        last = self._last
        if last.digest in (newest.digest, newest.parent):
            return
        there = self._blocks.at(last.number)
        if there is not None and there.digest == last.digest:
            return
        # Before anything was read, the chain can take nothing back.
        if self._confirmations == 0 or len(self._line) == 1:
            self._go_back()
        elif there is None:
            raise LedgerUnavailableError(
                f"The node {self._node.shown} has {newest.number} blocks, and block "
                f"{last.number} was read before.",
                hint="Wait until it has caught up, or ask another node.",
            )
        else:
            raise LedgerTamperedError(
                f"The chain took back block {last.number}, which had {self._confirmations} "
                f"confirmations: its hash was 0x{last.digest}, and now it is 0x{there.digest}.",
                entry=last.number,
                rule="7.8",
                hint="Ask another node of the chain; demand more confirmations next time.",
            )

    def _go_back(self) -> None:
        """Return to the newest place that is still on the chain, or to the very beginning."""
        low, high = 0, len(self._line) - 1
        while low < high:
            middle = (low + high + 1) // 2
            mine = self._line[middle][0]
            there = self._blocks.at(mine.number)
            if there is not None and there.digest == mine.digest:
                low = middle
            else:
                high = middle - 1
        if low == 0:
            # The contract may stand on a new line from its deployment on.
            self._chain.begin_again()
            self._line[0] = (self._chain.base, self._line[0][1])
        del self._line[low + 1 :]
        self._state = self._line[-1][1]
        self._own = dict.fromkeys(self._own)
        _log.info("The chain changed; reading again from block %d.", self._last.number)
        if self._undone is not None:
            self._undone(self.head)

    # ---------------------------------------------------------------------------- writing

    def _spare_gas(self, call: Call) -> int:
        if isinstance(call, Create):
            return 0
        experiment = self._state.book.experiments.get(call.experiment, Experiment())
        return _SPARE_GAS[0] + _SPARE_GAS[1] * len(experiment.roster.addresses)

    def _is_due_on_idle_chain(self, call: Call) -> bool:
        """Say whether a phase is to be ended of which only the own clock says that it is over.

        Some nodes try calls in the newest block's time. On a chain without blocks that time
        stands still, and the phase would never end.
        """
        if not isinstance(call, Advance) or self._clock() - self._newest.time <= _IDLE_S:
            return False
        experiment = self._state.book.experiments.get(call.experiment, Experiment())
        return self.now() > experiment.round.deadline

    def _sent(self, key: Key, transfer: Transfer, *, blind: bool) -> Attempt:
        try:
            return self._sender.send(key, transfer, self._newest.base_fee, blind=blind)
        finally:
            # Whatever is under way is looked for in all that is read from now on.
            self._own = {digest: self._own.get(digest) for digest in self._sender.under_way()}

    def _outcome(self, attempt: Attempt, *, silent: bool) -> tuple[Event, ...]:
        """Wait until a transaction has been mined, confirmed and read; return its events."""
        until = time.monotonic() + self._patience_s
        for _ in polling(until):
            receipt = self._sender.landed(attempt, until)
            if not receipt.succeeded:
                self._sender.forget(attempt)
                raise self._sender.failure(attempt, receipt)
            self._catch_up()
            events = self._own.get(receipt.digest)
            if events is None and silent and self._last.number >= receipt.block:
                events = ()
            if events is not None:
                self._sender.forget(attempt)
                return events
            self._refuse_silence(receipt)
        raise LedgerUnavailableError(
            f"Transaction 0x{attempt.digests[-1]} is not confirmed yet.",
            hint="Read the ledger and try again: a call that came in after all counts once.",
        )

    def _refuse_silence(self, receipt: Receipt) -> None:
        """Stop at a node that shows a block without what it says that happened there."""
        digests = (block.digest for block, _ in reversed(self._line))
        if receipt.block_digest in digests:
            raise LedgerTamperedError(
                f"Block {receipt.block}: transaction 0x{receipt.digest} was accepted, and the "
                f"node keeps its events back.",
                entry=receipt.block,
                rule="7.3",
                hint="Ask another node of the chain.",
            )

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Stop for good at the first sign that the chain or its node lies."""
        if self._closed:
            raise LocalProtocolError("The ledger was closed.", hint="Open another view.")
        if self._telling:
            raise LocalProtocolError("A listener of a ledger must not call the ledger.")
        if self._evidence is not None:
            raise self._evidence.with_traceback(None)
        try:
            yield
        except LedgerTamperedError as error:
            self._evidence = error
            raise
