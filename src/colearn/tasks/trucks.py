"""Failures of trucks: UCI's "APS Failure at Scania Trucks", by path; nothing is downloaded."""

from __future__ import annotations

import math
import os
import re
from array import array
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from colearn.errors import ConfigError
from colearn.preprocess import impute
from colearn.schema import Schema
from colearn.tasks._records import finite_number, read_records
from colearn.tasks.base import Task

__all__ = ["PREAMBLE_MAX", "scania"]

PREAMBLE_MAX = 100
"""Among how many first records the line with the columns must be; as published it is line 21."""

FEATURES = 170
TARGET = "class"
CLASSES = ("neg", "pos")
MISSING = "na"

_NAME = re.compile(r"[a-z]{2}_[0-9]{1,3}")
_SOURCE = (
    "Download the data set APS Failure at Scania Trucks from archive.ics.uci.edu/dataset/421 and "
    "give aps_failure_training_set.csv as it was published."
)

Records = Iterator[tuple[int, list[str]]]


def scania(
    path: str | os.PathLike[str] | None = None,
    *,
    imputation: float | Mapping[str, float] | None = None,
    rows: int | None = None,
) -> Task:
    """Return failures of trucks: "pos" where a part of the air pressure system (APS) was at fault.

    The training file has 60,000 trucks of which 1.67 % are "pos", the test file 16,000. The 170
    features are anonymous counters. No public constants to scale them are known, so the scaling
    changes nothing: trees need none, for other learners write ``preprocess.use = "shared"``. With
    so few positives accuracy says little: give learners ``metric = "balanced_accuracy"`` and
    ``monitor = ["average_precision", "f1"]``.

    Args:
        path: The CSV file, at most 128 MiB, with or without the text of the licence above the line
            that names the columns.
        imputation: The number that stands in for a missing value (``na``), for all features, or
            feature to number (protocol 6.2). Without it a missing value is an error.
        rows: How many trucks, from the first on; all of them without it.

    Returns:
        X float64 (rows, 170), y text (rows,).

    Raises:
        ConfigError: No path, no such file, other columns, a cell that is no good (names the
            line), a missing value without an imputation (names columns and counts), too few
            trucks, or an argument that is no good.
    """
    if path is None:
        raise ConfigError("scania needs the path of a file.", hint=_SOURCE)
    if rows is not None and (type(rows) is not int or rows < 1):
        raise ConfigError(f"rows must be a whole number from 1, got {rows!r}.")
    file = Path(path)
    records = read_records(file)
    names = _features(file, records)
    cells, labels = array("d"), list[str]()
    for line, record in islice(records, rows):
        labels.append(_label(file, line, record))
        cells.extend(_cells(file, line, record, names))
    if len(labels) < (rows or 1):
        raise ConfigError(f"{file} has {len(labels)} trucks; expected at least {rows or 1}.")
    X = np.array(cells, np.float64).reshape(len(labels), FEATURES)
    return Task(
        name="scania",
        X=impute(X, _stand_ins(imputation, names), names),
        y=np.array(labels),
        schema=Schema.of(names, CLASSES),
    )


def _features(file: Path, records: Records) -> list[str]:
    """Skip the licence and return the names in the line of the columns."""
    for line, record in islice(records, PREAMBLE_MAX):
        if record[0] != TARGET:
            continue
        names = record[1:]
        if len(names) != FEATURES:
            raise ConfigError(
                f"{file}, line {line}: expected {FEATURES} columns behind {TARGET!r}, got "
                f"{len(names)}.",
                hint="Give the file as it was published; for others use colearn.tasks:csv.",
            )
        wrong = next((name for name in names if not _NAME.fullmatch(name)), None)
        if wrong is not None:
            raise ConfigError(
                f"{file}, line {line}: expected columns such as 'aa_000', got {wrong[:40]!r}.",
                hint="Give the file as it was published; for others use colearn.tasks:csv.",
            )
        return names
    raise ConfigError(
        f"{file}: none of the first {PREAMBLE_MAX} lines names the columns, beginning with "
        f"{TARGET!r}.",
        hint=_SOURCE,
    )


def _label(file: Path, line: int, record: list[str]) -> str:
    if len(record) != 1 + FEATURES:
        raise ConfigError(f"{file}, line {line}: expected {1 + FEATURES} cells, got {len(record)}.")
    if record[0] not in CLASSES:
        raise ConfigError(
            f"{file}, line {line}: the class must be neg or pos, got {record[0][:40]!r}."
        )
    return record[0]


def _cells(file: Path, line: int, record: list[str], names: list[str]) -> Iterator[float]:
    for name, text in zip(names, record[1:], strict=True):
        number = math.nan if text == MISSING else finite_number(text)
        if number is None:
            raise ConfigError(
                f"{file}, line {line}: column {name!r} must be a number or na, got {text[:40]!r}."
            )
        yield number


def _stand_ins(
    imputation: float | Mapping[str, float] | None, names: list[str]
) -> Mapping[str, float]:
    given: object = imputation
    if given is None or isinstance(given, Mapping):
        return given or {}
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ConfigError(
            f"imputation must be a number, or a number for each named feature, got {given!r}."
        )
    return dict.fromkeys(names, given)
