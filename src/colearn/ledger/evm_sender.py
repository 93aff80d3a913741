"""Sending a call to a contract: asked first, priced, signed, sent, and watched until it is in.

A key signs here and nowhere else; its secret is handed to the signing function and kept nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from colearn.core.refusal import Reason
from colearn.crypto import ADDRESS_BYTES
from colearn.errors import (
    LedgerConflictError,
    LedgerError,
    LedgerRejectedError,
    LedgerUnavailableError,
)
from colearn.identity import Key
from colearn.ledger._web3 import Account
from colearn.ledger.abi import refusal
from colearn.ledger.evm_blocks import Blocks, odd_answer, refused
from colearn.ledger.evm_rpc import NodeRefusal, bytes_of, digest_of, number_of

__all__ = ["GAS_MAX", "Attempt", "Receipt", "Sender", "Transfer", "polling"]

GAS_MAX = 2**24
"""The most gas of a transaction that today's Ethereum lets in; no call of the contract needs it."""

_BLIND_GAS = 3_000_000
"""For a call that cannot be tried before it is sent."""

_TRIES = 2
"""How often a transaction is sent, each time with another number of the key's."""

_POLL_S = (0.01, 1.0)
"""The shortest and the longest pause between looks for a receipt."""

_KNOWN = ("already known", "already imported", "known transaction")
_OLD_NONCE = ("nonce too low", "already been used", "nonce is too low")
_TAKEN = ("underpriced",)


