"""An invitation: one link that says which experiment it is, and where its ledger and blobs are.

It holds no secret: who may join stands on the ledger (7.3). It names the genesis of the log and
the digests of the specification and of model 0 (6.1), so that nothing that is fetched with its
help has to be believed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from colearn.errors import ConfigError
from colearn.ledger.evm_url import is_evm_url, parse_url

__all__ = [
    "DIRECTORY",
    "EMBEDDED",
    "HOSTED",
    "LINK_BYTES_MAX",
    "PEERS",
    "Invitation",
    "is_web_url",
    "read_invitation",
]

LINK_BYTES_MAX = 4096
"""The longest invitation, in bytes."""

EMBEDDED = "embedded:"
"""Before the path of a ledger's file, for trials on one machine."""

DIRECTORY = "directory:"
"""Before the path of a folder of blobs, for trials on one machine."""

HOSTED = "hosted"
"""The store of the server that keeps the ledger."""

PEERS = "peers"
"""The members keep the blobs themselves, and fetch them from each other."""

_BEGINNING = "colearn://join?"
_PEER = "peer"
_FIELDS = ("ledger", "genesis", "experiment", "specification", "model", "store", _PEER)
_DIGEST = re.compile("[0-9a-f]{64}")
_NUMBER = re.compile("[1-9][0-9]{0,17}")
_BUCKET = re.compile(
    r"(?:s3|gs|az)://[a-z0-9][a-z0-9._-]{1,221}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._=+-]+)*"
)
_PEERS_MAX = 16
_URL_CHARACTERS_MAX = 1000
_PLAIN = ":/@+"
"""What is written as it is inside a value, so that addresses can be read."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """Which experiment, and where.

    Attributes:
        ledger: ``http(s)://...`` for a hosted ledger, ``evm+http(s)://.../0xCONTRACT`` for a
            contract, ``embedded:/PATH`` for a file of this machine.
        genesis: Digest of the log's genesis (7.9); None on a chain, which has none.
        experiment: Its number on the ledger.
        specification: Digest of the specification (6.1).
        model: Digest of model 0.
        store: ``hosted``, ``peers``, ``s3://BUCKET/FOLDER`` (or gs, az), or ``directory:/PATH``.
        peers: Addresses of members that serve blobs, for a start.

    Raises:
        ConfigError: A field is something else; names the field and never repeats an address,
            because what is pasted by mistake may hold a secret.
    """

    ledger: str
    genesis: str | None
    experiment: int
    specification: str
    model: str
    store: str
    peers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_ledger(self.ledger)
        on_chain = is_evm_url(self.ledger)
        if on_chain and self.genesis is not None:
            raise _fault("genesis", "must be left out: a chain has none")
        if not on_chain:
            _check_digest("genesis", self.genesis)
        if type(self.experiment) is not int or not _NUMBER.fullmatch(str(self.experiment)):
            raise _fault("experiment", "must be a number from 1")
        _check_digest("specification", self.specification)
        _check_digest("model", self.model)
        _check_store(self.store, self.ledger)
        if len(self.peers) > _PEERS_MAX:
            raise _fault("peer", f"may be there {_PEERS_MAX} times, got {len(self.peers)}")
        if len(set(self.peers)) != len(self.peers):
            raise _fault("peer", "is there twice with the same address")
        for peer in self.peers:
            if not is_web_url(peer):
                raise _fault("peer", "must be http://HOST:PORT or https://HOST, without a user")
        if len(self.to_link()) > LINK_BYTES_MAX:
            raise _fault("peer", f"makes the link longer than {LINK_BYTES_MAX} bytes")

    def to_link(self) -> str:
        """Return the invitation as a link; equal invitations have equal links."""
        values = [
            ("ledger", self.ledger),
            ("genesis", self.genesis or ""),
            ("experiment", str(self.experiment)),
            ("specification", self.specification),
            ("model", self.model),
            ("store", self.store),
            *(("peer", peer) for peer in self.peers),
        ]
        return _BEGINNING + "&".join(
            f"{name}={quote(value, safe=_PLAIN)}" for name, value in values if value
        )

    @property
    def is_local(self) -> bool:
        """Whether it holds on this machine alone."""
        return self.ledger.startswith(EMBEDDED)


def read_invitation(text: str) -> Invitation:
    """Read a link; it is somebody else's.

    Raises:
        ConfigError: It is no invitation, is longer than `LINK_BYTES_MAX`, or is not written in
            its one form; names the field.
    """
    link = text.strip()
    if len(link) > LINK_BYTES_MAX:
        raise ConfigError(
            f"An invitation has at most {LINK_BYTES_MAX} characters, got {len(link)}."
        )
    if not link.startswith(_BEGINNING):
        raise ConfigError(
            f"An invitation begins with {_BEGINNING}, and this text does not.",
            hint="Copy the whole link that `colearn create` printed, within quotation marks.",
        )
    fields = _fields(link[len(_BEGINNING) :])
    peers = tuple(value for name, value in fields if name == _PEER)
    single = {name: value for name, value in fields if name != _PEER}
    if len(single) + len(peers) != len(fields):
        twice = next(name for name, _ in fields if [each for each, _ in fields].count(name) > 1)
        raise _fault(twice, "is there twice")
    for name in ("ledger", "experiment", "specification", "model", "store"):
        if name not in single:
            raise _fault(name, "is missing")
    number = single.pop("experiment")
    if not _NUMBER.fullmatch(number):
        raise _fault("experiment", "must be a number from 1")
    invitation = Invitation(
        genesis=single.pop("genesis", None), experiment=int(number), peers=peers, **single
    )
    if invitation.to_link() != link:
        raise ConfigError(
            "The invitation is not written as `colearn create` writes it.",
            hint="Copy the link again; a program on the way may have changed it.",
        )
    return invitation


def is_web_url(text: str) -> bool:
    """Say whether a text is an http or https address of a server, with no user and no query."""
    if len(text) > _URL_CHARACTERS_MAX or not text.isascii() or not text.isprintable():
        return False
    try:
        parts = urlsplit(text)
        # Reading the port raises ValueError where it is none.
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port_fits
        and " " not in text
        and "@" not in parts.netloc
        and not any(mark in text for mark in "?#\\")
    )


def _fields(text: str) -> list[tuple[str, str]]:
    fields = []
    for part in text.split("&"):
        name, equals, value = part.partition("=")
        if name not in _FIELDS:
            raise ConfigError(
                f"An invitation has no field {name[:40]!r}.",
                hint="It may be of a newer version: pip install --upgrade colearn",
            )
        try:
            plain = unquote(value, errors="strict")
        except UnicodeDecodeError:
            plain = ""
        if not equals or not plain or not plain.isprintable():
            raise _fault(name, "is empty or no text")
        fields.append((name, plain))
    return fields


def _check_ledger(ledger: str) -> None:
    if is_evm_url(ledger):
        if parse_url(ledger).node.partition("://")[2].partition("/")[0].count("@"):
            raise _fault("ledger", "must hold no user and password: everybody can read a link")
    elif ledger.startswith(EMBEDDED):
        _check_path("ledger", ledger.removeprefix(EMBEDDED))
    elif not is_web_url(ledger):
        raise _fault(
            "ledger",
            "must be http(s)://HOST:PORT without a user, evm+http(s)://HOST:PORT/0xCONTRACT or "
            "embedded:/PATH",
        )


def _check_store(store: str, ledger: str) -> None:
    if store.startswith(DIRECTORY):
        _check_path("store", store.removeprefix(DIRECTORY))
    elif store == HOSTED:
        if not is_web_url(ledger):
            raise _fault("store", "can be `hosted` only with an http(s) ledger, whose server it is")
    elif store != PEERS and not _BUCKET.fullmatch(store):
        raise _fault("store", "must be hosted, peers, s3://BUCKET/FOLDER or directory:/PATH")


def _check_path(field: str, path: str) -> None:
    if not path.startswith("/") or not path.isprintable():
        raise _fault(field, "must name an absolute path after the colon")


def _check_digest(field: str, value: str | None) -> None:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise _fault(field, "must be a digest: 64 lower-case hexadecimal digits")


def _fault(field: str, what: str) -> ConfigError:
    return ConfigError(f"The invitation's field {field!r} {what}.")
