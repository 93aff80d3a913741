import hashlib
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from colearn.errors import (
    BlobNotFoundError,
    BlobTooLargeError,
    DigestMismatchError,
    StoreError,
    WeightsError,
)
from colearn.store import Archive, DirectoryStore
from colearn.store.directory import STALE_AFTER_S
from colearn.weights import freeze

BLOB = bytes(range(256)) * 8
DIGEST = hashlib.sha256(BLOB).hexdigest()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "blobs"


@pytest.fixture
def store(folder):
    return DirectoryStore(folder)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_blob_is_one_file_named_by_its_digest(store, folder):
    store.put(BLOB)
    assert names(folder) == [DIGEST]
    assert (folder / DIGEST).read_bytes() == BLOB


def test_looking_makes_no_folder(store, folder):
    assert not store.has(DIGEST)
    assert list(store.digests()) == []
    with pytest.raises(BlobNotFoundError, match=str(folder)):
        store.get(DIGEST, 10)
    assert not folder.exists()


def test_another_process_finds_the_blobs(store, folder):
    store.put(BLOB)
    assert DirectoryStore(str(folder)).get(DIGEST, len(BLOB)) == BLOB


@pytest.mark.parametrize(
    "damaged",
    [BLOB[:-1], BLOB + b"\0", b"", b"\xff" + BLOB[1:], BLOB[:1000] + b"\0" + BLOB[1001:]],
    ids=["truncated", "longer", "empty", "first byte", "inside"],
)
def test_a_damaged_file_is_named_and_healed_by_the_next_put(store, folder, damaged):
    store.put(BLOB)
    (folder / DIGEST).write_bytes(damaged)
    with pytest.raises(DigestMismatchError, match=str(folder / DIGEST)):
        store.get(DIGEST, 10_000)
    assert store.put(BLOB) == DIGEST
    assert store.get(DIGEST, 10_000) == BLOB
    assert names(folder) == [DIGEST]


def test_a_good_file_is_not_written_again(store, folder):
    store.put(BLOB)
    before = (folder / DIGEST).stat()
    store.put(BLOB)
    after = (folder / DIGEST).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_file_over_the_limit_is_refused_before_it_is_read(store, folder):
    folder.mkdir()
    # A terabyte that takes no space: reading it would end the test, one way or the other.
    with (folder / DIGEST).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BlobTooLargeError, match=f"{DIGEST} may have 100 bytes"):
        store.get(DIGEST, 100)


