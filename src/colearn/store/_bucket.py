"""A bucket of an object store, as far as blobs need one: S3, Google and Azure through obstore.

Credentials come from the environment and never pass through here. Errors are told in our own
words, because the text of a server's answer may repeat what was sent to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from colearn.errors import (
    ConfigError,
    MissingExtraError,
    PeerTimeoutError,
    PeerUnreachableError,
    StoreError,
)
from colearn.store._bucket_address import Address, Settings

try:
    from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError
    from obstore.store import AzureStore, GCSStore, S3Store
except ImportError as error:
    raise MissingExtraError("obstore", extra="s3") from error

__all__ = ["PART_BYTES", "Bucket", "Reading"]

PART_BYTES = 8 * 2**20
"""Bytes of one request: a larger blob travels in parts of this size."""

_PARTS_AT_ONCE = 2
"""They share the line, and each has to be through before the server counts as silent."""

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(
    # Known ones alone: a server may answer with what it was sent.
    "<Code>(AccessDenied|AllAccessDisabled|AuthenticationFailed|AuthorizationFailure|"
    "AuthorizationHeaderMalformed|AuthorizationPermissionMismatch|ExpiredToken|InsufficientAccount"
    "Permissions|InvalidAccessKeyId|InvalidAuthenticationInfo|InvalidToken|RequestTimeTooSkewed|"
    "SignatureDoesNotMatch|BucketAlreadyExists|ContainerNotFound|NoSuchBucket|InvalidRequest|"
    "EntityTooLarge|InternalError|NotImplemented|QuotaExceeded|ServerBusy|ServiceUnavailable|"
    "SlowDown|XMinioStorageFull)</Code>"
)
_SILENT = re.compile(r"TimedOut|kind: Timeout\b")
_UNREACHABLE = re.compile(r"kind: Connect\b")
_INSTANCE = re.compile(
    r"https?://[^/\s]+/(latest/(api/token|meta-data)|computeMetadata/|metadata/identity)"
)

_ENVIRONMENT = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN too, if yours has one)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, the path of the key file of a service account",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}

_ALLOW_HTTP = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}


class Reading(NamedTuple):
    """An object that is being read: its size by the server's word, and its bytes as they come."""

    size: int
    pieces: Iterator[bytes]


