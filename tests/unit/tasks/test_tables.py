import time
from pathlib import Path

import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.tasks import Split, _records, csv, divide

CLINIC = Path(__file__).parents[2] / "data" / "clinic.csv"
SMOKER = {"smoker": ["no", "yes", "unknown"]}


@pytest.fixture
def table(tmp_path):
    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_table_of_several_sites():
    task = csv(CLINIC, "relapse", group="site", id_columns=["patient"], categories=SMOKER)
    assert task.name == "clinic"
    assert task.X.shape == (120, 6)
    assert task.schema.features == (
        "age",
        "weight_kg",
        "pressure",
        "smoker=no",
        "smoker=yes",
        "smoker=unknown",
    )
    assert task.schema.classes == (0, 1)
    assert len(np.unique(task.groups)) == 6
    np.testing.assert_array_equal(task.X[:, 3:].sum(axis=1), 1)
    division = divide(task, Split("group", learners=3, min_rows=10), 0)
    assert len(division.sites) == 3


def test_the_same_table_as_a_regression():
    task = csv(
        CLINIC,
        "pressure",
        id_columns=["patient", "site"],
        categories=SMOKER,
        kind="regression",
    )
    assert task.kind == "regression"
    assert task.y.dtype == np.float64
    assert task.groups is None
    assert "pressure" not in task.schema.features


def test_quotes_spaces_blank_lines_and_a_mark_at_the_start(table):
    path = table('\ufeff"a, b", y\r\n" 1.5",0\r\n\r\n-2e1,1\r\n')
    task = csv(path, "y")
    assert task.schema.features == ("a, b",)
    np.testing.assert_array_equal(task.X, [[1.5], [-20]])
    assert task.y.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (["0", "1"], None, (0, 1)),
        (["1.0", "2.0"], None, (1, 2)),
        (["no", "yes"], None, ("no", "yes")),
        (["1", "yes"], None, ("1", "yes")),
        (["1", "2"], ["1", "2", "3"], ("1", "2", "3")),
        (["1", "2"], [3, 2, 1], (1, 2, 3)),
    ],
)
def test_labels_are_whole_numbers_or_text(table, labels, classes, expected):
    task = csv(table("x,y\n1,{}\n2,{}\n".format(*labels)), "y", classes=classes)
    assert task.schema.classes == expected
    assert set(task.y.tolist()) <= set(expected)


def test_missing_values_need_a_declared_imputation(table):
    path = table("x,z,y\n,1,0\n3,,1\n")
    with pytest.raises(ConfigError, match=r"'x' \(1\), 'z' \(1\)"):
        csv(path, "y")
    with pytest.raises(ConfigError, match=r"in 'z' \(1\)\."):
        csv(path, "y", imputation={"x": 7})
    task = csv(path, "y", imputation={"x": 7, "z": -1})
    np.testing.assert_array_equal(task.X, [[7, 1], [3, -1]])


def test_an_empty_category_must_be_listed(table):
    path = table("x,s,y\n1,,0\n2,a,1\n")
    with pytest.raises(ConfigError, match="line 2: column 's' has the value ''"):
        csv(path, "y", categories={"s": ["a"]})
    task = csv(path, "y", categories={"s": ["a", ""]})
    np.testing.assert_array_equal(task.X, [[1, 0, 1], [2, 1, 0]])