def test_a_link_under_a_digest_does_not_lead_outside(store, folder, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(BLOB)
    folder.mkdir()
    (folder / DIGEST).symlink_to(outside)
    with pytest.raises(StoreError, match="link"):
        store.get(DIGEST, 10_000)
    assert not store.has(DIGEST)
    assert list(store.digests()) == []


def test_a_put_replaces_a_planted_link_and_leaves_its_target(store, folder, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    folder.mkdir()
    (folder / DIGEST).symlink_to(outside)
    store.put(BLOB)
    assert outside.read_bytes() == b"precious"
    assert not (folder / DIGEST).is_symlink()
    assert store.get(DIGEST, 10_000) == BLOB


def test_a_dangling_link_does_not_make_a_file_elsewhere(store, folder, tmp_path):
    folder.mkdir()
    (folder / DIGEST).symlink_to(tmp_path / "made")
    store.put(BLOB)
    assert not (tmp_path / "made").exists()
    assert store.get(DIGEST, 10_000) == BLOB


def test_a_planted_pipe_stops_nobody(store, folder):
    folder.mkdir()
    os.mkfifo(folder / DIGEST)
    with pytest.raises(StoreError, match="pipe"):
        store.get(DIGEST, 10_000)
    assert not store.has(DIGEST)


def test_a_planted_folder_is_named(store, folder):
    (folder / DIGEST).mkdir(parents=True)
    with pytest.raises(StoreError, match=f"{DIGEST} is a link, a folder"):
        store.get(DIGEST, 10_000)
    with pytest.raises(StoreError, match=DIGEST):
        store.put(BLOB)
    assert names(folder) == [DIGEST]


def test_other_files_in_the_folder_are_no_blobs_and_stay(store, folder):
    store.put(BLOB)
    for name in ("README", DIGEST.upper(), DIGEST + ".bak", ".draft", DIGEST[:63]):
        (folder / name).write_text("mine")
    assert list(DirectoryStore(folder).digests()) == [DIGEST]
    assert len(names(folder)) == 6


def test_old_drafts_are_deleted_and_young_ones_are_not(store, folder):
    store.put(BLOB)
    old, young, foreign = (
        folder / ".00112233aabbccdd.draft",
        folder / ".ffffffffffffffff.draft",
        folder / ".mine.draft",
    )
    for draft in (old, young, foreign):
        draft.write_bytes(b"half")
    past = time.time() - STALE_AFTER_S - 10
    os.utime(old, (past, past))
    os.utime(foreign, (past, past))
    assert set(DirectoryStore(folder).digests()) == {DIGEST}
    assert names(folder) == sorted([DIGEST, young.name, foreign.name])


def test_a_full_disk_is_an_error_with_the_path_and_leaves_nothing(folder):
    # The limit on the size of a file makes the write fail in the middle, as a full disk does.
    run = python(
        """
import resource, sys
from colearn.errors import StoreError
from colearn.store import Archive, DirectoryStore
store = DirectoryStore(sys.argv[1])
store.put(b"small")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.put(b"x" * 300_000)
except StoreError as error:
    print(error)
""",
        folder,
    )
    assert run.returncode == 0, run.stderr
    assert str(folder / hashlib.sha256(b"x" * 300_000).hexdigest()) in run.stdout
    assert "File too large" in run.stdout
    assert names(folder) == [hashlib.sha256(b"small").hexdigest()]


def test_an_interrupted_put_leaves_nothing(folder):
    run = python(
        """
import signal, sys
from colearn.store import Archive, DirectoryStore

class Interrupted(DirectoryStore):
    def _fsync_folder(self):
        raise AssertionError("too late")

def interrupt(frame, event, argument):
    # Ctrl-C at the worst moment: the draft is written and has not got its name.
    if event == "call" and frame.f_code.co_name == "replace":
        raise KeyboardInterrupt

store = Interrupted(sys.argv[1], fsync=True)
sys.setprofile(interrupt)
try:
    store.put(b"x" * 1000)
except KeyboardInterrupt:
    print("interrupted")
""",
        folder,
    )
    assert run.stdout == "interrupted\n", run.stderr
    assert names(folder) == []


def test_killed_writers_leave_whole_blobs_and_drafts_alone(folder):
    code = """
import sys
from colearn.store import Archive, DirectoryStore
store = DirectoryStore(sys.argv[1])
for number in range(10**9):
    store.put(bytes((number % 251,)) * 400_000 + str(number).encode())
"""
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code, str(folder)])
        count = len(names(folder)) if folder.exists() else 0
        deadline = time.monotonic() + 60
        while not folder.exists() or len(names(folder)) < count + 5:
            assert time.monotonic() < deadline
            assert writer.poll() is None
            time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    store = DirectoryStore(folder)
    digests = list(store.digests())
    assert len(digests) >= 5
    for digest in digests:
        assert store.get(digest, 10**6)
    assert all(name.endswith(".draft") for name in set(names(folder)) - set(digests))