class Transfer(NamedTuple):
    """What a transaction is to do.

    Attributes:
        to: The contract; None to deploy one.
        data: The call, or the code.
        spare_gas: Beside what it takes when it is tried: others may come first, and leave it to
            this call to end a phase.
    """

    to: str | None
    data: bytes
    spare_gas: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A transaction that was sent, in one version or in several of which one can be mined.

    Attributes:
        address: Whose it is.
        transfer: What it does.
        nonce: The sender's number of it.
        digests: The hash of each version, in hex.
        gas: What it may take.
        price: Wei a unit of gas at most, of the last version.
        tip: Of that, for the producer of the block.
    """

    address: str
    transfer: Transfer
    nonce: int
    digests: tuple[str, ...]
    gas: int
    price: int
    tip: int


class Receipt(NamedTuple):
    """What became of a transaction.

    Attributes:
        digest: Its hash.
        block: The number of its block.
        block_digest: The hash of its block.
        succeeded: Whether the contract took it.
        contract: What it deployed.
        gas_used: Gas that was paid for.
    """

    digest: str
    block: int
    block_digest: str
    succeeded: bool
    contract: str | None
    gas_used: int


class Sender:
    """Sends transactions; at most one of each key is under way."""

    def __init__(self, blocks: Blocks, chain_id: int, max_fee_wei: int) -> None:
        """Send to the chain of `blocks`; no transaction may cost more than `max_fee_wei`."""
        self._blocks, self._node = blocks, blocks.node
        self._chain_id = chain_id
        self._max_fee_wei = max_fee_wei
        self._open: dict[str, Attempt] = {}

    def under_way(self) -> dict[str, str]:
        """Return the hash of each transaction whose fate is unknown, and whose it is."""
        return {
            digest: attempt.address for attempt in self._open.values() for digest in attempt.digests
        }

    def send(
        self, key: Key, transfer: Transfer, base_fee: int | None, *, blind: bool = False
    ) -> Attempt:
        """Try a transaction out, sign it and send it.

        An earlier one of the key that nobody has heard of is replaced, so that only one of them
        can ever be mined; and if it did the same, it is returned as soon as it has been mined.

        Args:
            key: Signs, and pays.
            transfer: What to do.
            base_fee: Of the newest block.
            blind: Send it even if it is refused as too early when it is tried.

        Raises:
            LedgerRejectedError: The contract refuses the call; nothing was spent.
            LedgerConflictError: Another program sends with the same key.
            LedgerUnavailableError: It cannot be sent or paid, or nobody knows whether it came in.
        """
        earlier = self._open.get(key.address)
        if earlier is not None and self._count(key.address, "latest") > earlier.nonce:
            if earlier.transfer.data == transfer.data and self.receipt(earlier) is not None:
                return earlier
            earlier = None
        if earlier is not None and earlier.transfer.data == transfer.data:
            # Nodes try a call behind what waits already, and would refuse it as a second one.
            gas = earlier.gas
        else:
            gas = self._gas(key.address, transfer, blind=blind)
        for _ in range(_TRIES):
            attempt, raw = self._signed(key, transfer, gas, base_fee, earlier)
            if self._sent(raw, attempt, earlier):
                return attempt
        raise LedgerConflictError(
            f"Another program sends transactions of {key.address} at the same time.",
            hint="Let each program have a key of its own.",
        )

    def landed(self, attempt: Attempt, until: float) -> Receipt:
        """Wait for a transaction to be mined.

        Args:
            attempt: The transaction.
            until: When to give up, by `time.monotonic`.

        Raises:
            LedgerConflictError: Another transaction of the key took its place.
            LedgerUnavailableError: It has not been mined.
        """
        for _ in polling(until):
            receipt = self.receipt(attempt)
            if receipt is not None:
                return receipt
            if self._count(attempt.address, "latest") > attempt.nonce:
                receipt = self.receipt(attempt)
                if receipt is not None:
                    return receipt
                self.forget(attempt)
                raise LedgerConflictError(
                    f"Another transaction of {attempt.address} took the place of this one.",
                    hint="Let each program have a key of its own.",
                )
        raise LedgerUnavailableError(
            f"Transaction 0x{attempt.digests[-1]} has not been mined yet.",
            hint="Read the ledger and try again: a call that came in after all counts once.",
        )

    def receipt(self, attempt: Attempt) -> Receipt | None:
        """Return what became of a transaction, in whichever version; None for nothing yet."""
        for digest in reversed(attempt.digests):
            answer = self._blocks.asked("eth_getTransactionReceipt", f"0x{digest}")
            if answer is not None:
                return _receipt(answer, digest)
        return None

    def forget(self, attempt: Attempt) -> None:
        """Take a transaction for settled."""
        if self._open.get(attempt.address) == attempt:
            del self._open[attempt.address]

    def failure(self, attempt: Attempt, receipt: Receipt) -> LedgerError:
        """Return the error of a transaction that was mined and refused, by trying it again."""
        request = _request(attempt.address, attempt.transfer)
        for number in (receipt.block, receipt.block - 1):
            reason = self._reason(request, hex(number))
            if reason is not None:
                return _rejected(reason, f"in block {receipt.block}")
        return LedgerUnavailableError(
            f"Transaction 0x{receipt.digest} failed in block {receipt.block} after "
            f"{receipt.gas_used} gas, and the node does not tell why.",
            hint="Read the ledger and try again.",
        )

    # ------------------------------------------------------------------------------ asking

    def _count(self, address: str, which: str) -> int:
        return number_of(self._blocks.asked("eth_getTransactionCount", address, which))

    def _gas(self, address: str, transfer: Transfer, *, blind: bool) -> int:
        """Let the node try a call, as in a block that comes now; return the gas to give it."""
        request = _request(address, transfer)
        try:
            needed = number_of(self._node.ask("eth_estimateGas", request, "pending"))
        except NodeRefusal as error:
            reason = _reason_in(error) or self._reason(request, "pending")
            if reason is None:
                raise refused("to try the call", error) from error
            if reason is not Reason.EARLY or not blind:
                raise _rejected(reason, "when it is tried") from error
            return _BLIND_GAS
        if needed > GAS_MAX:
            raise LedgerUnavailableError(
                f"The node says that the call takes {needed} gas; no call takes more than "
                f"{GAS_MAX}.",
                hint="Ask another node of the chain.",
            )
        return min(needed + needed // 4 + transfer.spare_gas, GAS_MAX)

    def _reason(self, request: dict[str, str], which: str) -> Reason | None:
        try:
            self._node.ask("eth_call", request, which)
        except NodeRefusal as error:
            return _reason_in(error)
        return None

    # ------------------------------------------------------------------------------ paying

    def _prices(self, gas: int, base_fee: int | None, earlier: Attempt | None) -> tuple[int, int]:
        """Return wei a unit of gas at most, and of that the tip."""
        if base_fee is None:
            price = least = tip = number_of(self._blocks.asked("eth_gasPrice"))
        else:
            # A tip that does not fit is cut; without the base fee nothing can be mined.
            tip = self._tip(base_fee)
            price, least = 2 * base_fee + tip, base_fee
        if earlier is not None:
            floor = _dearer(earlier.price)
            price, least = max(price, floor), max(least, floor)
            tip = max(tip, _dearer(earlier.tip))
        affordable = self._max_fee_wei // gas
        if least > affordable:
            raise LedgerUnavailableError(
                f"The call may cost {least * gas} wei now, and max_fee_wei is {self._max_fee_wei}.",
                hint="Wait until the chain is cheaper, or raise max_fee_wei.",
            )
        price = min(price, affordable)
        return price, min(tip, price)

    def _tip(self, base_fee: int) -> int:
        usual = number_of(self._blocks.asked("eth_gasPrice"))
        if usual == 0:  # a chain without fees, whatever its node says of tips
            return 0
        try:
            return number_of(self._node.ask("eth_maxPriorityFeePerGas"))
        except NodeRefusal:  # it does not know the question
            return max(usual - base_fee, 0)

    # ----------------------------------------------------------------------------- sending

    def _signed(
        self,
        key: Key,
        transfer: Transfer,
        gas: int,
        base_fee: int | None,
        earlier: Attempt | None,
    ) -> tuple[Attempt, bytes]:
        price, tip = self._prices(gas, base_fee, earlier)
        nonce = earlier.nonce if earlier else self._count(key.address, "pending")
        document: dict[str, Any] = {
            "chainId": self._chain_id,
            "nonce": nonce,
            "gas": gas,
            "value": 0,
            "data": transfer.data,
        }
        if transfer.to is not None:
            document["to"] = bytes.fromhex(transfer.to[2:])
        if base_fee is None:
            document["gasPrice"] = price
        else:
            document |= {"type": 2, "maxFeePerGas": price, "maxPriorityFeePerGas": tip}
        signed = Account.sign_transaction(document, key.reveal_secret())
        again = earlier is not None and earlier.transfer.data == transfer.data
        digests = (*(earlier.digests if earlier and again else ()), bytes(signed.hash).hex())
        attempt = Attempt(key.address, transfer, nonce, digests, gas, price, tip)
        return attempt, bytes(signed.raw_transaction)

    def _sent(self, raw: bytes, attempt: Attempt, earlier: Attempt | None) -> bool:
        """Send; say False where the number is taken by a transaction of another program."""
        self._open[attempt.address] = attempt
        try:
            self._node.ask("eth_sendRawTransaction", f"0x{raw.hex()}")
        except NodeRefusal as error:
            said = error.said.lower()
            # One of several versions is there already, and stays.
            if any(each in said for each in _KNOWN) or (
                len(attempt.digests) > 1 and any(each in said for each in _TAKEN)
            ):
                return True
            self._restore(attempt.address, earlier)
            if earlier is None and any(each in said for each in (*_OLD_NONCE, *_TAKEN)):
                return False
            broke = "insufficient funds" in said
            hint = f"Send coins of the chain to {attempt.address}." if broke else ""
            raise refused("the transaction", error, hint) from error
        return True

    def _restore(self, address: str, earlier: Attempt | None) -> None:
        if earlier is None:
            del self._open[address]
        else:
            self._open[address] = earlier


def _dearer(price: int) -> int:
    """Return what nodes ask for, at the least, of a transaction that takes another's place."""
    return price + price // 8 + 1 if price else 0


