"""A store in a bucket on a real S3 server: what goes wrong there, and what must not."""

import hashlib
import random
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest
from tests.s3 import BUCKET, KEY, SECRET, credentials, s3_server, shared_server

from colearn.errors import (
    BlobNotFoundError,
    BlobTooLargeError,
    DigestMismatchError,
    PeerTimeoutError,
    PeerUnreachableError,
    StoreError,
)
from colearn.store import DirectoryStore, HoldingStore

MIB = 2**20
SEED = 11


@pytest.fixture
def server():
    return shared_server()


def large(seed=SEED, size=20 * MIB + 17):
    """A blob that travels in parts."""
    return random.Random(seed).randbytes(size)


def digest_of(blob):
    return hashlib.sha256(blob).hexdigest()


def test_a_blob_is_one_object_named_by_its_digest(server):
    digest = server.store("named").put(b"some weights")
    assert server.file(f"{BUCKET}/named/{digest}") == b"some weights"


def test_a_bucket_without_a_folder_is_a_store(server):
    store = server.store("", bucket="whole")
    server.make_bucket("whole")
    digest = store.put(b"some weights")
    assert server.file(f"whole/{digest}") == b"some weights"
    assert list(store.digests()) == [digest]


def test_a_large_blob_travels_in_parts_and_comes_back(server):
    store, blob = server.store(), large()
    digest = store.put(blob)
    assert store.get(digest, len(blob)) == blob
    assert store.put(blob) == digest
    with pytest.raises(BlobTooLargeError, match=str(len(blob))):
        store.get(digest, len(blob) - 1)
    assert server.uploads() == 0


@pytest.mark.parametrize("blob", [b"some weights", large()], ids=["small", "large"])
@pytest.mark.parametrize("wrong", [b"", b"forged", None], ids=["empty", "shorter", "as long"])
def test_wrong_bytes_under_a_digest_are_refused_and_replaced(server, blob, wrong):
    store, digest = server.store("forged"), digest_of(blob)
    wrong = b"\xff" + blob[1:] if wrong is None else wrong
    server.plant(f"{BUCKET}/forged/{digest}", wrong)
    with pytest.raises(DigestMismatchError, match=digest):
        store.get(digest, len(blob))
    assert store.put(blob) == digest
    assert store.get(digest, len(blob)) == blob
    server.delete(f"{BUCKET}/forged/{digest}")


def test_more_digests_than_fit_on_a_page_are_listed_once_each(server):
    store = server.store()
    blobs = [str(number).encode() for number in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(store.put, blobs))
    listed = list(store.digests())
    assert len(listed) == len(blobs)
    assert set(listed) == set(digests)


def test_other_objects_are_no_blobs(server):
    store, digest = server.store("others"), digest_of(b"x")
    for name in ("README", digest + ".bak", f"below/{digest}", digest.upper()):
        server.plant(f"{BUCKET}/others/{name}", b"x")
    assert list(store.digests()) == []
    assert not store.has(digest)
    with pytest.raises(BlobNotFoundError, match=digest):
        store.get(digest, 10)


def test_folders_do_not_see_each_other(server):
    first, second = server.store("a"), server.store("ab")
    digest = first.put(b"mine")
    assert not second.has(digest)
    assert list(second.digests()) == []


@pytest.mark.parametrize("blob", [b"some weights", large()], ids=["small", "large"])
def test_writers_of_the_same_blob_at_once_do_not_disturb_each_other(server, blob):
    folder = f"race{len(blob)}"
    stores = [server.store(folder) for _ in range(4)]
    together = Barrier(4)

    def write(store):
        together.wait(30)
        digest = store.put(blob)
        assert store.get(digest, len(blob)) == blob
        return digest

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(write, stores)) == {digest_of(blob)}
    assert list(stores[0].digests()) == [digest_of(blob)]
    assert server.uploads() == 0


# What the server does not admit


@pytest.mark.parametrize("wrong", [{"secret": "hunter2"}, {"key": "nobody", "secret": "hunter2"}])
def test_wrong_credentials_are_told_and_not_shown(server, wrong):
    from colearn.store.objects import ObjectStore

    with credentials(**wrong):
        store = ObjectStore(f"s3://{BUCKET}/x", endpoint=server.endpoint, allow_http=True)
    for call in (
        lambda: store.put(b"x"),
        lambda: store.put(large()),
        lambda: store.get(digest_of(b"x"), 10),
        lambda: store.has(digest_of(b"x")),
        lambda: list(store.digests()),
    ):
        with pytest.raises(StoreError, match="403.*AWS_ACCESS_KEY_ID") as caught:
            call()
        told = "".join(traceback.format_exception(caught.value)) + repr(store)
        assert not [secret for secret in ("hunter2", "nobody", KEY, SECRET) if secret in told]


def test_a_missing_bucket_is_told_by_every_call(server, tmp_path):
    for call in (
        lambda store: store.put(b"x"),
        lambda store: store.put(large()),
        lambda store: store.get(digest_of(b"x"), 10),
        lambda store: store.has(digest_of(b"x")),
        lambda store: list(store.digests()),
        lambda store: HoldingStore(DirectoryStore(tmp_path), store).bring(digest_of(b"x"), 10),
    ):
        with pytest.raises(StoreError, match="no bucket 'nowhere'") as caught:
            call(server.store(bucket="nowhere"))
        assert not isinstance(caught.value, BlobNotFoundError)


# Beside a folder of one's own


