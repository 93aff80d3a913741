"""A real chain for tests: anvil from npm, started on a free port of loopback.

It is looked for under .tools of the repository, and installed there when it is not there yet.
"""

import importlib.util
import json
import os
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from colearn.cli.anvil import anvil_binary as installed_anvil
from colearn.errors import ConfigError

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".tools"
STARTED_WITHIN_S = 30


def _missing(why):
    if os.environ.get("COLEARN_REQUIRE_ALL") == "1":
        pytest.fail(why)
    pytest.skip(why)


def require_web3():
    """Skip the test where the extra `evm` is not installed."""
    if importlib.util.find_spec("web3") is None:
        _missing("no web3 here: pip install 'colearn[evm]'")


def anvil_binary():
    """The path of anvil; the test is skipped where it cannot be had."""
    try:
        return installed_anvil(TOOLS)
    except ConfigError as error:
        _missing(f"no anvil here: {error}")


class Anvil:
    """A running anvil.

    Attributes:
        rpc: Its http address.
        url: The same as Colearn writes it.
    """

    def __init__(self, process, port):
        self.process = process
        self.rpc = f"http://127.0.0.1:{port}"
        self.url = f"evm+{self.rpc}"

    def ask(self, method, *arguments):
        answer = self.answer(
            {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(arguments)}
        )
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def answer(self, question):
        request = urllib.request.Request(
            self.rpc, json.dumps(question).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)

    def fund(self, *keys, wei=10**19):
        """Give coins to keys, from anvil's first rich account."""
        gift = {"from": self.ask("eth_accounts")[0], "value": hex(wei), "gasPrice": hex(10**10)}
        for key in keys:
            self.ask("eth_sendTransaction", {**gift, "to": key.address})

    def mine(self, blocks=1):
        self.ask("anvil_mine", hex(blocks))

    def pass_s(self, seconds):
        """Let time pass for the blocks to come."""
        self.ask("evm_increaseTime", seconds)

    @property
    def height(self):
        return int(self.ask("eth_blockNumber"), 16)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def anvil(*options, hardfork="london"):
    """Start anvil, and stop it at the end."""
    port = _free_port()
    command = [
        str(anvil_binary()), "--hardfork", hardfork, "--silent", "--host", "127.0.0.1",
        "--port", str(port), *options,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    chain = Anvil(process, port)
    try:
        deadline = time.monotonic() + STARTED_WITHIN_S
        while True:
            try:
                chain.ask("eth_chainId")
                break
            except OSError:
                assert process.poll() is None, "anvil ended at once"
                assert time.monotonic() < deadline, "anvil does not answer"
                time.sleep(0.02)
        yield chain
    finally:
        process.kill()
        process.wait(10)


FREE = ("--block-base-fee-per-gas", "0", "--gas-price", "0", "--disable-min-priority-fee")
"""Options of a chain on which gas costs nothing, as many chains of a consortium have it."""


def spent(chain, key):
    """How many transactions a key has made, and how much it has left."""
    return tuple(
        int(chain.ask(f"eth_get{what}", key.address, "latest"), 16)
        for what in ("TransactionCount", "Balance")
    )


def signed_elsewhere(chain, key, contract, call, *, price):
    """A transaction that another program signs with the same key, next in its line."""
    from eth_account import Account

    from colearn.ledger.abi import to_calldata

    document = {
        "chainId": 31337, "nonce": spent(chain, key)[0], "gas": 500_000, "value": 0,
        "to": bytes.fromhex(contract[2:]), "data": to_calldata(call), "gasPrice": price,
    }  # fmt: skip
    signed = Account.sign_transaction(document, key.reveal_secret())
    return "0x" + bytes(signed.raw_transaction).hex()


@contextmanager
def paused(chain):
    """A chain on which blocks are made only by `mine`."""
    chain.ask("evm_setAutomine", False)
    try:
        yield
    finally:
        chain.ask("evm_setAutomine", True)
        chain.mine()


def wait_for_pool(chain, count):
    """Wait until so many transactions wait to be mined."""
    limit = time.monotonic() + 60
    while int(chain.ask("txpool_status")["pending"], 16) < count:
        assert time.monotonic() < limit
        time.sleep(0.02)