@pytest.mark.parametrize("text", ["red", "nan", "inf", "1e999", "1_000", "0x1", "\u0661", "1,5"])
def test_text_in_a_number_column_is_refused_with_its_line(table, text):
    path = table(f'x,y\n1,0\n"{text}",1\nblue,1\n')
    with pytest.raises(ConfigError, match=f"line 3: column 'x' must be numbers, got '{text}'"):
        csv(path, "y")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("x,y\n", "has a header and no rows"),
        ("x,x,y\n1,2,0\n", "line 1: the header has 'x' twice"),
        ("x,,y\n1,2,0\n", "line 1: the header has no name for column 2"),
        ("x,z\n1,2\n", "line 1: the header has no column 'y'"),
        ("y\n0\n", "line 1: no column is left"),
        ("x,y\n1,0\n1\n", "line 3: expected 2 cells as in the header, got 1"),
        ("x,y\n1,0\n1,0,0\n", "line 3: expected 2 cells as in the header, got 3"),
        ("x,y\n1,0\n1,\n", "line 3: the target 'y' is missing"),
        ('x,y\n1,0\n"1,0\n', "line 3: "),
        ('x,y\n1,0\n"1"2,0\n', "line 3: "),
        (b"x,y\n1,0\n\xff,1\n", "line 3: not UTF-8"),
        (b"\xef\xbb\xbfx,y\n1,0\n2,\xe9\n", "line 3: not UTF-8"),
        (b"x,y\n1,0\n\x00,1\n", "line 3: a NUL byte"),
        ("x,y\n1,0\n" + "1" * 200_000 + ",0\n", "line 3: field larger"),
        ("x,y\n1,0\n2,0\n", "at least two different class labels"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(table, content, message):
    with pytest.raises(ConfigError, match=message):
        csv(table(content), "y")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "site"}, "no column 'site'"),
        ({"id_columns": ["id"]}, "no column 'id'"),
        ({"categories": {"colour": ["red"]}}, "no column 'colour'"),
        ({"group": "y"}, "'y' has two roles"),
        ({"id_columns": ["x"], "categories": {"x": ["1"]}}, "'x' has two roles"),
        ({"id_columns": "xz"}, "id_columns must be a list"),
        ({"categories": {"x": []}}, "list of different values"),
        ({"categories": {"x": "12"}}, "list of different values"),
        ({"categories": {"x": ["1", "1"]}}, "list of different values"),
        ({"categories": {"x": ["2"]}}, "line 2: column 'x' has the value '1'"),
        ({"imputation": {"w": 1.0}}, "'w' has an imputation, and is not a feature"),
        ({"kind": "ranking"}, "kind must be"),
        ({"kind": "regression", "classes": [0, 1]}, "no classes"),
        ({"classes": [1, 2]}, r"line 2: the target 'y' has 0, not among \[1, 2\]"),
        ({"classes": ["a", "b"]}, "line 2: the target 'y' has '0'"),
        ({"classes": []}, "the target 'y' has 0"),
    ],
)
def test_arguments_that_do_not_fit_the_table_are_refused(table, options, message):
    with pytest.raises(ConfigError, match=message):
        csv(table("x,z,y\n1,2,0\n2,3,1\n"), "y", **options)


@pytest.mark.parametrize("label", ["9007199254740993", "-9007199254740992", "1e300"])
def test_whole_labels_that_float64_cannot_tell_apart_are_refused(table, label):
    with pytest.raises(ConfigError, match=r"line 3: the target 'y' must be below 2\*\*53"):
        csv(table(f"x,y\n1,0\n2,{label}\n"), "y")


def test_many_columns_are_read_in_little_time(table):
    names = [f"c{i}" for i in range(100_000)]
    path = table(",".join([*names, names[-1]]) + ",y\n")
    started = time.process_time()
    with pytest.raises(ConfigError, match="the header has 'c99999' twice"):
        csv(path, "y")
    assert time.process_time() - started < 5


@pytest.mark.parametrize("text", ["high", "", "nan"])
def test_a_regression_target_must_be_a_number(table, text):
    with pytest.raises(ConfigError, match="line 3: the target 'y' must be numbers"):
        csv(table(f"x,y\n1,0.5\n2,{text}\n"), "y", kind="regression")


def test_a_missing_group_is_refused_with_its_line(table):
    with pytest.raises(ConfigError, match="line 3: the group is missing"):
        csv(table("x,g,y\n1,a,0\n2, ,1\n"), "y", group="g")


def test_a_one_hot_name_that_is_taken_is_refused(table):
    with pytest.raises(ConfigError, match="'s=a' occurs twice"):
        csv(table("s,s=a,y\na,1,0\na,2,1\n"), "y", categories={"s": ["a", "b"]})


def test_a_path_that_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "absent.csv", str(tmp_path / "absent.csv")):
        with pytest.raises(ConfigError, match="is not a file"):
            csv(path, "y")


def test_the_size_of_a_file_is_limited(table, monkeypatch):
    path = table("x,y\n1,0\n2,1\n")
    monkeypatch.setattr(_records, "CSV_BYTES_MAX", 12)
    assert len(csv(path, "y").y) == 2
    monkeypatch.setattr(_records, "CSV_BYTES_MAX", 11)
    with pytest.raises(ConfigError, match="has 12 bytes; the limit is 11"):
        csv(path, "y")


def test_a_file_that_cannot_be_opened_is_refused(table, monkeypatch):
    def refused(*_args, **_kwargs):
        raise PermissionError("not yours")

    path = table("x,y\n1,0\n2,1\n")
    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(ConfigError, match="cannot be read: not yours"):
        csv(path, "y")
