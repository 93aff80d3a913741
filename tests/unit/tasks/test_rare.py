import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.tasks import fraud, rare
from colearn.tasks._census import CENSUS_CATEGORIES

HEADER = ",".join(
    f'"{name}"' for name in ["Time", *[f"V{i}" for i in range(1, 29)], "Amount", "Class"]
)


def card(label, amount="200", first="1.5", time="9"):
    return ",".join([time, first, *["0.25"] * 27, amount, f'"{label}"'])


def person(label="- 50000.", **replaced):
    """A record of the census with leading spaces, as published; keywords are c0, c1, ..."""
    cells = ["0"] * 42
    for name, (place, values) in CENSUS_CATEGORIES.items():
        cells[place] = values[-1] if name == "sex" else values[0]
    cells[0], cells[39], cells[41] = "38", "26", label
    for key, value in replaced.items():
        cells[int(key[1:])] = value
    return ", ".join(cells)


def written(tmp_path, *lines):
    file = tmp_path / "table.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_the_card_file_becomes_29_features_without_the_time(tmp_path):
    task = fraud(written(tmp_path, HEADER, card(0), card(1, first="-2")))
    assert task.X.shape == (2, 29)
    assert task.X[:, 0].tolist() == [1.5, -2.0]
    assert task.y.tolist() == [0, 1]
    assert task.schema.features[0] == "V1"
    assert task.scaling.apply(task.X)[0, -1] == 2.0
    assert task.name == "credit_card_fraud"


def test_the_census_file_becomes_numbers_and_listed_categories(tmp_path):
    task = fraud(written(tmp_path, person(), person("50000+.")))
    features = dict(zip(task.schema.features, task.scaling.apply(task.X)[0], strict=True))
    assert task.X.shape == (2, 63)
    assert task.y.tolist() == [0, 1]
    assert (features["age"], features["weeks worked in year"]) == (0.38, 0.5)
    assert (features["sex=Male"], features["sex=Female"]) == (1.0, 0.0)
    assert task.X[0, 7:].sum() == len(CENSUS_CATEGORIES)


@pytest.mark.parametrize("lines", [[HEADER, card(0), card(1), card(1)], [person()] * 3])
def test_the_first_rows_can_be_taken(tmp_path, lines):
    assert len(fraud(written(tmp_path, *lines), rows=2).y) == 2
    assert len(fraud(written(tmp_path, *lines)).y) == 3


def test_what_comes_after_the_rows_taken_is_not_looked_at(tmp_path):
    assert len(fraud(written(tmp_path, HEADER, card(0), "x"), rows=1).y) == 1


@pytest.mark.parametrize("rows", [0, True, 1.5, 2])
def test_rows_that_cannot_be_are_refused(tmp_path, rows):
    with pytest.raises(ConfigError, match="rows must be|expected at least 2"):
        fraud(written(tmp_path, HEADER, card(0)), rows=rows)


@pytest.mark.parametrize("lines", [[""], ["a,b", "1,2"], [person("maybe")], [person() + ", 1"]])
def test_another_table_is_refused_with_a_hint(tmp_path, lines):
    with pytest.raises(ConfigError, match="neither the header") as caught:
        fraud(written(tmp_path, *lines))
    assert "colearn.tasks:csv" in str(caught.value.hint)


@pytest.mark.parametrize(
    "bad",
    [
        card(2),
        card(0, amount="nan"),
        card(0, amount="1_0"),
        card(0, amount=""),
        card(0, amount="٣"),
        card(0) + ",1",
    ],
)
def test_a_bad_payment_is_named_by_its_line(tmp_path, bad):
    with pytest.raises(ConfigError, match="line 3: "):
        fraud(written(tmp_path, HEADER, card(0), bad))


@pytest.mark.parametrize("bad", [person("x"), person(c0="inf"), person(c12="?"), person() + ", 1"])
def test_a_bad_person_is_named_by_its_line(tmp_path, bad):
    with pytest.raises(ConfigError, match="line 2: "):
        fraud(written(tmp_path, person(), bad))


def test_a_header_alone_is_no_task(tmp_path):
    with pytest.raises(ConfigError, match="0 records"):
        fraud(written(tmp_path, HEADER))


def test_a_file_over_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(rare, "FRAUD_BYTES_MAX", 100)
    with pytest.raises(ConfigError, match="the limit is 100"):
        fraud(written(tmp_path, HEADER, card(0)))


def test_every_feature_has_its_own_name(tmp_path):
    names = fraud(written(tmp_path, person())).schema.features
    assert len(np.unique(names)) == len(names) == 63
