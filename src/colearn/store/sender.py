"""Who sends requests for blobs, and how servers and clients know each other under HTTPS (7.6)."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from colearn.core.bindings import Domain
from colearn.errors import ConfigError
from colearn.identity import Key

__all__ = ["Credentials", "Sender"]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends requests.

    Attributes:
        key: Signs them.
        domain: Of the ledger.
        head: Returns how far the sender has read the ledger: height and head. Threads call it.
        clock: Seconds since 1970.
    """

    key: Key
    domain: Domain
    head: Callable[[], tuple[int, str]]
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whom to trust for HTTPS, and what to show to servers that ask for a certificate.

    Attributes:
        ca_file: The only authority to trust, in PEM; None for the usual ones.
        certfile: The own certificate, for mutual TLS.
        keyfile: Its key, if it is not in `certfile`.
    """

    ca_file: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return them as TLS wants them.

        Raises:
            ConfigError: A file cannot be used.
        """
        try:
            return _context(self)
        except OSError as error:
            files = [str(each) for each in (self.ca_file, self.certfile, self.keyfile) if each]
            raise ConfigError(
                f"Cannot use the certificates in {', '.join(files)}: {error.strerror or error}.",
                hint="Give PEM files.",
            ) from error


@lru_cache(maxsize=8)
def _context(credentials: Credentials) -> ssl.SSLContext:
    """Return a context; the usual authorities take long to read, and peers are many."""
    context = ssl.create_default_context(cafile=credentials.ca_file)
    if credentials.certfile is not None:
        context.load_cert_chain(credentials.certfile, credentials.keyfile)
    return context
