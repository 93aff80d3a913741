"""What a node's ``node.toml`` says (6.1): its invitation, its key's file, its own choices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from colearn.errors import ConfigError
from colearn.experiment.toml import key_of, read_toml
from colearn.network.invitation import is_web_url

__all__ = ["NAME_PATTERN", "NodeSettings"]

NAME_PATTERN = r"^[A-Za-z0-9][\w.-]{0,63}$"

_FILE_BYTES_MAX = 2**18
_LISTEN = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}")


class NodeSettings(BaseModel):
    """What ``node.toml`` holds; no secret is among it.

    Attributes:
        name: What the node is called, in its own logs and observations.
        invitation: The link.
        key: The key file.
        address: Of the key.
        seed: Decides what the learner draws, where it has rows of its own.
        share: Which part of the experiment's own split it has, from 1; None for its own rows.
        overrides: KEY=VALUE, in place of what the specification says.
        search: The folder whose modules may be named.
        listen: HOST:PORT to serve blobs and health at.
        public_url: Under which the others reach that.
        tls_cert: A certificate chain in PEM.
        tls_key: Its key.
        client_ca: The authority whose certificates clients must show.
        ca_file: The only authority to trust for HTTPS; None for the usual ones.
        node_url: The contract's address through a node of one's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["colearn-node-1"] = "colearn-node-1"
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    invitation: str
    key: Path
    address: Annotated[str, Field(pattern="^0x[0-9a-f]{40}$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    share: Annotated[int, Field(ge=1, le=10_000)] | None = None
    overrides: tuple[str, ...] = ()
    search: Path | None = None
    listen: str | None = None
    public_url: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    ca_file: Path | None = None
    node_url: str | None = None

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        if value is not None and not _LISTEN.fullmatch(value):
            raise ValueError("it is HOST:PORT, with an IPv6 address in brackets")
        return value

    @field_validator("public_url")
    @classmethod
    def _web_url(cls, value: str | None) -> str | None:
        if value is not None and not is_web_url(value):
            raise ValueError("it is http://HOST:PORT or https://HOST")
        return value

    @staticmethod
    def of(**values: Any) -> NodeSettings:
        """Check settings.

        Raises:
            ConfigError: One does not fit; names it.
        """
        try:
            return NodeSettings.model_validate(values)
        except ValidationError as error:
            fault = error.errors()[0]
            raise ConfigError(f"[{key_of(fault['loc'])}] of a node: {fault['msg']}.") from error

    @staticmethod
    def read(file: Path) -> NodeSettings:
        """Read a node.toml.

        Raises:
            ConfigError: It cannot be read, or is not understood; names the key.
        """
        document = read_toml(file, _FILE_BYTES_MAX)
        try:
            return NodeSettings.of(**document)
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from error

    def to_toml(self) -> str:
        """Return the settings as a file that `read` reads back equal."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
