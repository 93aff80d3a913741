"""A table from a CSV file: numbers, listed categories, a target; everything else is refused."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from colearn.errors import ConfigError
from colearn.preprocess import impute
from colearn.schema import Schema
from colearn.tasks._records import CSV_BYTES_MAX, finite_number, read_records
from colearn.tasks.base import FloatArray, Task

__all__ = ["CSV_BYTES_MAX", "csv"]

WHOLE_LABEL_MAX = 2**53
"""Whole labels stay below this: from here on float64 makes one number of two labels."""

Kind = Literal["classification", "regression"]


def csv(
    path: str | os.PathLike[str],
    target: str,
    *,
    group: str | None = None,
    id_columns: Sequence[str] = (),
    categories: Mapping[str, Sequence[str]] | None = None,
    imputation: Mapping[str, float] | None = None,
    kind: Kind = "classification",
    classes: Sequence[int | str] | None = None,
) -> Task:
    """Read a task from a UTF-8 CSV file with a header line.

    Every column that is not the target, the group or an id is a feature. Spaces around a cell do
    not count, an empty cell is a missing value, blank lines are skipped.

    Args:
        path: The file, at most `CSV_BYTES_MAX` bytes.
        target: The column to predict.
        group: The column whose rows stay together in a split; no feature.
        id_columns: Columns to leave out, such as a patient's number.
        categories: Text columns, each with all its values in the whole experiment. A value
            becomes a feature ``column=value`` of 0 and 1.
        imputation: Feature to the number that stands in for a missing value (protocol 6.2).
        kind: Whether the target is a class or a number.
        classes: All class labels of the whole experiment (6.1). Without it they are those of this
            file, which is right only where every learner reads the same file.

    Returns:
        A task named after the file; X float64 (rows, features), y (rows,) of int64 labels where
        all are whole numbers, text labels otherwise, or float64 numbers.

    Raises:
        ConfigError: The file or an argument is no good; the text names the column and the line.
    """
    if kind not in ("classification", "regression"):
        raise ConfigError(f'kind must be "classification" or "regression", got {kind!r}.')
    if kind == "regression" and classes is not None:
        raise ConfigError("A regression has no classes.", hint="Leave `classes` out.")
    file = Path(path)
    records = read_records(file)
    line, header = next(records, (1, []))
    if not header:
        raise ConfigError(f"{file} is empty; expected a header line.")
    roles = _Roles(target, group, _plain_list(id_columns), categories or {})
    layout = _layout(file, line, header, roles)
    table = _Table(layout)
    for line, record in records:
        table.add(line, record)
    X, names = table.features()
    if kind == "regression":
        y, schema = np.array(_numbers(table, target)), Schema.of(names)
    else:
        y = np.array(_labels(table, target, classes))
        schema = Schema.of(names, np.unique(y) if classes is None else classes)
    return Task(
        name=file.stem,
        X=impute(X, imputation or {}, names),
        y=y,
        schema=schema,
        groups=None if group is None else np.array(table.groups),
    )


@dataclass(frozen=True, slots=True)
class _Roles:
    """What the caller said about the columns."""

    target: str
    group: str | None
    ids: tuple[str, ...]
    categories: Mapping[str, Sequence[str]]

    def no_features(self) -> list[str]:
        return [self.target, *([] if self.group is None else [self.group]), *self.ids]


@dataclass(frozen=True, slots=True)
class _Column:
    """One feature column of the file, and its listed values where it is a category."""

    name: str
    position: int
    values: tuple[str, ...] | None

    def names(self) -> list[str]:
        if self.values is None:
            return [self.name]
        return [f"{self.name}={value}" for value in self.values]

    def cells(self, text: str, file: Path, line: int) -> list[float]:
        if self.values is not None:
            if text not in self.values:
                raise ConfigError(
                    f"{file}, line {line}: column {self.name!r} has the value {text!r}, which is "
                    f"not among its categories {list(self.values[:10])}.",
                    hint="List every value of the whole experiment in `categories`.",
                )
            return [float(text == value) for value in self.values]
        number = math.nan if text == "" else finite_number(text)
        if number is None:
            raise ConfigError(
                f"{file}, line {line}: column {self.name!r} must be numbers, got {text!r}.",
                hint="List its values in `categories`, or name it in `id_columns`.",
            )
        return [number]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where in a record everything is."""

    file: Path
    width: int
    target: int
    group: int | None
    columns: tuple[_Column, ...]


