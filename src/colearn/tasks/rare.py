"""Rare positives in a table: credit-card fraud, or high incomes in a census; nothing downloaded."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from colearn.errors import ConfigError
from colearn.preprocess import Scaling
from colearn.schema import Schema
from colearn.tasks._census import (
    CENSUS_CATEGORIES,
    CENSUS_LABELS,
    CENSUS_NUMBERS,
    CENSUS_WIDTH,
)
from colearn.tasks._records import finite_number, read_records
from colearn.tasks.base import Task

__all__ = ["FRAUD_BYTES_MAX", "fraud"]

FRAUD_BYTES_MAX = 2**28
"""The most the file may hold, in bytes: 256 MiB; the card file has 151 MB, the census 104 MB."""

_CARD_HEADER = ["Time", *[f"V{number}" for number in range(1, 29)], "Amount", "Class"]
_CARD_AMOUNT = 100.0
_CLASSES = (0, 1)

Row = Callable[[list[str]], tuple[list[float], int]]
"""From a record's cells to its features and its label."""


@dataclass(frozen=True, slots=True)
class _Table:
    """How one of the two files is read; ``row`` raises ValueError for a cell that is no good."""

    name: str
    width: int
    features: tuple[str, ...]
    divisors: tuple[float, ...]
    row: Row


def fraud(path: str | os.PathLike[str], rows: int | None = None) -> Task:
    """Return a classification with few positives: 1 is what is looked for, 0 the rest.

    The file is told by its first line. Kaggle's ``creditcard.csv``: 284,807 payments of which 492
    are frauds; its column Time, the seconds since the first payment, is left out. Or the UCI
    census-income (KDD) file ``census-income.data``, without a header: 199,523 persons, 6 % with
    an income above 50,000 dollars; seven numbers and six categories of its columns.

    The scaling divides numbers by round public constants. With so few positives accuracy says
    little: give learners ``metric = "balanced_accuracy"``.

    Args:
        path: The file, at most `FRAUD_BYTES_MAX` bytes.
        rows: How many records, from the first on; all of them without it.

    Returns:
        X float64 (rows, 29) or (rows, 63), y int64 (rows,).

    Raises:
        ConfigError: No such file, neither of the two, a cell that is no good (names the line), or
            too few records.
    """
    if rows is not None and (type(rows) is not int or rows < 1):
        raise ConfigError(f"rows must be a whole number from 1, got {rows!r}.")
    file = Path(path)
    records = read_records(file, FRAUD_BYTES_MAX)
    line, first = next(records, (1, []))
    if first == _CARD_HEADER:
        table = _CARDS
    elif len(first) == CENSUS_WIDTH and first[-1] in CENSUS_LABELS:
        table, records = _CENSUS, chain([(line, first)], records)
    else:
        raise ConfigError(
            f"{file}, line 1: neither the header of creditcard.csv nor a census-income record.",
            hint="Give one of these files as it was published; for others use colearn.tasks:csv.",
        )
    return _task(table, file, records, rows)


def _task(
    table: _Table, file: Path, records: Iterator[tuple[int, list[str]]], rows: int | None
) -> Task:
    cells, labels = array("d"), array("q")
    for line, record in islice(records, rows):
        if len(record) != table.width:
            raise ConfigError(
                f"{file}, line {line}: expected {table.width} cells, got {len(record)}."
            )
        try:
            features, label = table.row(record)
        except ValueError as error:
            raise ConfigError(f"{file}, line {line}: {error}.") from error
        cells.extend(features)
        labels.append(label)
    if len(labels) < (rows or 1):
        raise ConfigError(f"{file} has {len(labels)} records; expected at least {rows or 1}.")
    return Task(
        name=table.name,
        X=np.array(cells, np.float64).reshape(len(labels), len(table.features)),
        y=np.array(labels, np.int64),
        schema=Schema.of(table.features, _CLASSES),
        scaling=Scaling(np.zeros(len(table.features)), np.array(table.divisors)),
    )


def _card(record: list[str]) -> tuple[list[float], int]:
    if record[-1] not in ("0", "1"):
        raise ValueError(f"the class must be 0 or 1, got {record[-1]!r}")
    return [_number(cell) for cell in record[1:-1]], int(record[-1])


def _person(record: list[str]) -> tuple[list[float], int]:
    if record[-1] not in CENSUS_LABELS:
        raise ValueError(f"the income must be among {list(CENSUS_LABELS)}, got {record[-1]!r}")
    features = [_number(record[place]) for place, _ in CENSUS_NUMBERS.values()]
    for name, (place, values) in CENSUS_CATEGORIES.items():
        if record[place] not in values:
            raise ValueError(f"{name!r} has the unknown value {record[place]!r}")
        features += [float(record[place] == value) for value in values]
    return features, CENSUS_LABELS[record[-1]]


def _number(text: str) -> float:
    number = finite_number(text)
    if number is None:
        raise ValueError(f"expected a number, got {text!r}")
    return number


def _census() -> _Table:
    listed = [
        f"{name}={value}" for name, (_, values) in CENSUS_CATEGORIES.items() for value in values
    ]
    divisors = [divisor for _, divisor in CENSUS_NUMBERS.values()]
    return _Table(
        "census_income",
        CENSUS_WIDTH,
        (*CENSUS_NUMBERS, *listed),
        (*divisors, *[1.0] * len(listed)),
        _person,
    )


_CARDS = _Table(
    "credit_card_fraud",
    len(_CARD_HEADER),
    tuple(_CARD_HEADER[1:-1]),
    (*[1.0] * 28, _CARD_AMOUNT),
    _card,
)
_CENSUS = _census()
