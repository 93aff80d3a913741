import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.preprocess import Scaling
from colearn.schema import Schema
from colearn.tasks import Task

BINARY = Schema.of(2, [0, 1])
TEXT = Schema.of(2, ["no", "yes"])
NUMBERS = Schema.of(2)
X = np.arange(6.0).reshape(3, 2)


def test_a_task_keeps_its_own_read_only_copy():
    mine = X.copy()
    task = Task("t", mine, np.array([0, 1, 1]), BINARY)
    mine[0, 0] = 99
    assert task.X[0, 0] == 0
    for array in (task.X, task.y):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_large_read_only_data_is_not_copied():
    mine = X.copy()
    mine.setflags(write=False)
    assert Task("t", mine, np.array([0, 1, 1]), BINARY).X is mine


def test_the_kind_follows_from_the_schema():
    assert Task("t", X, np.array([0, 1, 1]), BINARY).kind == "classification"
    assert Task("t", X, np.array([0, 1, 1]), NUMBERS).kind == "regression"


@pytest.mark.parametrize(
    ("y", "schema", "dtype", "expected"),
    [
        (np.array([0, 1, 1], np.uint8), BINARY, np.int64, [0, 1, 1]),
        (np.array([0.0, 1.0, 1.0]), BINARY, np.int64, [0, 1, 1]),
        (np.array([False, True, True]), BINARY, np.int64, [0, 1, 1]),
        (np.array(["no", "yes", "no"], object), TEXT, np.dtype("<U3"), ["no", "yes", "no"]),
        (np.array([1, 2, 3]), NUMBERS, np.float64, [1, 2, 3]),
    ],
)
def test_targets_get_the_dtype_of_their_kind(y, schema, dtype, expected):
    task = Task("t", X, y, schema)
    assert task.y.dtype == dtype
    assert task.y.tolist() == expected


def test_without_a_scaling_nothing_is_scaled():
    task = Task("t", X, np.array([0, 1, 1]), BINARY)
    np.testing.assert_array_equal(task.scaling.apply(X), X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": X[:0]}, "at least one row"),
        ({"X": X[0]}, "rows, features"),
        ({"X": X[:, :0], "schema": Schema.of(0, [0, 1])}, "at least one row and one feature"),
        ({"X": [["a", "b"]] * 3}, "X must be numbers"),
        ({"X": [[1], [1, 2], [1]]}, "X must be numbers"),
        ({"y": [[0], [0, 1], [1]]}, "y of task 't' is no array"),
        ({"y": [1, 2**70, 1], "schema": Schema.of(2, [1, 2**70])}, "does not fit into int64"),
        ({"X": np.zeros((3, 4))}, "Expected 2 features, got 4"),
        ({"X": np.where(X == 3, np.nan, X)}, r"'x1' \(1\)"),
        ({"y": np.array([0, 1])}, r"3 rows in X, and y has shape \(2,\)"),
        ({"y": np.array([[0], [1], [1]])}, r"y has shape \(3, 1\)"),
        ({"y": np.array([0, 1, 2])}, "Row 2 .*label 2"),
        ({"y": np.array([0, 1, 0.5])}, "Row 2 .*label 0.5"),
        ({"y": np.array([0, 1, np.nan])}, "Row 2 .*label nan"),
        ({"y": np.array(["0", "1", "1"])}, "Row 0 .*label '0'"),
        ({"y": np.array([0, 1, None])}, "Row 2 .*label None"),
        ({"schema": NUMBERS, "y": np.array(["a", "b", "c"])}, "must be numbers for regression"),
        ({"schema": NUMBERS, "y": np.array([1, np.inf, 2])}, "missing or infinite in row 1"),
        ({"groups": np.array(["a", "b"])}, "groups has shape"),
        ({"groups": np.array(["a", 1, "b"], object)}, "all numbers or all text"),
        ({"groups": np.array([0.0, np.nan, 1.0])}, "group is missing"),
        ({"groups": np.array([None, None, None])}, "group is missing"),
        ({"scaling": Scaling.identity(3)}, "for 3 features, and the schema has 2"),
    ],
)
def test_a_task_that_does_not_fit_together_is_refused(change, message):
    arguments = {"X": X, "y": np.array([0, 1, 1]), "schema": BINARY} | change
    with pytest.raises(ConfigError, match=message):
        Task("t", **arguments)


def test_text_groups_are_kept_as_text():
    task = Task("t", X, np.array([0, 1, 1]), BINARY, groups=np.array(["a", "b", "a"], object))
    assert task.groups.dtype.kind == "U"
    assert task.groups.tolist() == ["a", "b", "a"]
