import gzip
import os
import struct

import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.tasks import fashion_mnist
from colearn.tasks import images as images_module

IMAGES = np.arange(3 * 28 * 28, dtype=np.uint32).reshape(3, 28, 28).astype(np.uint8)
LABELS = np.array([9, 0, 2], np.uint8)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write(folder, images, labels, prefix="train", pack=bytes, suffix=""):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / f"{prefix}-images-idx3-ubyte{suffix}").write_bytes(pack(images))
    (folder / f"{prefix}-labels-idx1-ubyte{suffix}").write_bytes(pack(labels))
    return folder


def good(folder, **options):
    return write(folder, idx(IMAGES), idx(LABELS), **options)


@pytest.fixture(autouse=True)
def no_files_from_outside(monkeypatch, tmp_path, request):
    if "real" not in request.node.name:
        monkeypatch.delenv(images_module.DATA_VARIABLE, raising=False)
        monkeypatch.setattr(images_module, "SYSTEM_FOLDER", tmp_path / "system")


@pytest.mark.parametrize("options", [{}, {"pack": gzip.compress, "suffix": ".gz"}])
def test_images_are_rows_of_pixels(tmp_path, options):
    task = fashion_mnist(good(tmp_path, **options))
    np.testing.assert_array_equal(task.X, IMAGES.reshape(3, 784))
    assert task.X.dtype == np.float64
    assert task.y.tolist() == [9, 0, 2]
    assert task.schema.classes == tuple(range(10))
    assert task.schema.features[29] == "pixel_1_1"
    assert task.scaling.apply(task.X).max() == 1.0


def test_small_images_are_means_of_blocks(tmp_path):
    task = fashion_mnist(good(tmp_path), side=14)
    assert task.X.shape == (3, 196)
    assert task.X[1, 15] == IMAGES[1, 2:4, 2:4].mean()
    assert task.schema.features[-1] == "pixel_13_13"
    assert not task.X.flags.writeable


def test_the_parts_have_their_own_files(tmp_path):
    good(tmp_path)
    write(tmp_path, idx(IMAGES[:1]), idx(LABELS[:1]), prefix="t10k")
    assert len(fashion_mnist(tmp_path, part="test").y) == 1
    assert len(fashion_mnist(tmp_path).y) == 3


def test_the_first_rows_can_be_taken(tmp_path):
    task = fashion_mnist(good(tmp_path), rows=2)
    np.testing.assert_array_equal(task.X, IMAGES[:2].reshape(2, 784))
    assert task.y.tolist() == [9, 0]


@pytest.mark.parametrize("rows", [0, -1, 4, 1.0, True])
def test_rows_that_do_not_exist_are_refused(tmp_path, rows):
    with pytest.raises(ConfigError, match="rows must be a whole number from 1 to 3"):
        fashion_mnist(good(tmp_path), rows=rows)


@pytest.mark.parametrize("arguments", [{"part": "vote"}, {"side": 7}])
def test_unknown_parts_and_sides_are_refused(tmp_path, arguments):
    with pytest.raises(ConfigError, match="must be"):
        fashion_mnist(good(tmp_path), **arguments)


def test_the_folders_are_searched_in_order(tmp_path, monkeypatch):
    good(tmp_path / "system")
    assert fashion_mnist().y[0] == 9
    write(tmp_path / "data" / "fashion-mnist", idx(IMAGES[1:]), idx(LABELS[1:]))
    monkeypatch.setenv("COLEARN_DATA", str(tmp_path / "data"))
    assert fashion_mnist().y[0] == 0
    write(tmp_path / "data", idx(IMAGES[2:]), idx(LABELS[2:]))
    assert fashion_mnist().y[0] == 2
    assert fashion_mnist(str(tmp_path / "system")).y[0] == 9


def test_a_data_folder_without_the_files_is_passed_over(tmp_path, monkeypatch):
    good(tmp_path / "system")
    monkeypatch.setenv("COLEARN_DATA", str(tmp_path / "elsewhere"))
    assert len(fashion_mnist().y) == 3


def test_a_named_folder_without_the_files_is_an_error(tmp_path):
    good(tmp_path / "system")
    with pytest.raises(ConfigError, match="train-images-idx3-ubyte") as caught:
        fashion_mnist(tmp_path / "nothing")
    assert "dataset-fashion-mnist" in caught.value.hint
    assert "COLEARN_DATA" in caught.value.hint


