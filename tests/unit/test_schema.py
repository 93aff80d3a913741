import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.schema import Schema


def test_columns_get_names_when_only_their_number_is_given():
    assert Schema.of(3) == Schema(("x0", "x1", "x2"))
    assert Schema.of(["age", "dose"]).features == ("age", "dose")
    assert Schema.of(np.array(["age", "dose"])).features == ("age", "dose")


def test_classes_are_sorted_plain_values():
    assert Schema.of(1, [2, 0, 1]).classes == (0, 1, 2)
    assert Schema.of(1, ["b", "a"]).classes == ("a", "b")
    assert Schema.of(1, np.array([1.0, 0.0])).classes == (0, 1)
    assert Schema.of(1, np.array([True, False])).classes == (0, 1)
    assert Schema.of(1, [True, False]).classes == (0, 1)
    for classes in (np.array([3, 1], np.uint8), np.array(["b", "a"])):
        assert {type(label) for label in Schema.of(1, classes).classes} <= {int, str}
    assert Schema.of(1).classes is None
    assert Schema.of(1, constant=2.5).constant == 2.5


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "at least two"),
        ([1], "at least two"),
        ([1, 1], "at least two"),
        ([1, 2, 1.0], "at least two"),
        ([1, "a"], "all int or all str"),
        ([0.5, 1], "must be int or str"),
        ([None, 1], "must be int or str"),
        ([float("nan"), 1], "must be int or str"),
        ([b"a", b"b"], "must be int or str"),
    ],
)
def test_classes_that_are_none_are_refused(classes, message):
    with pytest.raises(ConfigError, match=message):
        Schema.of(1, classes)


def test_a_repeated_column_is_named():
    with pytest.raises(ConfigError, match="'dose' occurs twice"):
        Schema.of(["age", "dose", "dose"])


BASE = Schema.of(["age", "dose"], ["no", "yes"])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Schema.of(["age", "dose"], ["yes", "no"]), None),
        (Schema.of(["age"], ["no", "yes"]), "expected 2 features, got 1"),
        (
            Schema.of(["age", "mass"], ["no", "yes"]),
            "expected column 'dose' at position 1, got 'mass'",
        ),
        (Schema.of(["age", "dose"], ["no", "maybe"]), "class 'yes' is missing"),
        (Schema.of(["age", "dose"], ["no", "yes", "x"]), "class 'x' was not expected"),
        (Schema.of(["age", "dose"]), "expected classes ('no', 'yes'), got None"),
        (Schema.of(["age", "dose"], ["no", "yes"], 1.0), "expected the constant 0.0, got 1.0"),
    ],
)
def test_the_first_difference_is_put_in_words(other, said):
    assert BASE.difference(other) == said


def test_a_regression_expects_no_classes():
    said = Schema.of(["age", "dose"]).difference(BASE)
    assert said == "expected classes None, got ('no', 'yes')"


def test_a_schema_cannot_be_changed():
    with pytest.raises(AttributeError):
        BASE.features = ()
