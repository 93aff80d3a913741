"""X-ray pictures in folders of classes, by path; nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError, MissingExtraError
from colearn.preprocess import Scaling
from colearn.schema import Schema
from colearn.tasks._picture_files import class_pictures, part_folder
from colearn.tasks.base import Task

__all__ = ["PIXELS_MAX", "SIDE_MAX", "SIDE_MIN", "xray"]

SIDE_MIN, SIDE_MAX = 4, 512

PIXELS_MAX = 2**27
"""The most pixels that all pictures have together once they are small: 1 GiB as float64."""

PIXEL_MAX = 255.0
CLASSES = ("NORMAL", "PNEUMONIA")
PARTS = ("train", "val", "test")

_SOURCE = (
    "Download kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia and give the folder "
    "chest_xray, in which train, val and test each have the folders NORMAL and PNEUMONIA; folders "
    "of your own need only one folder for each class."
)


def xray(
    path: str | os.PathLike[str] | None = None,
    part: Literal["train", "val", "test"] = "train",
    side: int = 64,
    rows: int | None = None,
    classes: Sequence[str] = CLASSES,
) -> Task:
    """Return grey pictures whose classes are folders, such as the chest X-rays of Kaggle.

    Those are of children with and without pneumonia: 5,216 in "train", 26 % of them NORMAL, 16 in
    "val" and 624 in "test". A picture becomes grey and is squeezed to a square, whatever its shape
    was. The scaling divides by 255. ``small_cnn`` of PyTorch takes the rows with
    ``module_with = { side = 64 }``.

    Args:
        path: A folder with the classes' folders in it or below ``train``, ``val`` and ``test``, or
            the folder in which this one is called ``chest_xray``. PNG and JPEG are read, of at most
            16 MiB and 2**25 pixels each, 50,000 of a class. Hidden files do not count, links are
            refused.
        part: The subfolder to take; ``"train"`` is all of a folder without parts.
        side: Pixels along an edge, from 4 to 512; all small pictures together have at most 2**27.
        rows: How many pictures, from the first on; all of them without it. In every class they are
            in the order of their names, and the first ones have each class in its share.
        classes: The folders of all classes of the whole experiment (protocol 6.1).

    Returns:
        X float64 (rows, side * side) from 0 to 255, y text (rows,).

    Raises:
        ConfigError: No path, no such folder, a file that is no good (names it), too many pixels, or
            an argument is out of range.
        MissingExtraError: Pillow is not installed.
    """
    if path is None:
        raise ConfigError("xray needs the path of a folder.", hint=_SOURCE)
    _check_arguments(part, side, classes)
    names = sorted(classes)
    schema = Schema.of([f"pixel_{r}_{c}" for r in range(side) for c in range(side)], names)
    found = class_pictures(part_folder(Path(path), part, names), names)
    files, labels = _in_turn(found, names)
    count = _count(rows, len(files), side)
    return Task(
        name=f"xray_{part}",
        X=_pixels(files[:count], side),
        y=np.array(labels[:count]),
        schema=schema,
        scaling=Scaling.divide(PIXEL_MAX, side * side),
    )


def _check_arguments(part: object, side: object, classes: object) -> None:
    if part not in PARTS:
        raise ConfigError(f"part must be one of {', '.join(PARTS)}, got {part!r}.")
    if type(side) is not int or not SIDE_MIN <= side <= SIDE_MAX:
        raise ConfigError(
            f"side must be a whole number from {SIDE_MIN} to {SIDE_MAX}, got {side!r}."
        )
    if not isinstance(classes, list | tuple) or not all(map(_is_folder_name, classes)):
        raise ConfigError(f"classes must be a list of names of folders, got {classes!r}.")


def _is_folder_name(name: object) -> bool:
    # No name may lead out of the folder: "..", "/", "C:".
    return (
        isinstance(name, str)
        and bool(name)
        and not name.startswith(".")
        and not set(name) & set("/\\:\0")
    )


def _in_turn(found: list[list[Path]], names: list[str]) -> tuple[list[Path], list[str]]:
    """Merge the classes so that the first pictures have each class in its share."""
    order = sorted(
        ((place + 0.5) / len(files), label, place)
        for label, files in enumerate(found)
        for place in range(len(files))
    )
    return [found[label][place] for _, label, place in order], [names[each[1]] for each in order]


def _count(rows: object, available: int, side: int) -> int:
    if rows is None:
        rows = available
    elif type(rows) is not int or not 1 <= rows <= available:
        raise ConfigError(f"rows must be a whole number from 1 to {available}, got {rows!r}.")
    assert isinstance(rows, int)
    if rows * side * side > PIXELS_MAX:
        raise ConfigError(
            f"{rows} pictures of {side} x {side} pixels are more than {PIXELS_MAX} pixels.",
            hint="Lower side, or take fewer rows.",
        )
    return rows


def _pixels(files: list[Path], side: int) -> npt.NDArray[np.float64]:
    try:
        # Here and not above: importing colearn.tasks must not need Pillow.
        from colearn.tasks._pictures import grey_square  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("pillow", extra="images") from error
    pixels = np.empty((len(files), side * side))
    for row, file in enumerate(files):
        pixels[row] = grey_square(file, side).ravel()
    pixels.setflags(write=False)
    return pixels
