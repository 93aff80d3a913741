"""From an invitation to its ledger and its blobs (7.8)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from colearn.errors import ConfigError, LedgerTamperedError
from colearn.identity import Key, Statement
from colearn.ledger import EmbeddedLedger, Ledger
from colearn.ledger.evm_url import is_evm_url
from colearn.network.invitation import DIRECTORY, EMBEDDED, HOSTED, PEERS, Invitation, is_web_url
from colearn.store import DirectoryStore, HoldingStore, Remote
from colearn.store.draft import Draft
from colearn.store.sender import Credentials, Sender
from colearn.weights import DEFAULT_LIMITS

__all__ = [
    "FolderRemote",
    "drift_of",
    "genesis_of",
    "ledger_address",
    "open_ledger",
    "open_ledger_at",
    "open_store",
    "store_address",
]

_LEDGER_HINT = (
    "Write http://HOST:PORT or https://HOST for a hosted ledger, evm+http://HOST:PORT/0xCONTRACT "
    "for a contract, or embedded:/PATH/ledger.db for trials on one machine."
)

_HOST_AND_PORT = re.compile(r"(?!embedded:)[A-Za-z0-9.-]+:[0-9]{1,5}(?:/.*)?")
"""A server whose scheme was forgotten, which must not become the name of a new file."""


def ledger_address(text: str) -> str:
    """Return the address of a ledger as an invitation writes it; a path may be relative.

    Raises:
        ConfigError: It is no address of a ledger. It is not repeated, as it may hold a secret.
    """
    if is_evm_url(text) or is_web_url(text):
        return text.rstrip("/") if is_web_url(text) else text
    path = text.removeprefix(EMBEDDED)
    if not path or "://" in path or _HOST_AND_PORT.fullmatch(text):
        raise ConfigError("That is not the address of a ledger.", hint=_LEDGER_HINT)
    return EMBEDDED + str(Path(path).absolute())


def store_address(text: str | None, ledger: str) -> str:
    """Return where blobs are, as an invitation writes it; a path may be relative.

    Args:
        text: What the creator said; None for what comes with the ledger.
        ledger: The ledger's address.

    Raises:
        ConfigError: A contract brings no store with it.
    """
    if text is not None:
        if text.startswith(DIRECTORY):
            return DIRECTORY + str(Path(text.removeprefix(DIRECTORY)).absolute())
        return text
    if is_evm_url(ledger):
        raise ConfigError(
            "A contract keeps no weights.", hint="Say where they are: --store peers or s3://..."
        )
    if ledger.startswith(EMBEDDED):
        return DIRECTORY + str(Path(ledger.removeprefix(EMBEDDED)).parent / "blobs")
    return HOSTED


def open_ledger(
    invitation: Invitation,
    *,
    tls: Credentials | None = None,
    node_url: str | None = None,
) -> Ledger:
    """Open the ledger of an invitation; no row is read yet.

    Args:
        invitation: Names the ledger, and the genesis that it must have.
        tls: For HTTPS.
        node_url: For a contract, another address of it, through a node of one's own.

    Raises:
        ConfigError: There is no ledger there.
        LedgerUnavailableError: It does not answer.
        LedgerTamperedError: It is another log than the invitation names.
        MissingExtraError: It needs the extra `network` or `evm`.
    """
    url = invitation.ledger if node_url is None else node_url
    if node_url is not None:
        _require_same_contract(invitation.ledger, node_url)
    return open_ledger_at(url, genesis=invitation.genesis, tls=tls)


def open_ledger_at(
    url: str, *, genesis: str | None = None, tls: Credentials | None = None
) -> Ledger:
    """Open the ledger of an address.

    Args:
        url: As in an invitation.
        genesis: The digest of the genesis that a log must have; None where it is not known.
        tls: For HTTPS.

    Raises:
        ColearnError: As `open_ledger`.
    """
    if is_evm_url(url):
        from colearn.ledger.evm import EvmLedger  # noqa: PLC0415  (needs its extra)

        return EvmLedger(url)
    if url.startswith(EMBEDDED):
        ledger = EmbeddedLedger(Path(url.removeprefix(EMBEDDED)))
        if genesis is not None and ledger.genesis.digest != genesis:
            there = ledger.genesis.digest
            ledger.close()
            raise LedgerTamperedError(
                f"The log {url} has genesis {there}, and {genesis} was expected.",
                entry=0,
                rule="7.9",
                hint="Ask the creator for the address and the digest.",
            )
        return ledger
    if not is_web_url(url):
        raise ConfigError("That is not the address of a ledger.", hint=_LEDGER_HINT)
    from colearn.ledger.hosted import HostedLedger  # noqa: PLC0415  (needs its extra)

    shown = tls or Credentials()
    return HostedLedger(
        url,
        expected_genesis=genesis,
        ca_file=shown.ca_file,
        certfile=shown.certfile,
        keyfile=shown.keyfile,
    )


def open_store(
    invitation: Invitation,
    held: DirectoryStore,
    key: Key,
    ledger: Ledger,
    *,
    tls: Credentials | None = None,
    on_statement: Callable[[str, Statement], None] | None = None,
) -> HoldingStore:
    """Return the blobs of an experiment: those that are held here, and a way to the others.

    Args:
        invitation: Names the store.
        held: The folder of this member.
        key: Signs the requests.
        ledger: Read up to the experiment; its head goes into every request (7.9).
        tls: For HTTPS.
        on_statement: Hears the URL and how far its server says it has read the ledger (7.9).

    Raises:
        ConfigError: An address or a certificate cannot be used.
        MissingExtraError: It needs an extra that is not installed.
    """
    return HoldingStore(held, _remote(invitation, key, ledger, tls or Credentials(), on_statement))


def genesis_of(ledger: Ledger) -> str | None:
    """Return the digest of a log's genesis; None for a chain, which has none."""
    genesis = getattr(ledger, "genesis", None)
    return None if genesis is None else str(genesis.digest)


