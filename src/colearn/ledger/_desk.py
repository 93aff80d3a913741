"""The one thread that owns a served ledger, and those who wait for its next row (7.8)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from colearn.errors import LedgerError, LedgerUnavailableError, LocalProtocolError
from colearn.ledger.base import Head
from colearn.ledger.embedded import EmbeddedLedger

__all__ = ["Desk"]

T = TypeVar("T")

_POLL_S = 0.1
"""How often the file is looked at for other processes' rows, and only while somebody waits."""

_QUESTIONS_MAX = 256
"""Questions that may stand in line for the ledger's thread."""


class Desk:
    """Asks a ledger on the thread that it belongs to, so that an event loop never waits for it.

    Attributes:
        head: Of the ledger, when it was last asked.
        opened: When the ledger had been opened and read, by the monotonic clock.
        waiting: How many wait for its next row.
    """

    def __init__(
        self, open_ledger: Callable[[], EmbeddedLedger], *, waiters_max: int = 256
    ) -> None:
        """Prepare a desk.

        Args:
            open_ledger: Opens the ledger; it is called on the thread that will own it.
            waiters_max: How many may wait at once; further ones do not wait.
        """
        self.head = Head(0, "")
        self.opened = 0.0
        self.waiting = 0
        self._open = open_ledger
        self._waiters_max = waiters_max
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="colearn-ledger")
        self._ledger: EmbeddedLedger | None = None
        self._poller: asyncio.Task[None] | None = None
        self._questions = 0
        self._closing = False

    async def open(self) -> None:
        """Open the ledger and read it.

        Raises:
            ColearnError: It cannot be opened, or is not valid.
        """
        self._grown = asyncio.Event()
        self._somebody = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._ledger = await loop.run_in_executor(self._thread, self._open)
        await self.ask(lambda ledger: ledger.sync())
        self.opened = time.monotonic()
        self._poller = asyncio.create_task(self._poll())

    async def close(self) -> None:
        """Let everybody go who waits, and close the ledger; also if it never opened."""
        self.release()
        if self._poller is not None:
            self._poller.cancel()
            with suppress(asyncio.CancelledError):
                await self._poller
        if self._ledger is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._ledger.close)
        self._thread.shutdown()

    async def ask(self, question: Callable[[EmbeddedLedger], T]) -> T:
        """Return what `question` makes of the ledger; it runs on the ledger's thread.

        Raises:
            LedgerUnavailableError: Too many questions stand in line.
            ColearnError: What the ledger raises.
        """
        ledger = self._ledger
        if ledger is None:
            raise LocalProtocolError("The ledger is not open.")
        if self._questions >= _QUESTIONS_MAX:
            raise LedgerUnavailableError("Too many questions stand in line.", hint="Try again.")
        self._questions += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, question, ledger)
        finally:
            self._questions -= 1
            self._see(ledger.head)

    async def wait_above(self, height: int, wait_s: float) -> None:
        """Wait until the ledger is higher, or `wait_s` is over, or there are too many waiters."""
        if self.waiting >= self._waiters_max:
            return
        self.waiting += 1
        self._somebody.set()
        try:
            async with asyncio.timeout(wait_s):
                while self.head.height <= height and not self._closing:
                    await self._grown.wait()
        except TimeoutError:
            pass
        finally:
            self.waiting -= 1

    def release(self) -> None:
        """Let everybody go who waits, now and from now on."""
        self._closing = True
        if self._ledger is not None:
            self._grown.set()

    def _see(self, head: Head) -> None:
        if head != self.head:
            self.head = head
            # Who waits has the old event in hand; who comes from now on waits for the next one.
            self._grown.set()
            self._grown = asyncio.Event()

    async def _poll(self) -> None:
        """Look for rows that other processes write into the file, while somebody waits."""
        while True:
            if not self.waiting:
                self._somebody.clear()
                await self._somebody.wait()
            # An error that stays is told to everybody who asks; nobody is told here.
            with suppress(LedgerError):
                await self.ask(lambda ledger: ledger.sync())
            await asyncio.sleep(_POLL_S)
