"""The records of a CSV file, with the line each one is on, and the numbers in its cells."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from csv import Error as CsvError
from csv import reader as csv_reader
from pathlib import Path

from colearn.errors import ConfigError

__all__ = ["CSV_BYTES_MAX", "finite_number", "read_records"]

CSV_BYTES_MAX = 2**27
"""The most a CSV file may hold, in bytes: 128 MiB, because it is held in memory as text."""


def read_records(file: Path, bytes_max: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the stripped cells of every record that is not blank.

    The number is that of the record's last line, counted from 1.

    Raises:
        ConfigError: No file, over `bytes_max` bytes (`CSV_BYTES_MAX` without it), not UTF-8, a NUL
            byte, or quotes that do not close; the text names the line.
    """
    rows = csv_reader(
        io.StringIO(_read_text(file, bytes_max or CSV_BYTES_MAX), newline=""), strict=True
    )
    while True:
        try:
            record = next(rows)
        except StopIteration:
            return
        except CsvError as error:
            raise ConfigError(f"{file}, line {rows.line_num}: {error}.") from error
        if record:
            yield rows.line_num, [cell.strip() for cell in record]


def finite_number(text: str) -> float | None:
    """Read a finite number, and None from everything else: nan, 1_000, other scripts' digits."""
    if not text.isascii() or "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _read_text(file: Path, bytes_max: int) -> str:
    if not file.is_file():
        raise ConfigError(f"{file} is not a file.", hint="Check the path of the CSV file.")
    try:
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            # One byte more than the limit shows a file that grew in between.
            data = b"" if size > bytes_max else stream.read(bytes_max + 1)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from error
    if max(size, len(data)) > bytes_max:
        raise ConfigError(
            f"{file} has {max(size, len(data))} bytes; the limit is {bytes_max}.",
            hint="Leave out columns or rows.",
        )
    if (nul := data.find(b"\0")) >= 0:
        raise ConfigError(f"{file}, line {_line(data, nul)}: a NUL byte; expected text.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The error counts in its own bytes, which lack a mark at the start.
        raise ConfigError(
            f"{file}, line {_line(error.object, error.start)}: not UTF-8.",
            hint="Save the table as UTF-8.",
        ) from error


def _line(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1
