"""What can be audited: a run folder, a ledger file, a hosted ledger, a contract on a chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from colearn.audit.chain import ChainSource
from colearn.core import Genesis
from colearn.errors import ConfigError, LedgerTamperedError
from colearn.ledger import LogLedger, StoredRow
from colearn.ledger.evm_url import is_evm_url, parse_url
from colearn.ledger.reading import read_log
from colearn.store import BlobStore, DirectoryStore

__all__ = ["LogSource", "open_source"]


_ANSWER_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class LogSource:
    """A log as somebody else keeps it; nothing of it is believed.

    Attributes:
        name: What the user called it.
        kind: "embedded" or "hosted".
        genesis: What the log says it was born with.
        rows: Its rows, from the first.
        store: Where its blobs are; None where they are not at hand.
        partial: Whether some may be missing there, as in a node's folder.
    """

    name: str
    kind: str
    genesis: Genesis
    rows: Iterable[StoredRow]
    store: BlobStore | None
    partial: bool = False


def open_source(
    where: str,
    blobs: Path | None = None,
    *,
    ca_file: Path | None = None,
    certfile: Path | None = None,
    keyfile: Path | None = None,
) -> LogSource | ChainSource:
    """Open what is to be audited; nothing is written to it.

    Args:
        where: A run folder, a ledger.db, an http(s) address, or an evm+http(s) one.
        blobs: A folder of blobs; by default those that lie beside a ledger.db.
        ca_file: The only authority to trust for HTTPS, in PEM; None for the usual ones.
        certfile: The own certificate chain, for servers that ask for one.
        keyfile: Its key, if it is not in `certfile`.

    Raises:
        ConfigError: There is no ledger, or no such folder.
        LedgerError: It cannot be read.
        MissingExtraError: An address needs the extra `network` or `evm`.
    """
    if blobs is not None and not blobs.is_dir():
        raise ConfigError(f"There is no folder {blobs}.", hint="Name the folder of the blobs.")
    store = None if blobs is None else DirectoryStore(blobs)
    if is_evm_url(where):
        return _on_chain(where, store)
    if where.startswith(("http://", "https://")):
        from colearn.ledger.hosted import HostedLedger  # noqa: PLC0415  (needs its extra)

        ledger = HostedLedger(where, ca_file=ca_file, certfile=certfile, keyfile=keyfile)
        return LogSource(where, "hosted", ledger.genesis, _rows_of(ledger), store)
    path = Path(where)
    file = path / "ledger.db" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(
            f"There is no ledger in {where}.", hint="Name a run folder or an address."
        )
    genesis, rows = read_log(file)
    beside = file.parent / "blobs"
    if store is None and beside.is_dir():
        store = DirectoryStore(beside)
    return LogSource(where, "embedded", genesis, rows, store)


def _on_chain(url: str, store: BlobStore | None) -> ChainSource:
    place = parse_url(url)
    from colearn.ledger.evm_reader import Chain  # noqa: PLC0415  (needs its extra)
    from colearn.ledger.evm_rpc import RpcNode  # noqa: PLC0415

    node = RpcNode(place.node, _ANSWER_WITHIN_S)
    try:
        chain = Chain(node, place)
    except BaseException:
        node.close()
        raise
    return ChainSource(str(chain.place), "evm", chain, store)


def _rows_of(ledger: LogLedger) -> Iterator[StoredRow]:
    """Yield all rows of a log that a server keeps, and raise behind them what is wrong there."""
    tampered: LedgerTamperedError | None = None
    with ledger:
        try:
            ledger.sync()
        except LedgerTamperedError as error:
            tampered = error
        yield from ledger.history()
    if tampered is not None:
        raise tampered
