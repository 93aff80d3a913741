"""Pictures in folders of classes: layouts, the order of rows, and files that are no good."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from colearn.errors import ConfigError, MissingExtraError
from colearn.tasks import _picture_files, _pictures, xray, xrays


def picture(value=100, size=(12, 8), mode="L", kind="PNG"):
    stream = io.BytesIO()
    Image.new(mode, size, value).save(stream, kind)
    return stream.getvalue()


def written(folder, **pictures):
    """Write a folder for each keyword, with pictures 0.png, 1.png... of these grey values."""
    for name, values in pictures.items():
        (folder / name).mkdir(parents=True)
        for place, value in enumerate(values):
            (folder / name / f"{place}.png").write_bytes(picture(value))
    return folder


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "data", NORMAL=[10, 20], PNEUMONIA=[200, 210])


def greys(task):
    return task.X[:, 0].tolist()


def test_a_folder_of_classes_becomes_grey_squares(folder):
    task = xray(folder, side=4)
    assert task.X.shape == (4, 16)
    assert greys(task) == [10, 200, 20, 210]
    assert task.y.tolist() == ["NORMAL", "PNEUMONIA"] * 2
    assert task.schema.classes == ("NORMAL", "PNEUMONIA")
    assert task.schema.features[4] == "pixel_1_0"
    assert np.allclose(task.scaling.apply(task.X)[0], 10 / 255)
    assert xray(folder).X.shape == (4, 64 * 64)


def test_rows_of_the_square_are_those_of_the_picture(tmp_path):
    values = np.zeros((40, 80), np.uint8)
    values[:20] = 200
    (tmp_path / "NORMAL").mkdir()
    Image.fromarray(values).save(tmp_path / "NORMAL" / "a.png")
    square = xray(tmp_path, side=4).X.reshape(4, 4)
    assert (square[0] > 190).all()
    assert (square[3] < 10).all()


def test_parts_are_read_in_and_below_the_folder_called_chest_xray(tmp_path):
    for part, value in (("train", 1), ("val", 2), ("test", 3)):
        written(tmp_path / "chest_xray" / part, NORMAL=[value], PNEUMONIA=[value])
        for path in (tmp_path, tmp_path / "chest_xray"):
            task = xray(path, part, side=4)
            assert greys(task) == [value, value]
            assert task.name == f"xray_{part}"


def test_the_first_rows_have_each_class_in_its_share(tmp_path):
    written(tmp_path, NORMAL=range(4), PNEUMONIA=range(100, 112))
    task = xray(tmp_path, side=4)
    for rows in (4, 8, 12):
        assert (task.y[:rows] == "NORMAL").sum() == rows / 4
        assert np.array_equal(xray(tmp_path, side=4, rows=rows).X, task.X[:rows])
    # In each class by name, where 10.png is before 2.png.
    ill = task.X[task.y == "PNEUMONIA", 0].tolist()
    assert ill[:4] == [100, 101, 110, 111]


def test_a_picture_that_is_not_taken_is_not_opened(folder):
    (folder / "PNEUMONIA" / "9.png").write_bytes(b"nonsense")
    assert len(xray(folder, side=4, rows=2).y) == 2
    with pytest.raises(ConfigError, match="9.png is neither PNG nor JPEG"):
        xray(folder, side=4)


@pytest.mark.parametrize(
    ("mode", "value", "kind", "grey"),
    [
        ("RGB", (255, 255, 255), "JPEG", 255),
        ("RGB", (0, 255, 0), "PNG", 150),
        ("L", 77, "JPEG", 77),
        ("RGBA", (9, 9, 9, 255), "PNG", 9),
        ("P", 0, "PNG", 0),
        ("1", 1, "PNG", 255),
    ],
)
def test_colours_become_grey_and_the_content_tells_the_format(tmp_path, mode, value, kind, grey):
    (tmp_path / "NORMAL").mkdir()
    (tmp_path / "NORMAL" / "a.JPG").write_bytes(picture(value, mode=mode, kind=kind))
    assert greys(xray(tmp_path, side=4)) == [grey]


def test_classes_can_be_named_and_a_site_may_lack_one(tmp_path):
    written(tmp_path, sick=[1], well=[2])
    task = xray(tmp_path, side=4, classes=["well", "sick", "unknown"])
    assert task.schema.classes == ("sick", "unknown", "well")
    assert task.y.tolist() == ["sick", "well"]
    with pytest.raises(ConfigError, match="sick is the folder of no class"):
        xray(tmp_path, side=4, classes=["well", "unknown"])


def test_hidden_files_do_not_count(folder):
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / ".cache").mkdir()
    (folder / "NORMAL" / "._0.png").write_bytes(b"x")
    assert len(xray(folder, side=4).y) == 4


@pytest.mark.parametrize("name", ["scan.tif", "notes", "inner.png/"])
def test_what_is_no_picture_in_a_class_is_named(folder, name):
    other = folder / "NORMAL" / name
    other.mkdir() if name.endswith("/") else other.write_bytes(b"x")
    with pytest.raises(ConfigError, match=f"{name.rstrip('/')} is no file that ends in"):
        xray(folder, side=4)


def test_links_are_refused_wherever_they_stand(tmp_path, folder):
    outside = written(tmp_path / "outside", NORMAL=[1])
    links = [
        (folder / "NORMAL" / "2.png", outside / "NORMAL" / "0.png"),
        (folder / "NORMAL" / "gone.png", outside / "gone.png"),
        (folder / "train", outside),
        (folder / "MORE", outside),
        (folder / "chest_xray", outside),
    ]
    for link, target in links:
        link.symlink_to(target)
        with pytest.raises(ConfigError, match=f"{link.name} is a link"):
            xray(folder, side=4)
        link.unlink()
    # Whoever gives the path knows where it leads.
    (tmp_path / "link").symlink_to(folder)
    assert len(xray(tmp_path / "link", side=4).y) == 4


def test_a_link_that_comes_after_the_listing_is_not_followed(tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="b.png cannot be read"):
        _pictures.grey_square(tmp_path / "b.png", 4)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, *chunks, bits=8):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither PNG nor JPEG"),
        (picture(kind="BMP"), "neither PNG nor JPEG"),
        (picture(kind="GIF"), "neither PNG nor JPEG"),
        (picture(kind="TIFF"), "neither PNG nor JPEG"),
        (picture(size=(200, 200), kind="JPEG")[:-200], "cannot be decoded"),
        (png(8, 8, chunk(b"IDAT", b"no zlib")), "cannot be decoded"),
        (png(8, 8), "cannot be decoded"),
        (png(6000, 6000), "declares 6000 x 6000 pixels"),
        (png(10_000, 10_000), "declares 10000 x 10000 pixels"),
        (png(2**31 - 1, 2**31 - 1), "cannot be decoded"),
        (png(8, 8, chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(b"0" * 2**23))), "cannot be"),
        (picture(9, mode="I;16"), "8 bits a channel, got Pillow's mode 'I;16'"),
        (picture((1, 2, 3, 4), mode="CMYK", kind="JPEG"), "Pillow's mode 'CMYK'"),
    ],
)
def test_a_hostile_file_is_named_and_refused(folder, data, message):
    (folder / "NORMAL" / "bad.png").write_bytes(data)
    with pytest.raises(ConfigError, match=f"bad.png .*{message}") as caught:
        xray(folder, side=4)
    assert caught.value.hint
    assert "BytesIO" not in str(caught.value)


def test_limits_of_files_bytes_and_pixels(folder, monkeypatch):
    monkeypatch.setattr(_picture_files, "PICTURES_MAX", 2)
    assert len(xray(folder, side=4).y) == 4
    monkeypatch.setattr(_picture_files, "PICTURES_MAX", 1)
    with pytest.raises(ConfigError, match="has more than 1 files"):
        xray(folder, side=4)
    monkeypatch.undo()
    monkeypatch.setattr(_pictures, "PICTURE_BYTES_MAX", 60)
    with pytest.raises(ConfigError, match="0.png is larger than 60 bytes"):
        xray(folder, side=4)
    monkeypatch.undo()
    monkeypatch.setattr(xrays, "PIXELS_MAX", 4 * 16)
    assert len(xray(folder, side=4).y) == 4
    with pytest.raises(ConfigError, match="4 pictures of 5 x 5 pixels are more than 64"):
        xray(folder, side=5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"part": "all"}, "part must be one of train, val, test"),
        ({"part": "test"}, "has classes and no 'test' part"),
        ({"side": 3}, "from 4 to 512"),
        ({"side": 513}, "from 4 to 512"),
        ({"side": True}, "from 4 to 512"),
        ({"side": 8.0}, "from 4 to 512"),
        ({"rows": 0}, "from 1 to 4"),
        ({"rows": True}, "from 1 to 4"),
        ({"rows": 5}, "from 1 to 4"),
        ({"classes": "NORMAL"}, "list of names of folders"),
        ({"classes": ["NORMAL", "../NORMAL"]}, "list of names of folders"),
        ({"classes": ["NORMAL", "PNEUMONIA/../NORMAL"]}, "list of names of folders"),
        ({"classes": ["NORMAL", "C:"]}, "list of names of folders"),
        ({"classes": ["NORMAL", ".."]}, "list of names of folders"),
        ({"classes": ["NORMAL", ""]}, "list of names of folders"),
        ({"classes": ["NORMAL", 1]}, "list of names of folders"),
        ({"classes": ["NORMAL"]}, "at least two different"),
        ({"classes": ["NORMAL", "NORMAL"]}, "at least two different"),
        ({"classes": ["A", "B"]}, "no pictures of the part 'train'"),
    ],
)
def test_an_argument_that_is_no_good_is_named(folder, settings, message):
    with pytest.raises(ConfigError, match=message):
        xray(folder, **{"side": 4, **settings})


def test_errors_say_where_the_pictures_come_from_and_how_they_lie(tmp_path):
    for path in (None, tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="chest-xray-pneumonia") as caught:
            xray(path)
        assert "NORMAL and PNEUMONIA" in caught.value.hint
    (tmp_path / "NORMAL").mkdir()
    with pytest.raises(ConfigError, match="has no pictures"):
        xray(tmp_path)


def test_a_missing_pillow_says_what_to_install(folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "colearn.tasks._pictures")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"colearn\[images\]") as caught:
        xray(folder)
    assert caught.value.extra == "images"


def test_importing_the_package_does_not_load_pillow():
    program = "import sys, colearn.tasks; sys.exit('PIL' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