@dataclass(slots=True)
class _Table:
    """What was read so far; cells as numbers, so that no row is kept as text."""

    layout: _Layout
    cells: array[float] = field(default_factory=lambda: array("d"))
    targets: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def add(self, line: int, record: list[str]) -> None:
        layout = self.layout
        if len(record) != layout.width:
            raise ConfigError(
                f"{layout.file}, line {line}: expected {layout.width} cells as in the header, got "
                f"{len(record)}."
            )
        for column in layout.columns:
            self.cells.extend(column.cells(record[column.position], layout.file, line))
        self.targets.append(record[layout.target])
        self.lines.append(line)
        if layout.group is not None:
            if not record[layout.group]:
                raise ConfigError(
                    f"{layout.file}, line {line}: the group is missing.",
                    hint="Give the row a group, or leave it out.",
                )
            self.groups.append(record[layout.group])

    def features(self) -> tuple[FloatArray, list[str]]:
        names = [name for column in self.layout.columns for name in column.names()]
        if not self.lines:
            raise ConfigError(f"{self.layout.file} has a header and no rows.")
        return np.array(self.cells, dtype=np.float64).reshape(len(self.lines), len(names)), names


def _layout(file: Path, line: int, header: list[str], roles: _Roles) -> _Layout:
    seen: set[str] = set()
    for position, name in enumerate(header):
        if not name or name in seen:
            what = f"{name!r} twice" if name else f"no name for column {position + 1}"
            raise ConfigError(f"{file}, line {line}: the header has {what}.")
        seen.add(name)
    no_features = roles.no_features()
    named = [*no_features, *roles.categories]
    for name in named:
        if name not in header:
            raise ConfigError(
                f"{file}, line {line}: the header has no column {name!r}.",
                hint=f"Its first columns are {header[:10]}.",
            )
        if named.count(name) > 1:
            raise ConfigError(
                f"Column {name!r} has two roles.",
                hint="A column is the target, the group, an id or a feature.",
            )
    columns = tuple(
        _Column(name, position, _listed(name, roles.categories))
        for position, name in enumerate(header)
        if name not in no_features
    )
    if not columns:
        raise ConfigError(f"{file}, line {line}: no column is left to be a feature.")
    group = None if roles.group is None else header.index(roles.group)
    return _Layout(file, len(header), header.index(roles.target), group, columns)


def _plain_list(id_columns: Sequence[str]) -> tuple[str, ...]:
    if isinstance(id_columns, str):
        raise ConfigError(f"id_columns must be a list of columns, got the text {id_columns!r}.")
    return tuple(id_columns)


def _listed(name: str, categories: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    if name not in categories:
        return None
    values = categories[name]
    if isinstance(values, str) or not values or len(set(values)) != len(values):
        raise ConfigError(
            f"The categories of {name!r} must be a list of different values, got {values!r}."
        )
    return tuple(values)


def _numbers(table: _Table, target: str) -> list[float]:
    numbers = []
    for text, line in zip(table.targets, table.lines, strict=True):
        number = finite_number(text)
        if number is None:
            raise _bad_target(table, target, line, f"must be numbers, got {text!r}")
        numbers.append(number)
    return numbers


def _labels(
    table: _Table, target: str, classes: Sequence[int | str] | None
) -> list[int] | list[str]:
    """Return the labels: whole numbers if all are (or the classes are), else text."""
    for text, line in zip(table.targets, table.lines, strict=True):
        if not text:
            raise _bad_target(table, target, line, "is missing")
    numbers = [finite_number(text) for text in table.targets]
    whole = [int(number) for number in numbers if number is not None and number.is_integer()]
    if len(whole) == len(numbers) and not _are_text(classes):
        labels: list[int] | list[str] = whole
    else:
        labels = table.targets
    for label, line in zip(labels, table.lines, strict=True):
        if isinstance(label, int) and abs(label) >= WHOLE_LABEL_MAX:
            raise _bad_target(table, target, line, f"must be below 2**53, got {label:.3g}")
        if classes is not None and label not in classes:
            raise _bad_target(table, target, line, f"has {label!r}, not among {list(classes[:10])}")
    return labels


def _are_text(classes: Sequence[int | str] | None) -> bool:
    return bool(classes) and isinstance(next(iter(classes or ())), str)


def _bad_target(table: _Table, target: str, line: int, what: str) -> ConfigError:
    return ConfigError(
        f"{table.layout.file}, line {line}: the target {target!r} {what}.",
        hint="Correct the row, or leave it out.",
    )
