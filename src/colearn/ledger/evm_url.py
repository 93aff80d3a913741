"""Where a contract is: the address of a node of its chain, and of the contract there."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit, urlunsplit

from colearn.crypto import checksum_address, parse_address
from colearn.errors import ConfigError

__all__ = ["EvmPlace", "is_evm_url", "parse_node_url", "parse_url"]

_PREFIX = "evm+"
_URL_CHARACTERS_MAX = 2000
_CONTRACT = re.compile("(0x[0-9a-fA-F]*)(?:@([0-9]{1,15}))?")
_HINT = (
    "Write evm+http://HOST:PORT/0xCONTRACT or evm+https://HOST/PATH/0xCONTRACT; after the contract "
    "@BLOCK may say in which block it was deployed."
)


class EvmPlace(NamedTuple):
    """A contract on a chain.

    Attributes:
        node: The http(s) address of the node. Its path, its query and its user may be secrets of
            the user's (keys of a provider), so it stands in no error.
        contract: The contract's address, lower-case.
        start: The block in which it was deployed; None for not known.
    """

    node: str
    contract: str
    start: int | None

    def __str__(self) -> str:
        """Return the place as it may be shown: without what may be a secret."""
        parts = urlsplit(self.node)
        path = "/..." if parts.path.strip("/") or parts.query else ""
        start = "" if self.start is None else f"@{self.start}"
        return f"{_PREFIX}{host_of(self.node)}{path}/{checksum_address(self.contract)}{start}"


def is_evm_url(text: str) -> bool:
    """Say whether a text means a contract on a chain, well written or not."""
    return text.startswith(_PREFIX)


def parse_url(text: str) -> EvmPlace:
    """Read ``evm+http://HOST:PORT/0xCONTRACT``, with or without ``@BLOCK``.

    Raises:
        ConfigError: It is something else; the text is not repeated, because a provider's
            addresses hold keys.
    """
    parts = _split(text)
    path, _, last = parts.path.rpartition("/")
    found = _CONTRACT.fullmatch(last)
    if found is None:
        raise ConfigError("The address of a chain ends with no contract.", hint=_HINT)
    contract = parse_address(found[1])
    start = None if found[2] is None else int(found[2])
    return EvmPlace(urlunsplit(parts._replace(path=path)), contract, start)


def parse_node_url(text: str) -> str:
    """Read ``evm+http://HOST:PORT``, where nothing is deployed yet; return the node's address.

    Raises:
        ConfigError: It is something else, or names a contract.
    """
    parts = _split(text)
    if _CONTRACT.fullmatch(parts.path.rpartition("/")[2]):
        raise ConfigError(
            "This address names a contract already.", hint="Write evm+http://HOST:PORT."
        )
    return urlunsplit(parts)


def host_of(node: str) -> str:
    """Return scheme, host and port of a node's address: what may be shown of it."""
    parts = urlsplit(node)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{parts.port}" if parts.port else "")


def _split(text: str) -> SplitResult:
    """Take the prefix off, and look at what every address of a node has."""
    try:
        parts = urlsplit(text.removeprefix(_PREFIX))
        # Reading the port raises ValueError where it is none.
        whole = parts.hostname is not None and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    fits = is_evm_url(text) and len(text) <= _URL_CHARACTERS_MAX and text.isprintable()
    if not fits or not whole or parts.scheme not in ("http", "https") or parts.fragment:
        raise ConfigError("That is not the address of a contract on a chain.", hint=_HINT)
    return parts
