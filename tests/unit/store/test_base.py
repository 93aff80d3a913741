import hashlib

import pytest

from colearn.errors import (
    BlobNotFoundError,
    BlobTooLargeError,
    ConfigError,
    DigestMismatchError,
    StoreError,
)
from colearn.store import BlobStore

BLOB = b"what was asked for"
DIGEST = hashlib.sha256(BLOB).hexdigest()


class Plugin(BlobStore):
    """A store by somebody else, which does what its test says."""

    def __init__(self, *, pieces=(), error=None, names=()):
        self.pieces, self.error, self.names = pieces, error, names
        self.taken = 0

    def _fail(self):
        if self.error:
            raise self.error

    def _put(self, digest, data):
        self._fail()

    def _fetch(self, digest, max_bytes):
        for piece in self.pieces:
            self.taken += 1
            yield piece
        self._fail()

    def _has(self, digest):
        self._fail()
        return []

    def _digests(self):
        yield from self.names
        self._fail()


class Code(bytes):
    pass


def test_pieces_are_put_together():
    plugin = Plugin(pieces=[BLOB[:5], b"", BLOB[5:]])
    assert plugin.get(DIGEST, len(BLOB)) == BLOB


@pytest.mark.parametrize("other", [b"", BLOB[:-1], BLOB + b"\0", b"W" + BLOB[1:]])
def test_bytes_with_another_digest_never_come_out(other):
    with pytest.raises(DigestMismatchError, match=DIGEST) as caught:
        Plugin(pieces=[other]).get(DIGEST, 1000)
    assert other.decode() not in str(caught.value) or not other


def test_an_endless_answer_is_cut_at_the_limit():
    def endless():
        while True:
            yield b"x" * 100

    plugin = Plugin(pieces=endless())
    with pytest.raises(BlobTooLargeError, match="may have 1000 bytes"):
        plugin.get(DIGEST, 1000)
    assert plugin.taken == 11


@pytest.mark.parametrize("piece", ["text", None, 5, bytearray(BLOB), memoryview(BLOB), Code(BLOB)])
def test_pieces_that_are_not_plain_bytes_are_refused(piece):
    with pytest.raises(StoreError, match="pieces of bytes"):
        Plugin(pieces=[piece]).get(DIGEST, 1000)


FOREIGN = [OSError("no route"), KeyError("x"), RuntimeError(), ConfigError("x"), RecursionError()]


@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: type(error).__name__)
def test_foreign_exceptions_become_store_errors(error):
    plugin = Plugin(error=error)
    for call in (
        lambda: plugin.put(BLOB),
        lambda: plugin.get(DIGEST, 1000),
        lambda: plugin.has(DIGEST),
        lambda: list(plugin.digests()),
    ):
        with pytest.raises(StoreError, match=f"Plugin could not .* {type(error).__name__}") as got:
            call()
        assert got.value.__cause__ is error


def test_the_text_of_a_foreign_exception_stays_in_the_cause():
    plugin = Plugin(error=OSError("https://user:password@host/"))
    with pytest.raises(StoreError) as caught:
        plugin.put(BLOB)
    assert "password" not in str(caught.value)


def test_an_adapters_own_store_errors_pass():
    with pytest.raises(BlobNotFoundError, match="gone"):
        Plugin(error=BlobNotFoundError("gone")).get(DIGEST, 1000)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_passes_through(error):
    with pytest.raises(error):
        Plugin(error=error()).put(BLOB)


def test_a_listing_gives_digests_alone_and_what_came_before_the_error():
    plugin = Plugin(names=[DIGEST, "../../etc/passwd"])
    listing = plugin.digests()
    assert next(listing) == DIGEST
    with pytest.raises(StoreError, match="64 lower-case"):
        next(listing)


def test_has_answers_with_a_boolean():
    assert Plugin().has(DIGEST) is False


def test_the_adapter_never_sees_what_is_no_digest():
    plugin = Plugin(error=AssertionError("called"))
    with pytest.raises(StoreError, match="64 lower-case"):
        plugin.get("../x", 10)
    with pytest.raises(StoreError, match="64 lower-case"):
        plugin.has("../x")
