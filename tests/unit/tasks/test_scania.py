"""The file of truck failures: licence, then the columns, then trucks with ``na`` for what is missing."""

import pytest
from tests.unit.tasks.truck_files import HEADER, NAMES, truck, written

from colearn.errors import ConfigError
from colearn.tasks import scania, trucks


def test_the_licence_is_skipped_and_170_features_are_read(tmp_path):
    task = scania(written(tmp_path, HEADER, truck(), truck("pos", eg_000="1.5")))
    assert task.X.shape == (2, 170)
    assert task.X[:, 0].tolist() == [76698.0, 76698.0]
    assert task.X[:, -1].tolist() == [0.0, 1.5]
    assert task.y.tolist() == ["neg", "pos"]
    assert task.schema.features == tuple(NAMES)
    assert task.schema.classes == ("neg", "pos")
    assert task.name == "scania"


def test_the_licence_may_be_cut_off(tmp_path):
    assert len(scania(written(tmp_path, HEADER, truck(), licence="")).y) == 1


def test_missing_values_without_an_imputation_are_counted_by_column(tmp_path):
    lines = [truck(ab_000="na"), truck(ab_000="na", ee_009="na")]
    with pytest.raises(ConfigError, match=r"'ab_000' \(2\), 'ee_009' \(1\)") as caught:
        scania(written(tmp_path, HEADER, *lines))
    assert "imputation" in caught.value.hint


def test_a_declared_imputation_fills_what_is_missing(tmp_path):
    file = written(tmp_path, HEADER, truck(ab_000="na", ee_009="na"), truck(ab_000="3"))
    task = scania(file, imputation=-1)
    assert task.X[:, NAMES.index("ab_000")].tolist() == [-1.0, 3.0]
    assert task.X[0, NAMES.index("ee_009")] == -1.0
    task = scania(file, imputation={"ab_000": 7, "ee_009": 0.5})
    assert task.X[0, [1, NAMES.index("ee_009")]].tolist() == [7.0, 0.5]
    with pytest.raises(ConfigError, match=r"'ee_009' \(1\)"):
        scania(file, imputation={"ab_000": 7})


@pytest.mark.parametrize("imputation", [True, "0", [0], float("nan"), {"zz": 0}, {"ab_000": "x"}])
def test_an_imputation_that_is_no_good_is_refused(tmp_path, imputation):
    with pytest.raises(ConfigError, match="imputation"):
        scania(written(tmp_path, HEADER, truck(ab_000="na")), imputation=imputation)


def test_the_first_rows_can_be_taken_and_the_rest_is_not_looked_at(tmp_path):
    file = written(tmp_path, HEADER, truck(), truck("pos"), "nonsense")
    assert scania(file, rows=2).y.tolist() == ["neg", "pos"]
    with pytest.raises(ConfigError, match="line 24"):
        scania(file)


@pytest.mark.parametrize("rows", [0, -1, True, 1.5, 2])
def test_rows_that_cannot_be_are_refused(tmp_path, rows):
    with pytest.raises(ConfigError, match="rows must be|expected at least 2"):
        scania(written(tmp_path, HEADER, truck()), rows=rows)


@pytest.mark.parametrize(
    "bad",
    [
        truck("maybe"),
        truck(aa_000="nan"),
        truck(aa_000="inf"),
        truck(aa_000="1_0"),
        truck(aa_000=""),
        truck(aa_000="٣"),
        truck() + ",0",
        "neg",
    ],
)
def test_a_bad_truck_is_named_by_its_line(tmp_path, bad):
    with pytest.raises(ConfigError, match="line 23: "):
        scania(written(tmp_path, HEADER, truck(), bad))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER + ",eh_000", "expected 170 columns behind 'class', got 171"),
        ("class,aa_000", "got 1"),
        (HEADER.replace("aa_000", "wage per hour"), "got 'wage per hour'"),
        (HEADER.replace("aa_000", "ab_000"), "'ab_000' occurs twice"),
        (HEADER.replace("class", "kind"), "none of the first 100 lines names the columns"),
    ],
)
def test_other_columns_are_refused(tmp_path, header, message):
    with pytest.raises(ConfigError, match=message):
        scania(written(tmp_path, header, truck()))


def test_the_columns_are_not_searched_without_end(tmp_path):
    preamble = "text\n" * trucks.PREAMBLE_MAX
    with pytest.raises(ConfigError, match="none of the first"):
        scania(written(tmp_path, HEADER, truck(), licence=preamble))
    file = written(tmp_path, HEADER, truck(), licence=preamble[: -len("text\n")])
    assert len(scania(file).y) == 1


def test_without_a_path_the_error_says_where_the_file_comes_from(tmp_path):
    with pytest.raises(ConfigError, match="archive.ics.uci.edu"):
        scania()
    with pytest.raises(ConfigError, match="is not a file"):
        scania(tmp_path)
    with pytest.raises(ConfigError, match="0 trucks"):
        scania(written(tmp_path, HEADER))
