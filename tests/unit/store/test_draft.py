import hashlib
import os
import random
import subprocess
import sys
import time
from threading import Thread

import pytest

from colearn.errors import (
    BlobNotFoundError,
    BlobTooLargeError,
    ConfigError,
    DigestMismatchError,
    LocalProtocolError,
    StoreError,
)
from colearn.store import DirectoryStore
from colearn.store.directory import RESUMED_WITHIN_S
from colearn.store.draft import PIECE_BYTES

BLOB = random.Random(5).randbytes(5 * PIECE_BYTES + 12_345)
DIGEST = hashlib.sha256(BLOB).hexdigest()
LIMIT = 2**30


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "blobs"


@pytest.fixture
def store(folder):
    return DirectoryStore(folder)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def pour(draft, data, chunk):
    """Fill a draft as a socket does: pieces of up to `chunk` bytes into its own buffers."""
    view = memoryview(data)
    while view:
        room = draft.room()
        count = min(len(room), len(view), chunk)
        room[:count] = view[:count]
        draft.fill(count)
        view = view[count:]


@pytest.mark.parametrize("chunk", [1000, 65_536, PIECE_BYTES - 1, PIECE_BYTES, 2**30])
def test_what_is_poured_in_becomes_a_blob(store, folder, chunk):
    with store.receive(DIGEST, LIMIT) as draft:
        pour(draft, BLOB, chunk)
        assert draft.offset == len(BLOB)
        assert not store.has(DIGEST)
        draft.finish()
        assert draft.finished
    assert names(folder) == [DIGEST]
    assert store.get(DIGEST, LIMIT) == BLOB


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1])
def test_blobs_of_any_size_can_be_written(store, size):
    data = BLOB[:size]
    digest = hashlib.sha256(data).hexdigest()
    with store.receive(digest, size) as draft:
        draft.write(data)
        draft.finish()
    assert store.get(digest, size) == data


@pytest.mark.parametrize("seed", range(20))
def test_however_often_it_breaks_off_the_blob_is_the_same(store, seed):
    chance = random.Random(seed)
    data = BLOB[: chance.randrange(len(BLOB))]
    digest = hashlib.sha256(data).hexdigest()
    done = 0
    while done < len(data):
        with store.receive(digest, LIMIT) as draft:
            assert draft.offset == done
            done += chance.randrange(2 * PIECE_BYTES)
            pour(draft, data[draft.offset : done], chance.choice([700, 10**5, 10**7]))
    with store.receive(digest, LIMIT) as draft:
        draft.finish()
    assert store.get(digest, LIMIT) == data


