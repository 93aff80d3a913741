"""Putting the contract on a chain (7.1)."""

from __future__ import annotations

import time

from colearn.core.bindings import word
from colearn.errors import ConfigError
from colearn.identity import Key
from colearn.ledger.contract import artefact
from colearn.ledger.evm_blocks import Blocks
from colearn.ledger.evm_reader import Chain
from colearn.ledger.evm_rpc import RpcNode
from colearn.ledger.evm_sender import Sender, Transfer
from colearn.ledger.evm_url import EvmPlace, parse_node_url

__all__ = ["DEPLOY_MAX_FEE_WEI", "deploy"]

DEPLOY_MAX_FEE_WEI = 5 * 10**17
"""The most that a deployment may cost, unless the user says something else: 0.5 coins."""

_DRIFT_END_S = 2**30


def deploy(
    url: str,
    key: Key,
    drift_s: int = 0,
    *,
    max_fee_wei: int = DEPLOY_MAX_FEE_WEI,
    timeout_s: float = 10.0,
    patience_s: float = 120.0,
) -> str:
    """Deploy the contract, wait until it is mined, and return its address.

    Args:
        url: ``evm+http://HOST:PORT`` or ``evm+https://...``.
        key: Pays. It has no rights in the contract; nobody has.
        drift_s: By how much clocks may differ; every phase lasts at least four times as long
            (7.2). No less than the time between two blocks.
        max_fee_wei: The most that it may cost.
        timeout_s: How long one answer of the node may take.
        patience_s: How long to wait for it to be mined.

    Raises:
        ConfigError: An argument is none of these.
        LedgerError: It could not be deployed.
    """
    if type(drift_s) is not int or not 0 <= drift_s < _DRIFT_END_S:
        raise ConfigError(f"The drift is from 0 to {_DRIFT_END_S - 1} seconds, got {drift_s!r}.")
    node = RpcNode(parse_node_url(url), timeout_s)
    try:
        blocks = Blocks(node)
        sender = Sender(blocks, blocks.chain_id(), max_fee_wei)
        transfer = Transfer(None, artefact().bytecode + word(drift_s), 0)
        attempt = sender.send(key, transfer, blocks.newest().base_fee)
        receipt = sender.landed(attempt, time.monotonic() + patience_s)
        if not receipt.succeeded or receipt.contract is None:
            raise sender.failure(attempt, receipt)
        return Chain(node, EvmPlace("", receipt.contract, receipt.block)).place.contract
    finally:
        node.close()
