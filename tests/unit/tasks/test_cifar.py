"""CIFAR-10's binary files: class, then three planes of 32 x 32 pixels."""

import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.tasks import cifar10

RNG = np.random.default_rng(10)
RECORDS, RECORD = 10_000, 3073


def written(folder, names, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in names:
        data = rng.integers(0, 256, (RECORDS, RECORD), np.uint8)
        data[:, 0] %= 10
        data.tofile(folder / name)
    return data


@pytest.fixture(scope="module")
def one_part(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar")
    return folder, written(folder / "cifar-10-batches-bin", ["test_batch.bin"])


def test_pixels_and_classes_are_those_of_the_file(one_part):
    folder, data = one_part
    task = cifar10(folder, "test", rows=50)
    assert task.X.shape == (50, 3072)
    assert np.array_equal(task.X, data[:50, 1:])
    assert np.array_equal(task.y, data[:50, 0])
    assert task.schema.classes == tuple(range(10))
    # The second plane begins behind 1,024 pixels.
    assert task.schema.features[1024] == "green_0_0"
    assert task.scaling.apply(task.X).max() <= 1


def test_the_whole_part_and_the_inner_folder(one_part):
    folder, data = one_part
    assert np.array_equal(cifar10(folder / "cifar-10-batches-bin", "test").y, data[:, 0])


def test_training_rows_go_on_in_the_next_file(tmp_path):
    last = written(tmp_path, ["data_batch_1.bin", "data_batch_2.bin"])
    task = cifar10(tmp_path, rows=RECORDS + 3)
    assert np.array_equal(task.X[-3:], last[:3, 1:])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"part": "all"}, 'must be "train" or "test"'),
        ({"rows": 0}, "from 1 to 10000"),
        ({"rows": True}, "from 1 to 10000"),
        ({"rows": 10_001}, "from 1 to 10000"),
        ({"part": "train"}, "no data_batch_1.bin"),
    ],
)
def test_what_does_not_fit_is_named(one_part, settings, message):
    with pytest.raises(ConfigError, match=message):
        cifar10(one_part[0], **{"part": "test", **settings})


def test_a_file_of_another_size_or_with_another_class_is_refused(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(b"\x00" * 100)
    with pytest.raises(ConfigError, match="must have 30730000 bytes, got 100"):
        cifar10(tmp_path, "test")
    data = np.zeros((RECORDS, RECORD), np.uint8)
    data[7, 0] = 11
    data.tofile(tmp_path / "test_batch.bin")
    with pytest.raises(ConfigError, match="classes from 0 to 9, got 11"):
        cifar10(tmp_path, "test")


def test_a_missing_second_file_is_named(tmp_path):
    written(tmp_path, ["data_batch_1.bin"])
    with pytest.raises(ConfigError, match="Cannot read .*data_batch_2"):
        cifar10(tmp_path, rows=RECORDS + 1)