def test_another_process_goes_on_after_a_kill(store, folder):
    code = """
import os, sys
from colearn.store import DirectoryStore
draft = DirectoryStore(sys.argv[1]).receive(sys.argv[2], 2**30)
draft.write(sys.stdin.buffer.read())
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code, folder, DIGEST], input=BLOB[:-100], check=False)
    with store.receive(DIGEST, LIMIT) as draft:
        assert 4 * PIECE_BYTES <= draft.offset <= len(BLOB) - 100
        draft.write(BLOB[draft.offset :])
        draft.finish()
    assert store.get(DIGEST, LIMIT) == BLOB


@pytest.mark.parametrize("at", [0, 100, PIECE_BYTES, len(BLOB) - 1])
def test_other_bytes_are_thrown_away_and_the_draft_can_be_filled_again(store, folder, at):
    wrong = bytearray(BLOB)
    wrong[at] ^= 1
    with store.receive(DIGEST, LIMIT) as draft:
        draft.write(bytes(wrong))
        with pytest.raises(DigestMismatchError, match=DIGEST):
            draft.finish()
        assert (draft.offset, draft.finished) == (0, False)
        assert not store.has(DIGEST)
        draft.write(BLOB)
        draft.finish()
    assert store.get(DIGEST, LIMIT) == BLOB
    assert names(folder) == [DIGEST]


def test_nothing_is_left_of_wrong_bytes(store, folder):
    with store.receive(DIGEST, LIMIT) as draft:
        draft.write(BLOB[:-1])
        with pytest.raises(DigestMismatchError):
            draft.finish()
    assert names(folder) == []


def test_a_draft_can_be_begun_anew(store):
    with store.receive(DIGEST, LIMIT) as draft:
        draft.write(b"wrong" * 10**6)
        draft.restart()
        assert draft.offset == 0
        draft.write(BLOB)
        draft.finish()
    assert store.get(DIGEST, LIMIT) == BLOB


def test_half_a_blob_is_no_blob(store):
    with store.receive(DIGEST, LIMIT) as draft:
        draft.write(BLOB[:1000])
    assert not store.has(DIGEST)
    assert list(store.digests()) == []
    with pytest.raises(BlobNotFoundError):
        store.path_of(DIGEST)


def test_a_draft_takes_the_limit_and_no_byte_more(store):
    with store.receive(DIGEST, len(BLOB) - 1) as draft, pytest.raises(BlobTooLargeError):
        draft.write(BLOB)
    assert not store.has(DIGEST)


def test_what_came_over_a_smaller_limit_is_forgotten(store):
    with store.receive(DIGEST, LIMIT) as draft:
        draft.write(BLOB[:1000])
    with store.receive(DIGEST, 999) as draft:
        assert draft.offset == 0


def test_what_is_discarded_is_gone(store, folder):
    with store.receive(DIGEST, LIMIT) as draft:
        draft.write(BLOB)
        draft.discard()
    assert names(folder) == []


def test_two_that_receive_one_blob_do_not_disturb_each_other(store, folder):
    with store.receive(DIGEST, LIMIT) as first, store.receive(DIGEST, LIMIT) as second:
        first.write(BLOB[:3_000_000])
        second.write(BLOB)
        second.finish()
        assert store.get(DIGEST, LIMIT) == BLOB
        first.write(BLOB[3_000_000:])
        first.finish()
    assert store.get(DIGEST, LIMIT) == BLOB
    assert names(folder) == [DIGEST]


def test_nobody_writes_into_a_file_that_became_a_blob(store, folder):
    """Threads that receive the same blob again and again: at every moment it is whole."""
    data = BLOB[:200_000]
    digest = hashlib.sha256(data).hexdigest()
    failures = []

    def work():
        for _ in range(40):
            with store.receive(digest, LIMIT) as draft:
                draft.write(data[draft.offset :])
                try:
                    draft.finish()
                    assert store.get(digest, LIMIT) == data
                except Exception as error:  # noqa: BLE001
                    failures.append(error)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert names(folder) == [digest]


def test_more_than_the_room_cannot_be_filled(store):
    with store.receive(DIGEST, LIMIT) as draft:
        for count in (-1, len(draft.room()) + 1):
            with pytest.raises(LocalProtocolError):
                draft.fill(count)


def test_a_text_that_is_no_digest_is_refused(store, folder):
    for use in (lambda name: store.receive(name, 10), store.path_of):
        with pytest.raises(StoreError, match="64 lower-case"):
            use("../" + DIGEST[3:])
    with pytest.raises(ConfigError, match="max_bytes"):
        store.receive(DIGEST, -1)
    assert not folder.exists()


@pytest.mark.parametrize(
    "plant", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), os.mkdir]
)
def test_what_is_planted_under_the_drafts_name_stops_nobody(store, folder, plant):
    folder.mkdir()
    plant(folder / f".{DIGEST}.partial")
    with store.receive(DIGEST, LIMIT) as draft:
        draft.write(BLOB)
        draft.finish()
    assert store.get(DIGEST, LIMIT) == BLOB


def test_a_full_disk_gives_the_space_back(folder):
    code = """
import resource, sys
from colearn.errors import StoreError
from colearn.store import DirectoryStore
store = DirectoryStore(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
try:
    with store.receive(sys.argv[2], 2**30) as draft:
        draft.write(bytes(10_000_000))
except StoreError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, folder, DIGEST], capture_output=True, text=True, check=True
    )
    assert "File too large" in run.stdout
    assert names(folder) == []


def test_what_nobody_waits_for_any_more_is_deleted(store, folder):
    for age, kept in ((10, True), (RESUMED_WITHIN_S + 10, False)):
        with store.receive(DIGEST, LIMIT) as draft:
            draft.write(b"half")
        past = time.time() - age
        os.utime(folder / f".{DIGEST}.partial", (past, past))
        DirectoryStore(folder)
        assert bool(names(folder)) is kept


def test_a_draft_waits_for_the_disk_when_its_store_does(folder):
    store = DirectoryStore(folder, fsync=True)
    with store.receive(DIGEST, LIMIT) as draft:
        draft.write(BLOB)
        draft.finish()
    assert store.path_of(DIGEST).read_bytes() == BLOB
    with store.opened(DIGEST) as file:
        assert file.read(10) == BLOB[:10]
