"""How much a server of blobs keeps, in all and for each member (6.4)."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter

from colearn.errors import ConfigError
from colearn.store.directory import DirectoryStore
from colearn.store.gate import TurnedAwayError

__all__ = ["Quota"]

_FULL = 507
_RECORD = ".uploads"
_RECORD_BYTES_MAX = 2**26
_LINE = re.compile("([0-9a-f]{64}) (0x[0-9a-f]{40}) ([0-9]{1,15})")


class Quota:
    """Counts bytes before they are written; what is on its way counts as if it were there.

    Who stored what is remembered in a file beside the blobs, so that a restart does not forget it.
    Threads may share a quota.

    Attributes:
        total_bytes: All blobs of the folder together.
        address_bytes: The blobs that one address stored.
    """

    def __init__(self, store: DirectoryStore, total_bytes: int, address_bytes: int) -> None:
        """Count what is there.

        Raises:
            ConfigError: A quota is no whole number from 1.
            StoreError: The folder cannot be read.
        """
        for most in (total_bytes, address_bytes):
            if type(most) is not int or most < 1:
                raise ConfigError(f"A quota is a whole number of bytes from 1, got {most!r}.")
        self.total_bytes, self.address_bytes = total_bytes, address_bytes
        self._record = store.path / _RECORD
        self._lock = threading.Lock()
        sizes = {digest: store.path_of(digest).stat().st_size for digest in store.digests()}
        self._used = sum(sizes.values())
        self._by: Counter[str] = Counter()
        for digest, address in self._owners().items():
            self._by[address] += sizes.get(digest, 0)

    @property
    def used_bytes(self) -> int:
        """What is there and what is on its way."""
        return self._used

    def reserve(self, address: str, size: int) -> None:
        """Set bytes aside for a blob that an address is about to store.

        Raises:
            TurnedAwayError: 507, there is no room for them.
        """
        with self._lock:
            if self._used + size > self.total_bytes:
                raise TurnedAwayError(
                    _FULL, f"This server keeps {self.total_bytes} bytes and is full.",
                    peer=address, rule="6.4",
                )  # fmt: skip
            if self._by[address] + size > self.address_bytes:
                raise TurnedAwayError(
                    _FULL, f"This server keeps {self.address_bytes} bytes of one address.",
                    peer=address, rule="6.4",
                )  # fmt: skip
            self._used += size
            self._by[address] += size

    def release(self, address: str, size: int) -> None:
        """Give back what was reserved for a blob that did not come."""
        with self._lock:
            self._used -= size
            self._by[address] -= size

    def keep(self, address: str, digest: str, size: int) -> None:
        """Remember who stored a blob that came.

        Raises:
            OSError: The record cannot be written.
        """
        line = f"{digest} {address} {size}\n".encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self._record, flags, 0o666)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def _owners(self) -> dict[str, str]:
        """Return who stored each blob; lines that a crash or somebody has spoiled do not count."""
        try:
            with self._record.open("rb") as file:
                text = file.read(_RECORD_BYTES_MAX).decode("ascii", "replace")
        except FileNotFoundError:
            return {}
        found = (_LINE.fullmatch(line) for line in text.split("\n"))
        return {each[1]: each[2] for each in found if each is not None}
