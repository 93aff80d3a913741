"""What every blob store does, whatever is behind it (6.3, 6.4)."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.blob_servers import MEMBERS, Club, sender, serving_blobs
from tests.s3 import shared_server

from colearn.errors import BlobNotFoundError, BlobTooLargeError, ConfigError, StoreError
from colearn.store import BlobStore, DirectoryStore, HoldingStore, MemoryStore
from colearn.store.hosted import HostedRemote
from colearn.store.peers import PeersRemote
from colearn.store.quota import Quota

ADAPTERS = {
    "memory": lambda folder: MemoryStore(),
    "directory": lambda folder: DirectoryStore(folder / "blobs"),
    "directory with fsync": lambda folder: DirectoryStore(folder / "blobs", fsync=True),
    "a bucket of an S3 server": lambda folder: shared_server().store(),
}
ABSENT = hashlib.sha256(b"nobody stored this").hexdigest()
LIMIT = 2**20

HOSTILE_DIGESTS = [
    "",
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    ABSENT.upper(),
    ABSENT[:-1],
    ABSENT + "0",
    ABSENT + "\n",
    " " + ABSENT,
    "0x" + ABSENT[2:],
    "../" + ABSENT[3:],
    ABSENT[:60] + "/../",
    ABSENT[:63] + "\0",
    ABSENT[:63] + "g",
    "٣" * 64,
    "*" * 64,
    "x" * 1_000_000,
    None,
    7,
    ABSENT.encode(),
    ["a"] * 64,
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real server that is given all blobs."""
    folder = tmp_path_factory.mktemp("server")
    with serving_blobs(folder, quota=lambda store: Quota(store, 2**30, 2**30)) as (url, _):
        remote = HostedRemote(url, sender())
        yield remote
        remote.close()


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """Two real peers that have nothing."""
    with ExitStack() as stack:
        urls = []
        for key in MEMBERS[1:3]:
            folder = tmp_path_factory.mktemp("peer")
            urls.append(stack.enter_context(serving_blobs(folder, Club(), key=key))[0])
        remote = PeersRemote(urls, sender())
        yield remote
        remote.close()


REMOTE = {"hosted": "server", "among peers": "peers"}
"""Blobs here and elsewhere; the fixture that is the other place."""


@pytest.fixture(params=[*ADAPTERS, *REMOTE])
def store(request, tmp_path):
    if request.param in ADAPTERS:
        return ADAPTERS[request.param](tmp_path)
    remote = request.getfixturevalue(REMOTE[request.param])
    return HoldingStore(DirectoryStore(tmp_path / "blobs"), remote)


def test_what_was_put_can_be_got(store):
    digest = store.put(b"some weights")
    assert digest == hashlib.sha256(b"some weights").hexdigest()
    assert store.has(digest)
    assert store.get(digest, LIMIT) == b"some weights"


def test_it_is_a_blob_store(store):
    assert isinstance(store, BlobStore)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=8))
def test_any_bytes_come_back_under_their_digest(store, blobs):
    digests = [store.put(blob) for blob in blobs]
    for digest, blob in zip(digests, blobs, strict=True):
        assert digest == hashlib.sha256(blob).hexdigest()
        assert store.get(digest, len(blob)) == blob
    assert set(digests) <= set(store.digests())


def test_the_empty_blob_is_a_blob(store):
    digest = store.put(b"")
    assert store.get(digest, 0) == b""
    assert store.has(digest)


def test_a_store_begins_empty(store):
    assert list(store.digests()) == []
    assert not store.has(ABSENT)


def test_putting_the_same_blob_again_changes_nothing(store):
    first = store.put(b"same")
    assert store.put(b"same") == first
    assert list(store.digests()) == [first]
    assert store.get(first, LIMIT) == b"same"


def test_every_digest_is_listed_once(store):
    digests = {store.put(bytes((number,)) * number) for number in range(50)}
    listed = list(store.digests())
    assert set(listed) == digests
    assert len(listed) == len(digests)


def test_what_nobody_put_is_not_found(store):
    store.put(b"something else")
    with pytest.raises(BlobNotFoundError, match=ABSENT):
        store.get(ABSENT, LIMIT)
    assert not store.has(ABSENT)


def test_a_blob_may_have_exactly_the_limit_and_no_byte_more(store):
    digest = store.put(b"x" * 1000)
    assert len(store.get(digest, 1000)) == 1000
    for limit in (999, 1, 0):
        with pytest.raises(BlobTooLargeError, match=str(limit)):
            store.get(digest, limit)
    assert store.has(digest)


@pytest.mark.parametrize("limit", [-1, None, 1.5, True, "10"])
def test_a_limit_is_a_whole_number(store, limit):
    digest = store.put(b"x")
    with pytest.raises(ConfigError, match="max_bytes"):
        store.get(digest, limit)


@pytest.mark.parametrize("digest", HOSTILE_DIGESTS, ids=lambda digest: repr(digest)[:20])
def test_a_text_that_is_no_digest_is_refused(store, digest):
    store.put(b"something")
    with pytest.raises(StoreError, match="64 lower-case") as caught:
        store.get(digest, LIMIT)
    assert len(str(caught.value)) < 300
    with pytest.raises(StoreError, match="64 lower-case"):
        store.has(digest)


@pytest.mark.parametrize("data", ["text", None, bytearray(b"x"), memoryview(b"x"), 5])
def test_a_blob_is_bytes(store, data):
    with pytest.raises(StoreError, match="must be bytes"):
        store.put(data)
    assert list(store.digests()) == []


def test_many_threads_put_and_get_the_same_blobs(store):
    seed = 7
    blobs = [random.Random(seed + number).randbytes(5000) for number in range(8)]
    together = Barrier(8)

    def work(number):
        order = random.Random(number).sample(blobs, len(blobs))
        together.wait(30)
        for _ in range(5):
            for blob in order:
                digest = store.put(blob)
                assert store.has(digest)
                assert store.get(digest, LIMIT) == blob
                assert digest in set(store.digests())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(list(store.digests())) == len(blobs)


def test_a_walk_survives_blobs_that_are_put_meanwhile(store):
    first = {store.put(bytes((number,))) for number in range(20)}
    seen = set()
    for number, digest in enumerate(store.digests()):
        store.put(b"later" + bytes((number,)))
        seen.add(digest)
    assert first <= seen
