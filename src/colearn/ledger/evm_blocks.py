"""The blocks of a chain, as a node shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from colearn.errors import LedgerUnavailableError
from colearn.ledger.evm_rpc import NodeRefusal, RpcNode, digest_of, number_of

__all__ = ["Block", "Blocks", "odd_answer", "refused"]


class Block(NamedTuple):
    """A block, as far as it matters here.

    Attributes:
        number: Its height.
        digest: Its hash, in hex.
        parent: The hash of the block before.
        time: Seconds since 1970.
        base_fee: Wei a unit of gas; None where the chain has no base fee.
    """

    number: int
    digest: str
    parent: str
    time: int
    base_fee: int | None


class Blocks:
    """The blocks of a chain.

    Attributes:
        node: Which shows them.
    """

    def __init__(self, node: RpcNode) -> None:
        """Ask `node`; nothing is asked yet."""
        self.node = node

    def chain_id(self) -> int:
        """Return the number of the chain.

        Raises:
            LedgerUnavailableError: The node does not tell.
        """
        return number_of(self.asked("eth_chainId"))

    def newest(self) -> Block:
        """Return the newest block.

        Raises:
            LedgerUnavailableError: The node does not tell.
        """
        block = self._block("latest")
        if block is None:
            raise odd_answer("no newest block")
        return block

    def at(self, number: int) -> Block | None:
        """Return the block of this number; None where the node has none.

        Raises:
            LedgerUnavailableError: The node does not tell.
        """
        block = self._block(hex(number))
        if block is not None and block.number != number:
            raise odd_answer(f"block {block.number} in place of block {number}")
        return block

    def asked(self, method: str, *arguments: Any) -> Any:
        """Ask a question that no honest node refuses.

        Raises:
            LedgerUnavailableError: It does not answer, or refuses.
        """
        try:
            return self.node.ask(method, *arguments)
        except NodeRefusal as error:
            raise refused(method, error) from error

    def _block(self, which: str) -> Block | None:
        answer = self.asked("eth_getBlockByNumber", which, False)
        if answer is None:
            return None
        if not isinstance(answer, Mapping):
            raise odd_answer("no block")
        base_fee = answer.get("baseFeePerGas")
        return Block(
            number_of(answer.get("number")),
            digest_of(answer.get("hash")),
            digest_of(answer.get("parentHash")),
            number_of(answer.get("timestamp")),
            None if base_fee is None else number_of(base_fee),
        )


def refused(what: str, error: NodeRefusal, hint: str = "") -> LedgerUnavailableError:
    """Return the error of a request that a node refuses."""
    return LedgerUnavailableError(
        f"The node refuses {what}: {error.said}.", hint=hint or "Ask another node of the chain."
    )


def odd_answer(what: str) -> LedgerUnavailableError:
    """Return the error of an answer that no honest node gives."""
    return LedgerUnavailableError(
        f"The node of the chain answers with {what}.", hint="Ask another node of the chain."
    )
