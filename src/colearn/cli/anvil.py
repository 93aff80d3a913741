"""A real chain on this machine: anvil, found or installed, started on a free port of loopback."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from colearn.errors import ConfigError, LedgerUnavailableError

__all__ = ["Anvil", "anvil_binary", "running_anvil"]

_PACKAGE = "@foundry-rs/anvil@1.7.1"
_SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}
_PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_INSTALL_S = 120
_START_S = 30.0
_ANSWER_S = 10.0
_COINS_WEI = 10**20


def anvil_binary(folder: Path | None = None) -> Path:
    """Return where anvil is: on the path, or from npm in a folder.

    Args:
        folder: Where npm installs it, once; None takes the user's cache folder.

    Raises:
        ConfigError: It is not there and npm cannot install it.
    """
    found = shutil.which("anvil")
    if found is not None:
        return Path(found)
    folder = folder or _cache() / "anvil"
    system = _SYSTEMS.get(platform.system(), platform.system().lower())
    processor = _PROCESSORS.get(platform.machine(), platform.machine())
    binary = folder / f"node_modules/@foundry-rs/anvil-{system}-{processor}/bin/anvil"
    if not binary.exists():
        _install(folder)
    if not binary.exists():
        raise ConfigError(
            f"There is no anvil for {system} on {processor} in the npm package {_PACKAGE}.",
            hint="Put an anvil on the path.",
        )
    return binary


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "colearn"


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    hint = f"Put anvil on the path, or run: npm install --no-save --prefix {folder} {_PACKAGE}"
    if npm is None:
        raise ConfigError(
            "A chain is needed for this, and neither anvil nor npm is here.", hint=hint
        )
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--prefix"]
    # Beside, and moved when complete: another process must not start a program half written.
    with tempfile.TemporaryDirectory(prefix=".installing-", dir=folder) as beside:
        try:
            done = subprocess.run(  # noqa: S603  (npm, with fixed words)
                [*command, beside, _PACKAGE],
                capture_output=True, text=True, timeout=_INSTALL_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ConfigError(f"npm took more than {_INSTALL_S} s.", hint=hint) from error
        if done.returncode:
            said = done.stderr[-300:].strip()
            raise ConfigError(f"npm could not install anvil: {said}", hint=hint)
        # Where another process was faster, its copy stays.
        with suppress(OSError):
            Path(beside, "node_modules").rename(folder / "node_modules")


class Anvil:
    """A running anvil.

    Attributes:
        url: Its address, as a ledger's address begins.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        """Speak to the anvil that listens at a port of loopback."""
        self.url = f"evm+http://127.0.0.1:{port}"
        self._process = process
        self._rpc = f"http://127.0.0.1:{port}"

    def fund(self, addresses: Sequence[str]) -> None:
        """Give addresses coins that are worth nothing."""
        for address in addresses:
            self._ask("anvil_setBalance", address, hex(_COINS_WEI))

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            LedgerUnavailableError: It ended, or does not answer.
        """
        until = time.monotonic() + _START_S
        while True:
            try:
                self._ask("eth_chainId")
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise LedgerUnavailableError("anvil did not start.") from error
                time.sleep(0.02)
            else:
                return

    def _ask(self, method: str, *parameters: Any) -> Any:
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        request = urllib.request.Request(  # noqa: S310  (an address of loopback)
            self._rpc, json.dumps(question).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:  # noqa: S310
            return json.load(answer).get("result")


@contextmanager
def running_anvil() -> Iterator[Anvil]:
    """Start anvil on a free port, and stop it at the end.

    Raises:
        ConfigError: There is none.
        LedgerUnavailableError: It does not start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(anvil_binary()), "--hardfork", "london", "--silent", "--host", "127.0.0.1",
        "--port", str(port),
    ]  # fmt: skip
    process = subprocess.Popen(  # noqa: S603  (anvil, with fixed words)
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    chain = Anvil(process, port)
    try:
        chain.wait()
        yield chain
    finally:
        process.kill()
        process.wait()