def drift_of(ledger: Ledger) -> int:
    """Return by how many seconds the clocks of a ledger's writers may differ (7.2)."""
    genesis = getattr(ledger, "genesis", None)
    return int(getattr(ledger if genesis is None else genesis, "drift_s", 0))


class FolderRemote(Remote):
    """Blobs in a folder that all members of one machine share, for trials."""

    def __init__(self, shared: DirectoryStore) -> None:
        """Take the folder that is shared."""
        self._shared = shared

    def fetch(self, digest: str, draft: Draft, max_bytes: int, until: float) -> None:
        """Copy a blob; nothing is waited for."""
        del until  # a file of this machine is there, or it is not
        data = self._shared.get(digest, max_bytes)
        draft.write(memoryview(data)[draft.offset :])
        draft.finish()

    def share(self, digest: str, held: DirectoryStore) -> None:
        """Copy a blob into the folder."""
        self._shared.put(held.get(digest, DEFAULT_LIMITS.proposal_bytes))


def _remote(
    invitation: Invitation,
    key: Key,
    ledger: Ledger,
    tls: Credentials,
    on_statement: Callable[[str, Statement], None] | None,
) -> Remote:
    store = invitation.store
    if store.startswith(DIRECTORY):
        return FolderRemote(DirectoryStore(store.removeprefix(DIRECTORY)))
    if store not in (HOSTED, PEERS):
        from colearn.store.objects import ObjectStore  # noqa: PLC0415  (needs its extra)

        return ObjectStore(store)

    domain = ledger.experiment(invitation.experiment).domain
    sender = Sender(key, domain, lambda: ledger.head)
    if store == HOSTED:
        from colearn.store.hosted import HostedRemote  # noqa: PLC0415

        url = invitation.ledger
        return HostedRemote(url, sender, tls, on_statement=on_statement)
    from colearn.store.peers import PeersRemote  # noqa: PLC0415

    return PeersRemote(invitation.peers, sender, tls, on_statement=on_statement)


def _require_same_contract(invited: str, own: str) -> None:
    from colearn.ledger.evm_url import parse_url  # noqa: PLC0415

    if not is_evm_url(invited):
        raise ConfigError("Only a contract can be asked through another node than the invitation's")
    if parse_url(own).contract != parse_url(invited).contract:
        raise ConfigError(
            "This address names another contract than the invitation.",
            hint="Keep 0xCONTRACT, and change what stands before it.",
        )
