"""The hosted ledger: the log behind an HTTP server, which this client does not trust (7.8, 7.9).

The server orders, and that is all it can do: every row is verified and replayed here, entries are
anchored on rows that were verified here, and a server that takes back what it has said is named.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from colearn.core import Entry, Genesis, InvalidRowError, Row, Step, encode_call
from colearn.core.calls import Call
from colearn.core.events import Event
from colearn.errors import (
    ConfigError,
    LedgerConflictError,
    LedgerError,
    LedgerTamperedError,
    LedgerUnavailableError,
    RemoteProtocolError,
)
from colearn.identity import Key
from colearn.ledger import _wire as wire
from colearn.ledger._exchange import Exchange
from colearn.ledger.base import Head
from colearn.ledger.log import Clock, LogLedger, StoredRow, forked, rejected, system_clock

__all__ = ["HostedLedger"]

_TRIES = 3
"""How often an entry is sent when the line below it has moved; each time for another reason."""

_MISSING = ("nonce", "anchor")
"""What a log breaks that has lost rows; reading it has put them back."""

_PAUSE_S = (0.05, 1.0)
"""The shortest and the longest pause between questions to a server that does not wait."""

_BATCH_BYTES = wire.BODY_BYTES_MAX // 2


@dataclass(frozen=True, slots=True)
class _Signed:
    """An entry that was signed here."""

    address: str
    entry: Entry
    signature: bytes


class HostedLedger(LogLedger):
    """A view of a log that a server keeps. It keeps every row that it has read, in memory.

    Attributes:
        url: Where the server is.
    """

    kind = "hosted"

    def __init__(
        self,
        url: str,
        *,
        clock: Clock = system_clock,
        ca_file: Path | None = None,
        timeout_s: float = 10.0,
        expected_genesis: str | None = None,
        certfile: Path | None = None,
        keyfile: Path | None = None,
    ) -> None:
        """Ask a server what its log was born with; no row is read yet.

        Args:
            url: Where the server is: http or https.
            clock: Seconds since 1970.
            ca_file: The only authority to trust for HTTPS, in PEM; None for the usual ones.
            timeout_s: How long one question may take, all attempts at it included.
            expected_genesis: The digest of the genesis, 64 hex digits, where it is known. Without
                it the first server that answers decides which log this is.
            certfile: The own certificate chain in PEM, for servers that ask for one.
            keyfile: Its key, if it is not in `certfile`.

        Raises:
            ConfigError: An argument is none of these.
            LedgerUnavailableError: No ledger answers.
            LedgerTamperedError: It is another log than the expected one.
        """
        if expected_genesis is not None and len(expected_genesis) != 64:
            raise ConfigError("The digest of a genesis is 64 hexadecimal digits.")
        own = {"certfile": certfile, "keyfile": keyfile}
        self._exchange = Exchange(url, ca_file=ca_file, timeout_s=timeout_s, **own)
        try:
            super().__init__(self._fetch_genesis(expected_genesis), clock)
        except BaseException:
            self._exchange.close()
            raise
        self._kept: list[bytes] = []
        self._awaited: tuple[str, int] | None = None
        self._events: tuple[Event, ...] | None = None
        self._has_read = False

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._exchange.url

    def submit(self, key: Key, call: Call) -> tuple[Event, ...]:
        """Sign a call, send it, and read on until its row.

        It is signed once, however many others write (L6); again only where the first entry can
        never be a row: its nonce is taken, or its time has passed.
        """
        data = encode_call(call)
        with self._watching():
            if not self._has_read:
                self._pull()
            self._refuse_held_rows()
            return self._send_signed(self._sign(key, data), key)

    def sync(self) -> int:
        """Read and verify what is new; put back first what the log has lost (7.9)."""
        with self._watching():
            return self._pull()

    def wait(self, timeout_s: float) -> bool:
        """Let the server answer when there is something new."""
        until = time.monotonic() + timeout_s
        pause = _PAUSE_S[0]
        with self._watching():
            while True:
                began = time.monotonic()
                # Written so that a timeout that is not a number ends at once.
                wait_s = min(until - began, wire.WAIT_S_MAX) if until > began else 0.0
                if self._pull(wait_s):
                    return True
                now = time.monotonic()
                if not now < until:
                    return False
                # A server that is too busy to wait, or that holds a row from the future.
                if now - began < min(wait_s, pause):
                    time.sleep(min(pause, until - now))
                    pause = min(2 * pause, _PAUSE_S[1])

    def history(self, begin: int = 1) -> Iterator[StoredRow]:
        """Return the rows from height `begin` on, as far as they were read."""
        for height in range(begin, self.replica.height + 1):
            yield self._kept_row(height)

    def close(self) -> None:
        """Close the connections."""
        self._exchange.close()

    # ------------------------------------------------------------------------- reading

    def _fetch_genesis(self, expected: str | None) -> Genesis:
        answer = self._exchange.get("/v1/genesis")
        try:
            genesis = Genesis.decode(answer)
        except RemoteProtocolError as error:
            raise self._nonsense(error) from error
        if expected is not None and genesis.digest != expected.lower():
            raise LedgerTamperedError(
                f"The log at {self._exchange.url} has genesis {genesis.digest}, and "
                f"{expected} was expected.",
                entry=0,
                rule="7.9",
                hint="Ask the creator for the address and the digest.",
            )
        return genesis

    def _pull(self, wait_s: float = 0.0) -> int:
        """Read up to the height that the first answer names; return how many rows that were."""
        page = self._page(wait_s)
        count, target = self._read(page.rows), page.height
        while self.replica.height < target and not self.held:
            got = self._read(self._page().rows)
            if not got and not self.held:
                raise LedgerUnavailableError(
                    f"The ledger at {self.url} says that it has {target} rows, and does not show "
                    f"row {self.replica.height + 1}.",
                    hint="Compare heads with the other members.",
                )
            count += got
        self._has_read = True
        return count

    def _page(self, wait_s: float = 0.0) -> wire.Page:
        """Return rows that follow the own last one, which must still be there."""
        page = self._fetch(wait_s)
        if page.base is None:
            self._put_back(page)
            page = self._fetch()
        return self._on_line(page)

    def _fetch(self, wait_s: float = 0.0) -> wire.Page:
        begin = self.replica.height + 1
        query = {"from": str(begin)} | ({"wait_s": f"{wait_s:.3f}"} if wait_s > 0 else {})
        answer = self._exchange.get("/v1/rows", query, wait_s)
        try:
            return wire.Page.read(wire.load(answer), begin)
        except RemoteProtocolError as error:
            raise self._nonsense(error) from error

    def _on_line(self, page: wire.Page) -> wire.Page:
        if page.base != self.replica.head:
            raise forked(self.url, self.head, page.base)
        return page

    def _take(self, step: Step) -> None:
        row = step.row
        self._kept.append(row.stamp.to_bytes(8, "big") + wire.write_entry(row.entry, row.signature))
        if self._awaited == (step.signer, row.entry.nonce):
            self._events = step.events
        super()._take(step)

    def _kept_row(self, height: int) -> StoredRow:
        kept = self._kept[height - 1]
        entry, signature = wire.read_entry(kept[8:])
        row = Row(entry, signature, int.from_bytes(kept[:8], "big"))
        return StoredRow(row, self.replica.heads[height])

    # ------------------------------------------------------------------- putting back

    def _put_back(self, page: wire.Page) -> None:
        """Give a log that became shorter the rows back that it had (7.9)."""
        lost = Head(page.height + 1, self.replica.heads[page.height + 1])
        if page.head != self.replica.heads[page.height]:
            had = Head(page.height, self.replica.heads[page.height])
            raise forked(self.url, had, page.head)
        begin = lost.height
        while begin <= self.replica.height:
            rows = self._batch(begin)
            body = wire.dump({"from": begin, "rows": wire.write_rows(rows)})
            taken, answer = self._exchange.post("/v1/rows", {}, body, "application/json")
            if not taken:
                reason = self._refusal(answer).reason
                raise forked(self.url, lost, None) from LedgerError(f"Not put back: {reason}.")
            begin += len(rows)

    def _batch(self, begin: int) -> tuple[StoredRow, ...]:
        rows: list[StoredRow] = []
        size = 0
        for stored in self.history(begin):
            size += wire.row_bytes(stored)
            if rows and (size > _BATCH_BYTES or len(rows) == wire.ROWS_MAX):
                break
            rows.append(stored)
        return tuple(rows)

    # ------------------------------------------------------------------------ sending

    def _sign(self, key: Key, data: bytes) -> _Signed:
        entry = self.replica.entry(key.address, self.now(), data)
        self._awaited, self._events = (key.address, entry.nonce), None
        return _Signed(key.address, entry, key.sign(self.replica.digest(entry)))

    def _send_signed(self, signed: _Signed, key: Key) -> tuple[Event, ...]:
        tries = _TRIES
        while True:
            answer = self._send(signed)
            if isinstance(answer, wire.Place):
                return self._landed(signed, answer)
            tries -= 1
            after = self._after_refusal(signed, answer, key)
            if not isinstance(after, _Signed):
                return after
            if not tries:
                raise _as_error(answer)
            signed = after

    def _send(self, signed: _Signed) -> wire.Place | wire.Refusal:
        """Send the same bytes until an answer comes: the same entry again has the same place."""
        body = wire.write_entry(signed.entry, signed.signature)
        begin = self.replica.height + 1
        taken, answer = self._exchange.post(
            "/v1/entries", {"from": str(begin)}, body, "application/octet-stream"
        )
        if not taken:
            return self._refusal(answer)
        try:
            return wire.Place.read(wire.load(answer), begin)
        except RemoteProtocolError as error:
            raise self._nonsense(error) from error

    def _landed(self, signed: _Signed, place: wire.Place) -> tuple[Event, ...]:
        """Return what the own row made known, once it was read where the server says it is."""
        if place.page is not None and place.page.base is not None:
            self._read(self._on_line(place.page).rows)
        if self.replica.height < place.height:
            self._pull()
            self._refuse_held_rows()
        if self._events is None or not self._is_at(signed, place):
            raise LedgerTamperedError(
                f"The ledger at {self.url} said that an entry became row {place.height}, and shows "
                "something else there.",
                entry=place.height,
                rule="7.9",
                hint="Compare heads with the other members.",
            )
        return self._events

    def _is_at(self, signed: _Signed, place: wire.Place) -> bool:
        if self.replica.place(signed.address, signed.entry.nonce) != place.height:
            return False
        row = self._kept_row(place.height).row
        return (row.entry, row.signature, row.stamp) == (
            signed.entry,
            signed.signature,
            place.stamp,
        )

    def _after_refusal(
        self, signed: _Signed, refusal: wire.Refusal, key: Key
    ) -> _Signed | tuple[Event, ...]:
        """Read on; return what to send next, or the events of the call if it is a row already.

        Raises:
            LedgerRejectedError: Nothing has changed that could let it in.
            LedgerConflictError: The server says that the nonce is taken, and shows no such row.
        """
        data = signed.entry.call
        self._pull()
        self._refuse_held_rows()
        if self._events is not None:
            height = self.replica.place(signed.address, signed.entry.nonce)
            if self._kept_row(height).row.entry.call == data:
                # An earlier attempt whose answer was lost, or another process with this key.
                return self._events
            return self._sign(key, data)
        if refusal.condition == "clock" and self.now() > signed.entry.time:
            return self._sign(key, data)
        if refusal.condition in _MISSING:
            return signed
        raise _as_error(refusal)

    def _refusal(self, answer: bytes) -> wire.Refusal:
        try:
            return wire.Refusal.read(wire.load(answer))
        except RemoteProtocolError as error:
            raise self._nonsense(error) from error

    def _nonsense(self, error: RemoteProtocolError) -> LedgerUnavailableError:
        return LedgerUnavailableError(
            f"The ledger at {self._exchange.url} answers with nonsense: {error}",
            hint="Is this the address of a ledger?",
        )


def _as_error(refusal: wire.Refusal) -> LedgerError:
    if refusal.condition == "conflict":
        return LedgerConflictError(refusal.reason, hint="Read the ledger, and sign again.")
    return rejected(InvalidRowError(refusal.condition, refusal.reason))
