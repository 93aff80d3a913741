"""What can be audited: a run folder, a ledger file, or the address of a hosted ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from colearn.core import Genesis
from colearn.errors import ConfigError, MissingExtraError
from colearn.ledger import StoredRow
from colearn.ledger.reading import read_log
from colearn.store import BlobStore, DirectoryStore

__all__ = ["LogSource", "open_source"]


@dataclass(frozen=True, slots=True)
class LogSource:
    """A log as somebody else keeps it; nothing of it is believed.

    Attributes:
        name: What the user called it.
        kind: "embedded" or "hosted".
        genesis: What the log says it was born with.
        rows: Its rows, from the first.
        store: Where its blobs are; None where they are not at hand.
    """

    name: str
    kind: str
    genesis: Genesis
    rows: Iterable[StoredRow]
    store: BlobStore | None


def open_source(where: str) -> LogSource:
    """Open what is to be audited; nothing is written to it.

    Args:
        where: A run folder, a ledger.db, or an http(s) address.

    Raises:
        ConfigError: There is no ledger.
        LedgerError: It cannot be read.
        MissingExtraError: An address needs the extra `network`.
    """
    if where.startswith(("http://", "https://")):
        return _hosted(where)
    path = Path(where)
    file = path / "ledger.db" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(
            f"There is no ledger in {where}.", hint="Name a run folder or an address."
        )
    genesis, rows = read_log(file)
    blobs = file.parent / "blobs"
    store = DirectoryStore(blobs) if blobs.is_dir() else None
    return LogSource(where, "embedded", genesis, rows, store)


def _hosted(url: str) -> LogSource:
    try:
        from colearn.ledger.hosted import HostedLedger  # noqa: PLC0415  (needs its extra)
    except ModuleNotFoundError as error:
        raise MissingExtraError("httpx", extra="network") from error
    ledger = HostedLedger(url)
    return LogSource(url, "hosted", ledger.genesis, ledger.history(), None)
