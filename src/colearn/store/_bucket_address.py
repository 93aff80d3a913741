"""Where a bucket is and how to speak to it: checked before anything is sent.

Neither address is ever repeated in an error, because people write passwords into addresses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import SplitResult, urlsplit

from colearn.errors import ConfigError

__all__ = ["Address", "Settings"]

_ADDRESS = re.compile(
    r"(s3|gs|az)://([a-z0-9][a-z0-9._-]{1,221})((?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._=+-]+)*)/?",
)
_ELSEWHERE = "Credentials do not belong into it: they are read from the environment."


@dataclass(frozen=True)
class Address:
    """Where blobs are: the kind of store, its bucket (Azure: container), and a folder in it."""

    scheme: str
    bucket: str
    prefix: str

    @classmethod
    def read(cls, url: str) -> Self:
        """Take an address apart, such as ``s3://bucket/folder``.

        Raises:
            ConfigError: It is none. The text is not repeated: it may hold a password.
        """
        match = _ADDRESS.fullmatch(url) if isinstance(url, str) else None
        if match is None:
            raise ConfigError(
                "An object store has an address like s3://bucket/folder, gs://bucket/folder or "
                "az://container/folder, of letters, digits and . _ = + - alone; this one has not.",
                hint=_ELSEWHERE,
            )
        scheme, bucket, prefix = match.groups()
        return cls(scheme, bucket, prefix.strip("/"))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


@dataclass(frozen=True)
class Settings:
    """How to speak to a bucket.

    Attributes:
        endpoint: Address of the server; None for the provider's own.
        region: Of the bucket, for S3; None for the environment's.
        allow_http: Whether requests may go unencrypted; None for what the environment says.
        timeout_s: The longest silence, in seconds.
        retries: How often a request is sent again.
    """

    endpoint: str | None = None
    region: str | None = None
    allow_http: bool | None = None
    timeout_s: float = 60.0
    retries: int = 3

    def check(self, scheme: str) -> None:
        """Refuse settings that cannot work.

        Raises:
            ConfigError: One of them is wrong; the text names it.
        """
        if not isinstance(self.allow_http, bool | None):
            raise ConfigError(f"allow_http must be True, False or None, got {self.allow_http!r}.")
        if self.endpoint is not None:
            _check_endpoint(self.endpoint, allow_http=bool(self.allow_http))
        if self.region is not None and scheme != "s3":
            raise ConfigError(f"A region belongs to s3:// alone, and this is {scheme}://.")
        if not isinstance(self.timeout_s, int | float) or not 0 < self.timeout_s <= 86_400:
            raise ConfigError(
                f"timeout_s must be a number of seconds above 0, at most a day, "
                f"got {self.timeout_s!r}."
            )
        if type(self.retries) is not int or not 0 <= self.retries <= 100:
            raise ConfigError(f"retries must be a whole number up to 100, got {self.retries!r}.")


def _check_endpoint(endpoint: str, *, allow_http: bool) -> None:
    parts = _split(endpoint)
    if (
        parts is None
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ConfigError(
            "An endpoint is an address like https://s3.example.org:9000, without a user; "
            "this one is not.",
            hint=_ELSEWHERE,
        )
    if parts.scheme == "http" and not allow_http:
        raise ConfigError(
            "The endpoint is not encrypted (http).",
            hint="Use https, or allow_http=True where the network is your own.",
        )


def _split(endpoint: str) -> SplitResult | None:
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
    except (ValueError, TypeError, AttributeError):
        return None
    return parts if isinstance(endpoint, str) and endpoint.isprintable() else None