def header(rank, *dimensions):
    return bytes([0, 0, 8, rank]) + struct.pack(f">{len(dimensions)}I", *dimensions)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (b"", "is no IDX file"),
        (b"\x00\x00\x08", "is no IDX file"),
        (b"PK\x03\x04" + bytes(100), "is no IDX file.*expected the first bytes 00000803"),
        (idx(LABELS), "3 dimensions"),
        (b"\x00\x00\x0d\x03" + idx(IMAGES)[4:], "is no IDX file"),
        (header(3, 3)[:7], "ends in its header, after 3 of 12"),
        (header(3, 3, 28), "ends in its header, after 8 of 12"),
        (header(3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "the limit is"),
        # In 64 bits this product wraps around to 0.
        (header(3, 2**31, 2**31, 4), "the limit is"),
        # Empty, but of a shape that numpy cannot make.
        (header(3, 0, 2**32 - 1, 2**32 - 1), "the limit is"),
        (header(3, 2**32 - 1, 2**32 - 1, 0), "the limit is"),
        (header(3, 2**26, 1, 1) + b"x", "declares 67108864 bytes and has 1"),
        (idx(IMAGES)[:-1], "declares 2352 bytes and has 2351"),
        (idx(IMAGES) + b"\x00", "has more than 2352"),
        (idx(np.zeros((3, 14, 14), np.uint8)), r"28 x 28 images, got \(14, 14\)"),
        (idx(np.zeros((3, 784, 1), np.uint8)), "28 x 28 images"),
        (idx(IMAGES[:2]), "2 images and .* 3 labels"),
    ],
)
def test_hostile_images_are_refused(tmp_path, images, message):
    with pytest.raises(ConfigError, match=message):
        fashion_mnist(write(tmp_path, images, idx(LABELS)))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (idx(IMAGES), "1 dimensions"),
        (idx(np.array([0, 1, 10], np.uint8)), "label 10"),
        (idx(np.zeros(4, np.uint8)), "3 images and .* 4 labels"),
    ],
)
def test_hostile_labels_are_refused(tmp_path, labels, message):
    with pytest.raises(ConfigError, match=message):
        fashion_mnist(write(tmp_path, idx(IMAGES), labels))


def test_files_without_images_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="at least one"):
        fashion_mnist(write(tmp_path, idx(IMAGES[:0]), idx(LABELS[:0])))


PACKED = gzip.compress(idx(IMAGES), mtime=0)


@pytest.mark.parametrize(
    "packed",
    [
        PACKED[:-20],
        PACKED[:5],
        PACKED[:40] + bytes(20) + PACKED[60:],
        PACKED + b"garbage",
        PACKED[:-8] + bytes(8),
    ],
    ids=["cut short", "only a header", "zeros inside", "garbage behind", "wrong checksum"],
)
def test_damaged_archives_are_refused(tmp_path, packed):
    good(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed)
    with pytest.raises(ConfigError, match=r"cannot be read|declares|no IDX"):
        fashion_mnist(tmp_path)


def test_an_archive_unpacks_no_more_than_its_header_declares(tmp_path):
    # 64 MiB behind a header of 28 x 28 x 3: a reader that unpacks first would hold all of it.
    bomb = gzip.compress(idx(IMAGES) + bytes(2**26), compresslevel=1)
    good(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(bomb)
    with pytest.raises(ConfigError, match="has more than 2352"):
        fashion_mnist(tmp_path)


def real(**options):
    try:
        return fashion_mnist(**options)
    except ConfigError as error:
        if os.environ.get("COLEARN_REQUIRE_ALL") == "1":
            raise
        pytest.skip(f"{error} (apt-get install -y dataset-fashion-mnist)")


def test_the_real_training_files_are_read():
    task = real()
    assert task.X.shape == (60_000, 784)
    assert np.bincount(task.y).tolist() == [6000] * 10


def test_the_real_test_files_are_read():
    task = real(part="test", side=14)
    assert task.X.shape == (10_000, 196)
    assert np.bincount(task.y).tolist() == [1000] * 10
    assert 70 < task.X.mean() < 76