def test_processes_that_write_the_same_blobs_do_not_disturb_each_other(folder):
    code = """
import sys
from colearn.store import Archive, DirectoryStore
store = DirectoryStore(sys.argv[1])
for number in range(60):
    data = bytes((number,)) * 50_000
    assert store.get(store.put(data), 50_000) == data
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, str(folder)]) for _ in range(4)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    assert names(folder) == sorted(
        hashlib.sha256(bytes((n,)) * 50_000).hexdigest() for n in range(60)
    )


def test_a_path_that_is_a_file_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="no folder"):
        DirectoryStore(tmp_path / "file")
    with pytest.raises(StoreError, match="Not a directory"):
        DirectoryStore(tmp_path / "file" / "blobs")


def test_a_path_with_a_zero_byte_is_refused():
    with pytest.raises(StoreError, match="x00"):
        DirectoryStore("a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; run the tests as a user")
def test_a_folder_without_permission_is_an_error_that_names_it(store, folder):
    folder.mkdir(mode=0o500)
    with pytest.raises(StoreError, match=f"{folder}.*Permission denied"):
        store.put(BLOB)


def test_a_folder_that_cannot_be_written_can_be_read(store, folder):
    store.put(BLOB)
    (folder / ".00112233aabbccdd.draft").write_bytes(b"half")
    os.utime(folder / ".00112233aabbccdd.draft", (0, 0))
    folder.chmod(0o500)
    try:
        assert DirectoryStore(folder).get(DIGEST, 10_000) == BLOB
    finally:
        folder.chmod(0o700)


def test_waiting_for_the_disk_stores_the_same(folder):
    assert DirectoryStore(Path(folder), fsync=True).put(BLOB) == DIGEST
    assert names(folder) == [DIGEST]


def test_a_large_blob_is_mapped_and_verified(tmp_path):
    store, data = DirectoryStore(tmp_path), bytes(range(256)) * 8192
    digest = store.put(data)
    seen = store.view(digest, len(data))
    assert isinstance(seen, mmap.mmap)
    assert bytes(seen) == data
    with pytest.raises(TypeError):
        seen[0] = 1
    with pytest.raises(BlobTooLargeError):
        store.view(digest, len(data) - 1)
    (tmp_path / digest).write_bytes(data[:-1] + b"x")
    with pytest.raises(DigestMismatchError):
        store.view(digest, len(data))
    assert store.view(store.put(b"small"), 9) == b"small"


def test_weights_in_a_mapped_file_are_read_without_a_copy_and_cannot_be_changed(tmp_path):
    archive = Archive(DirectoryStore(tmp_path))
    digest = archive.put(freeze({"w": np.arange(2**18, dtype=np.float64)}))
    weights = Archive(DirectoryStore(tmp_path)).get(digest)
    assert isinstance(weights.buffer, mmap.mmap)
    assert not weights["w"].flags.writeable
    assert weights["w"][-1] == 2**18 - 1
    assert weights.digest == digest
    assert Archive(DirectoryStore(tmp_path / "other")).put(weights) == digest


def test_large_weights_are_written_once_and_have_no_name_before_they_are_put(tmp_path):
    archive = Archive(DirectoryStore(tmp_path))
    arrays = {"w": np.arange(2**18, dtype=np.float64), "none": np.zeros((0, 3))}
    weights = archive.freeze(arrays)
    assert isinstance(weights.buffer, mmap.mmap)
    assert weights.digest == freeze(arrays).digest == hashlib.sha256(weights.data).hexdigest()
    assert list(archive.store.digests()) == []
    arrays["w"][:] = 0
    assert archive.put(weights) == weights.digest
    assert list(archive.store.digests()) == [weights.digest]
    assert Archive(DirectoryStore(tmp_path)).get(weights.digest)["w"][-1] == 2**18 - 1
    assert archive.put(weights) == weights.digest
    assert [each.name for each in tmp_path.iterdir()] == [weights.digest]


def test_weights_that_are_refused_or_never_put_leave_no_file(tmp_path):
    archive = Archive(DirectoryStore(tmp_path))
    with pytest.raises(WeightsError, match="NaN"):
        archive.freeze({"w": np.full(2**18, np.nan)})
    assert list(tmp_path.iterdir()) == []
    archive.freeze({"w": np.ones(2**18)})
    archive.freeze({"w": np.zeros(2**18)})
    assert len(list(tmp_path.iterdir())) == 1
