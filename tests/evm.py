"""A real chain for tests: anvil from npm, started on a free port of loopback.

It is looked for under .tools of the repository, and installed there when it is not there yet.
"""

import importlib.util
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".tools"
PACKAGE = "@foundry-rs/anvil@1.7.1"
INSTALL = f"npm install --no-save --prefix .tools {PACKAGE}"
INSTALLED_WITHIN_S = 90
STARTED_WITHIN_S = 30


def _binary():
    processors = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
    processor = processors.get(platform.machine(), platform.machine())
    name = "anvil.exe" if sys.platform == "win32" else "anvil"
    folder = TOOLS / "node_modules" / "@foundry-rs" / f"anvil-{sys.platform}-{processor}"
    return folder / "bin" / name


def _missing(why):
    reason = f"no anvil here ({why}): {INSTALL}"
    if os.environ.get("COLEARN_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def require_web3():
    """Skip the test where the extra `evm` is not installed."""
    if importlib.util.find_spec("web3") is None:
        if os.environ.get("COLEARN_REQUIRE_ALL") == "1":
            pytest.fail("no web3 here: pip install 'colearn[evm]'")
        pytest.skip("no web3 here: pip install 'colearn[evm]'")


def anvil_binary():
    """The path of anvil; the test is skipped where it cannot be had."""
    binary = _binary()
    if binary.exists():
        return binary
    npm = shutil.which("npm")
    if npm is None:
        _missing("npm is missing")
    TOOLS.mkdir(exist_ok=True)
    mine = TOOLS / ".installing"
    try:
        mine.mkdir()
    except FileExistsError:  # by another process of the same tests
        limit = time.monotonic() + INSTALLED_WITHIN_S
        while mine.exists() and time.monotonic() < limit:
            time.sleep(0.1)
    else:
        try:
            said = _install(npm)
        finally:
            mine.rmdir()
        if not binary.exists():
            _missing(f"npm: {said}")
    if not binary.exists():
        _missing("another process could not install it")
    return binary


def _install(npm):
    where = ["--prefix", str(TOOLS), PACKAGE]
    command = [npm, "install", "--no-save", "--no-audit", "--no-fund", *where]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALLED_WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "it took too long"
    return done.stderr[-200:]


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