class Bucket:
    """Objects under names, in one folder of a bucket.

    Every method raises StoreErrors alone: PeerUnreachableError when the server cannot be reached or
    fails, PeerTimeoutError when it is silent. Threads may share a bucket.
    """

    def __init__(self, address: Address, settings: Settings) -> None:
        """Prepare to speak to a bucket; nothing is sent yet.

        Raises:
            ConfigError: A setting is wrong, here or in the environment.
        """
        settings.check(address.scheme)
        self._address, self._settings = address, settings
        self._conditional = True
        self._known_to_exist = False
        try:
            self._client = _client(address, settings)
        except Exception:  # noqa: BLE001  (whatever it is; its text may repeat a credential)
            failed = True
        else:
            failed = False
        if failed:
            raise ConfigError(
                f"The settings of the environment for {address} make no sense.",
                hint=f"Look at {_ENVIRONMENT[address.scheme]}.",
            )

    def create(self, name: str, data: bytes) -> bool:
        """Store an object of at most `PART_BYTES`, unless there is one; say whether it was stored.

        Where the server knows no such condition it is asked first, and then two that store at the
        same time both do.
        """
        if self._conditional:
            with self._reported():
                try:
                    self._client.put(name, data, mode="create", use_multipart=False)
                except AlreadyExistsError:
                    return False
                except Exception as error:
                    if not _is_unknown_condition(error):
                        raise
                else:
                    return True
        if self.size(name) is not None:
            return False
        self.overwrite(name, data)
        self._conditional = False
        return True

    def overwrite(self, name: str, data: bytes) -> None:
        """Store an object, whatever was there; in parts of `PART_BYTES`, and whole or not at all.

        The bytes are not copied.
        """
        with self._reported():
            self._client.put(
                name, memoryview(data), chunk_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE
            )

    def upload(self, name: str, pieces: Iterable[bytes]) -> None:
        """Store an object from pieces, whatever was there; nothing is there if `pieces` raises.

        Two parts of `PART_BYTES` are in memory at once.
        """
        with self._reported():
            self._client.put(
                name,
                iter(pieces),
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

    def size(self, name: str) -> int | None:
        """Return how many bytes an object has; None if there is none."""
        with self._reported():
            try:
                return int(self._client.head(name)["size"])
            except FileNotFoundError:
                pass
        self._check_that_it_exists()
        return None

    def read(self, name: str, start: int = 0) -> Reading | None:
        """Begin to read an object at a byte; None if there is none.

        What is at or behind its end has no bytes.
        """
        options: dict[str, Any] = {}
        if start:
            size = self.size(name)
            if size is None or start >= size:
                return None if size is None else Reading(size, iter(()))
            options = {"range": {"offset": start}}
        with self._reported():
            try:
                result = self._client.get(name, options=options or None)  # type: ignore[arg-type]
            except FileNotFoundError:
                result = None
            if result is not None:
                # Each piece as it comes: collecting a large one would hide how slow they are.
                stream = result.stream(min_chunk_size=1)
                return Reading(int(result.meta["size"]), self._pieces(stream))
        self._check_that_it_exists()
        return None

    def names(self) -> Iterator[str]:
        """Yield the name of every object in the folder, page by page."""
        with self._reported():
            pages = iter(self._client.list(chunk_size=1000))
        while True:
            with self._reported():
                page = next(pages, None)
            if page is None:
                return
            for found in page:
                yield found["path"]

    def _pieces(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        while True:
            with self._reported():
                piece = next(stream, None)
            if piece is None:
                return
            yield piece

    def _check_that_it_exists(self) -> None:
        """Raise if what is missing is the bucket and not the object: both answers are 404."""
        if self._known_to_exist:
            return
        with self._reported():
            try:
                next(iter(self._client.list(chunk_size=1)), None)
            except Exception as error:
                # Who may read objects need not be allowed to list them.
                if _status(error) not in (401, 403):
                    raise
        self._known_to_exist = True

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  (all of them are told in our own words)
            # Not chained: a server may have put into its answer what was sent to it.
            raise self._in_our_words(error) from None

    def _in_our_words(self, error: Exception) -> StoreError:
        text = str(error)
        status, code = _status(error), _CODE.search(text)
        said = f"{status} {code[1]}" if code else str(status)
        if _INSTANCE.search(text):
            return StoreError(
                f"There are no credentials for {self._address}.",
                hint=f"Set in the environment: {_ENVIRONMENT[self._address.scheme]}.",
            )
        if status in (401, 403):
            return StoreError(
                f"{self._address} does not admit these credentials: {said}.",
                hint="Check what the environment has, and the rights of that account: "
                f"{_ENVIRONMENT[self._address.scheme]}.",
            )
        if status == 404 or isinstance(error, FileNotFoundError):
            return StoreError(
                f"There is no bucket {self._address.bucket!r} for {self._address}.",
                hint="Create it, or correct the address, the endpoint or the region.",
            )
        if status is not None:
            kind = PeerUnreachableError if status >= 500 else StoreError
            return kind(f"The server of {self._address} answered {said}.", hint=_hint(status))
        return self._without_answer(error, text)

    def _without_answer(self, error: Exception, text: str) -> StoreError:
        if "BadScheme" in text:
            return StoreError(
                f"The endpoint for {self._address} is not encrypted.",
                hint="Use https, or where the network is your own allow_http=True or "
                f"{_ALLOW_HTTP[self._address.scheme]}=true in the environment.",
            )
        if _SILENT.search(text):
            return PeerTimeoutError(
                f"The server of {self._address} was silent for {self._settings.timeout_s:g} s."
            )
        if _UNREACHABLE.search(text):
            return PeerUnreachableError(
                f"The server of {self._address} cannot be reached.",
                hint="Check the network, the endpoint and its certificate.",
            )
        if "redirect" in text:
            return StoreError(f"The server of {self._address} sends us elsewhere.", hint=_hint(301))
        if isinstance(error, BaseError):
            return PeerUnreachableError(
                f"The server of {self._address} broke off, or does not answer as such a store does."
            )
        return StoreError(f"{self._address} failed: {type(error).__name__}.")


def _client(address: Address, settings: Settings) -> S3Store | GCSStore | AzureStore:
    silence = timedelta(seconds=settings.timeout_s)
    shared: dict[str, Any] = {
        "prefix": address.prefix or None,
        "client_options": {
            "allow_http": _may_go_unencrypted(address, settings),
            "connect_timeout": min(silence, timedelta(seconds=10)),
            "read_timeout": silence,
            # For a request as a whole, however large; who reads looks at the clock.
            "timeout": timedelta(hours=1),
        },
        "retry_config": {
            "max_retries": settings.retries,
            "retry_timeout": silence,
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
    }
    own: dict[str, Any] = {}
    if address.scheme == "s3":
        if settings.endpoint is not None:
            # Two settings of the environment would win over one of them each.
            own |= {"endpoint": settings.endpoint, "aws_endpoint_url_s3": settings.endpoint}
        if settings.region is not None:
            own["region"] = settings.region
        return S3Store(address.bucket, **shared, **own)
    if address.scheme == "gs":
        own = {} if settings.endpoint is None else {"base_url": settings.endpoint}
        return GCSStore(address.bucket, **shared, **own)
    own = {} if settings.endpoint is None else {"endpoint": settings.endpoint}
    return AzureStore(address.bucket, **shared, **own)


def _may_go_unencrypted(address: Address, settings: Settings) -> bool:
    if settings.allow_http is not None:
        return settings.allow_http
    # Options of the client hide from obstore what the environment says about them.
    return os.environ.get(_ALLOW_HTTP[address.scheme], "").lower() in ("true", "1", "yes", "on")


def _hint(status: int) -> str:
    return "Check the region and the endpoint." if status in (301, 307, 400) else ""


def _status(error: Exception) -> int | None:
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def _is_unknown_condition(error: Exception) -> bool:
    return isinstance(error, NotSupportedError) or _status(error) in (400, 405, 501)