def polling(until: float) -> Iterator[None]:
    """Yield at once, and then after growing pauses until that time by `time.monotonic`."""
    pause = _POLL_S[0]
    while True:
        yield
        left = until - time.monotonic()
        # Written so that a time that is no number ends at once.
        if not left > 0:
            return
        time.sleep(min(pause, left))
        pause = min(1.5 * pause, _POLL_S[1])


def _request(address: str, transfer: Transfer) -> dict[str, str]:
    request = {"from": address, "data": f"0x{transfer.data.hex()}"}
    return request if transfer.to is None else {**request, "to": transfer.to}


def _receipt(answer: Any, digest: str) -> Receipt:
    if not isinstance(answer, Mapping) or digest_of(answer.get("transactionHash")) != digest:
        raise odd_answer("another receipt")
    contract = answer.get("contractAddress")
    deployed = b"" if contract is None else bytes_of(contract)
    return Receipt(
        digest,
        number_of(answer.get("blockNumber")),
        digest_of(answer.get("blockHash")),
        number_of(answer.get("status")) == 1,
        f"0x{deployed.hex()}" if len(deployed) == ADDRESS_BYTES else None,
        number_of(answer.get("gasUsed")),
    )


def _reason_in(error: NodeRefusal) -> Reason | None:
    """Return the reason that a node gives, in what the contract returned or in its own words."""
    found = refusal(error.data)
    if found is not None or error.data:
        return found
    try:
        return Reason(error.said.rpartition(": ")[2])
    except ValueError:
        return None


def _rejected(reason: Reason, when: str) -> LedgerRejectedError:
    return LedgerRejectedError(
        f"The contract refuses the call {when}: {reason}.", reason=str(reason)
    )