def test_what_one_shares_another_brings(server, tmp_path):
    one = HoldingStore(DirectoryStore(tmp_path / "one"), server.store("group"))
    other = HoldingStore(DirectoryStore(tmp_path / "other"), server.store("group"))
    for blob in (b"", b"some weights", large()):
        digest = one.put(blob)
        assert not other.has(digest)
        assert other.get(digest, len(blob)) == blob
        assert other.held.get(digest, len(blob)) == blob
    with pytest.raises(BlobNotFoundError):
        other.bring(digest_of(b"nobody has it"), 10)


def test_a_transfer_that_broke_off_goes_on(server, tmp_path):
    store, blob = server.store(), large()
    digest = store.put(blob)
    held = DirectoryStore(tmp_path)
    with held.receive(digest, len(blob)) as draft:
        draft.write(blob[: 5 * MIB])
    HoldingStore(held, store).bring(digest, len(blob))
    assert held.get(digest, len(blob)) == blob


def test_half_of_a_wrong_blob_costs_one_more_try(server, tmp_path):
    store, blob = server.store(), large()
    digest = store.put(blob)
    held = DirectoryStore(tmp_path)
    with held.receive(digest, len(blob)) as draft:
        draft.write(bytes(5 * MIB))
    with pytest.raises(DigestMismatchError):
        HoldingStore(held, store).bring(digest, len(blob))
    HoldingStore(held, store).bring(digest, len(blob))
    assert held.get(digest, len(blob)) == blob


def test_a_damaged_large_file_is_not_shared(server, tmp_path):
    held, blob = DirectoryStore(tmp_path), large()
    digest = held.put(blob)
    (tmp_path / digest).write_bytes(blob[:-1] + b"\0" + b"more")
    store = server.store()
    with pytest.raises(DigestMismatchError, match="damaged"):
        store.share(digest, held)
    assert list(store.digests()) == []
    assert server.uploads() == 0


def test_blobs_are_not_whole_in_memory_while_they_travel(server, tmp_path):
    # Peaks of a process of its own, above what it has before the first byte.
    code = """
import sys
from pathlib import Path
from colearn.store import DirectoryStore, HoldingStore
from colearn.store.objects import ObjectStore

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024

endpoint, folder, digest = sys.argv[1:]
store = ObjectStore("s3://colearn/memory", endpoint=endpoint, allow_http=True)
one, other = DirectoryStore(folder), DirectoryStore(folder + "/other")
store.has(digest)
before = peak()
HoldingStore(one, store).share(digest)
HoldingStore(other, store).bring(digest, 10**9)
assert other.path_of(digest).stat().st_size == 150 * 2**20
print(peak() - before)
"""
    blob = large(size=150 * MIB)
    digest = DirectoryStore(tmp_path).put(blob)
    with credentials():
        run = subprocess.run(
            [sys.executable, "-c", code, server.endpoint, str(tmp_path), digest],
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 50 * MIB
    server.delete(f"{BUCKET}/memory/{digest}")


# A server that dies


class Dying(DirectoryStore):
    """Ends a server when so many bytes of a blob have been read to be stored there."""

    def __init__(self, path, server):
        super().__init__(path)
        self.server = server

    @contextmanager
    def opened(self, digest):
        with super().opened(digest) as file:
            yield Breaking(file, 30 * MIB, self.server)


class Breaking:
    """A file that ends a server when its byte number `at` is read."""

    def __init__(self, file, at, server):
        self.file, self.at, self.server = file, at, server
        self.seek = file.seek

    def read(self, count):
        if self.file.tell() >= self.at:
            self.server.end()
        return self.file.read(count)


GONE = (PeerUnreachableError, PeerTimeoutError)


@pytest.mark.slow
def test_a_server_that_dies_leaves_whole_blobs_and_what_came(tmp_path):
    blob = large(size=60 * MIB)
    digest = digest_of(blob)
    one, other = Dying(tmp_path / "one", None), DirectoryStore(tmp_path / "other")
    one.put(blob)
    with s3_server() as server:
        one.server = server
        store = server.store(timeout_s=5, retries=1)
        kept = store.put(b"some weights")
        with pytest.raises(GONE):
            store.share(digest, one)
        for call in (lambda: store.put(b"x"), lambda: store.get(kept, 99), lambda: store.has(kept)):
            with pytest.raises(GONE):
                call()

        server.start()
        assert store.get(kept, 99) == b"some weights"
        assert not store.has(digest)
        store.share(digest, DirectoryStore(tmp_path / "one"))

        with other.receive(digest, len(blob)) as draft:
            for piece in store._fetch(digest, len(blob)):
                draft.write(piece)
                if draft.offset > 10 * MIB:
                    break
            server.end()
            with pytest.raises(GONE):
                store.fetch(digest, draft, len(blob), time.monotonic() + 30)
        server.start()
        with other.receive(digest, len(blob)) as draft:
            assert draft.offset > 10 * MIB
        HoldingStore(other, store).bring(digest, len(blob))
    assert other.get(digest, len(blob)) == blob


@pytest.mark.slow
def test_a_server_that_falls_silent_is_left_and_found_again():
    with s3_server() as server:
        store = server.store(timeout_s=2, retries=1)
        digest = store.put(b"some weights")
        for call in (lambda: store.get(digest, 99), lambda: store.put(b"more")):
            with server.silent(), pytest.raises(PeerTimeoutError, match="silent"):
                call()
        assert store.get(digest, 99) == b"some weights"
        assert store.put(b"more") == digest_of(b"more")
