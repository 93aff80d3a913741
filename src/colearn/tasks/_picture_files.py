"""Which files are the pictures of a folder whose subfolders are classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from colearn.errors import ConfigError

__all__ = ["PICTURES_MAX", "class_pictures", "part_folder"]

PICTURES_MAX = 50_000
"""The most files the folder of a class may have."""

SUFFIXES = (".jpeg", ".jpg", ".png")
_LAYOUT = (
    "Expected a folder for each class, such as {classes}, in it or below train/, val/ and test/ in "
    "it, as in chest_xray of kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia."
)


def part_folder(path: Path, part: str, classes: Sequence[str]) -> Path:
    """Return the folder in which the folders of the classes are.

    Args:
        path: The folder of the data set, or the one in which it is called ``chest_xray``.
        part: The subfolder to take. A folder without parts is all ``"train"``.
        classes: The names of the classes' folders.

    Raises:
        ConfigError: There is no such part, no folder of a class, or a link where a folder is due.
    """
    inner = path / "chest_xray"
    for base in (path, *([inner] if _is_folder(inner) else [])):
        if _is_folder(base / part):
            return base / part
        if any(_is_folder(base / name) for name in classes):
            if part == "train":
                return base
            raise ConfigError(
                f"{base} has classes and no {part!r} part.",
                hint='Take part="train" and let the experiment set test rows apart.',
            )
    raise ConfigError(
        f"There are no pictures of the part {part!r} in {path}.",
        hint=_LAYOUT.format(classes=" and ".join(classes[:2])),
    )


def class_pictures(folder: Path, classes: Sequence[str]) -> list[list[Path]]:
    """Return the pictures of each class in the order of their names; hidden files do not count.

    A learner need not have pictures of every class, so a class without a folder has none.

    Raises:
        ConfigError: No picture at all, a folder that is no class, a link, a file that does not end
            in one of `SUFFIXES`, or a class with more than `PICTURES_MAX`.
    """
    for entry in _entries(folder):
        if _is_folder(Path(entry)) and entry.name not in classes:
            raise ConfigError(
                f"{Path(entry)} is the folder of no class: the classes are {list(classes[:10])}.",
                hint="List every class of the whole experiment in `classes`, or move the folder.",
            )
    found = [_pictures(folder / name) if _is_folder(folder / name) else [] for name in classes]
    if not any(found):
        raise ConfigError(
            f"{folder} has no pictures.", hint=_LAYOUT.format(classes=" and ".join(classes[:2]))
        )
    return found


def _pictures(folder: Path) -> list[Path]:
    pictures = []
    for entry in _entries(folder):
        if entry.is_symlink():
            raise _link(Path(entry))
        if not entry.is_file() or not entry.name.lower().endswith(SUFFIXES):
            raise ConfigError(
                f"{Path(entry)} is no file that ends in {', '.join(SUFFIXES)}.",
                hint="Convert it, or move it out of the folder of the class.",
            )
        pictures.append(Path(entry))
    return sorted(pictures, key=lambda picture: picture.name)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder and not hidden, in any order."""
    try:
        with os.scandir(folder) as listed:
            entries = list(islice(listed, PICTURES_MAX + 1))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be listed: {error.strerror}.") from error
    if len(entries) > PICTURES_MAX:
        raise ConfigError(
            f"{folder} has more than {PICTURES_MAX} files.", hint="Deal them to several folders."
        )
    return [entry for entry in entries if not entry.name.startswith(".")]


def _is_folder(path: Path) -> bool:
    """Say whether this is a folder; a link could lead out of the data set, so it is refused."""
    try:
        link, folder = path.is_symlink(), path.is_dir()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if link:
        raise _link(path)
    return folder


def _link(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is a link, and links are not followed.", hint="Put what it leads to in its place."
    )
