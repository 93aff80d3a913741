import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from colearn.errors import (
    BlobNotFoundError,
    BlobTooLargeError,
    ConfigError,
    PeerTimeoutError,
    PeerUnreachableError,
    StoreError,
)
from colearn.store import DirectoryStore, HoldingStore, Remote

BLOB = b"some weights" * 1000
DIGEST = hashlib.sha256(BLOB).hexdigest()
LIMIT = 2**20


class Cellar(Remote):
    """Where blobs are under their digest; counts what it is asked."""

    def __init__(self):
        self.blobs = {}
        self.fetched = []
        self.gate = Event()
        self.gate.set()
        self.closed = False

    def fetch(self, digest, draft, max_bytes, until):
        self.fetched.append((digest, draft.offset))
        assert self.gate.wait(30)
        if digest not in self.blobs:
            raise BlobNotFoundError("nobody has it")
        draft.write(self.blobs[digest][draft.offset :])
        draft.finish()

    def share(self, digest, held):
        self.blobs[digest] = held.get(digest, LIMIT)

    def close(self):
        self.closed = True


@pytest.fixture
def cellar():
    return Cellar()


@pytest.fixture
def store(cellar, tmp_path):
    return HoldingStore(DirectoryStore(tmp_path / "blobs"), cellar)


def test_what_is_put_is_held_and_shared(store, cellar):
    assert store.put(BLOB) == DIGEST
    assert cellar.blobs == {DIGEST: BLOB}
    assert store.held.get(DIGEST, LIMIT) == BLOB


def test_what_others_have_is_brought_once(store, cellar):
    cellar.blobs[DIGEST] = BLOB
    assert not store.has(DIGEST)
    store.bring(DIGEST, LIMIT)
    assert store.has(DIGEST)
    store.bring(DIGEST, LIMIT)
    assert store.get(DIGEST, LIMIT) == BLOB
    assert cellar.fetched == [(DIGEST, 0)]


def test_a_get_brings_what_is_not_here(store, cellar):
    cellar.blobs[DIGEST] = BLOB
    assert store.get(DIGEST, LIMIT) == BLOB
    with pytest.raises(BlobTooLargeError):
        store.get(DIGEST, 10)


def test_it_goes_on_where_it_broke_off(store, cellar):
    class Breaking(Cellar):
        def fetch(self, digest, draft, max_bytes, until):
            draft.write(BLOB[:5000])
            raise PeerUnreachableError("broken off")

    with pytest.raises(PeerUnreachableError):
        HoldingStore(store.held, Breaking()).bring(DIGEST, LIMIT)
    cellar.blobs[DIGEST] = BLOB
    store.bring(DIGEST, LIMIT)
    assert cellar.fetched == [(DIGEST, 5000)]


def test_threads_that_want_the_same_blob_bring_it_once(store, cellar):
    cellar.blobs[DIGEST] = BLOB
    cellar.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        wanting = [pool.submit(store.get, DIGEST, LIMIT) for _ in range(8)]
        while not cellar.fetched:
            time.sleep(0.01)
        cellar.gate.set()
        assert [each.result(30) for each in wanting] == [BLOB] * 8
    assert len(cellar.fetched) == 1


def test_who_waits_for_anothers_fetch_waits_no_longer_than_it_may(store, cellar):
    cellar.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(store.bring, DIGEST, LIMIT)
        while not cellar.fetched:
            time.sleep(0.01)
        with pytest.raises(PeerTimeoutError, match=DIGEST):
            store.bring(DIGEST, LIMIT, timeout_s=0.05)
        cellar.gate.set()
        with pytest.raises(BlobNotFoundError):
            first.result(30)


def test_sharing_what_is_not_here_is_an_error(store):
    with pytest.raises(BlobNotFoundError, match=DIGEST):
        store.share(DIGEST)


def test_a_remote_that_says_it_is_done_and_is_not_is_named(store):
    class Lazy(Cellar):
        def fetch(self, digest, draft, max_bytes, until):
            draft.write(b"half")

    with pytest.raises(StoreError, match="Lazy"):
        HoldingStore(store.held, Lazy()).bring(DIGEST, LIMIT)


def test_whatever_a_remote_raises_is_a_store_error(store):
    class Broken(Cellar):
        def fetch(self, digest, draft, max_bytes, until):
            raise ZeroDivisionError

    with pytest.raises(StoreError, match="ZeroDivisionError"):
        HoldingStore(store.held, Broken()).bring(DIGEST, LIMIT)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), "10", None])
def test_a_timeout_is_a_number_of_seconds(store, timeout_s):
    with pytest.raises(ConfigError, match="timeout"):
        HoldingStore(store.held, store.remote, timeout_s=timeout_s)


def test_closing_closes_the_remote(store, cellar):
    store.close()
    assert cellar.closed
