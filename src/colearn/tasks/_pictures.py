"""One PNG or JPEG file as a small grey square; the only module that imports Pillow."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from colearn.errors import ConfigError

__all__ = ["PICTURE_BYTES_MAX", "PICTURE_PIXELS_MAX", "grey_square"]

PICTURE_BYTES_MAX = 2**24
"""The most a picture's file may hold, in bytes: 16 MiB."""

PICTURE_PIXELS_MAX = 2**25
"""The most pixels a picture may have, 33.5 million: a small file can declare a vast one."""

FORMATS = ("PNG", "JPEG")

_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
"""Pillow's names of pixels with at most 8 bits a channel; greys of 16 bits it would clip at 255."""


def grey_square(file: Path, side: int) -> npt.NDArray[np.uint8]:
    """Return a picture in grey, squeezed to `side` x `side` by a linear filter, (side, side) uint8.

    The bytes are not trusted. What they are is told by themselves and not by the file's name, only
    Pillow's decoders of `FORMATS` see them, and the size they declare is checked before a pixel is
    decoded.

    Raises:
        ConfigError: The file cannot be read, is over `PICTURE_BYTES_MAX` bytes or
            `PICTURE_PIXELS_MAX` pixels, or is no whole PNG or JPEG of 8 bits a channel.
    """
    data = _read(file)
    # Pillow warns of odd metadata and of size: the first is of no use here, the second is refused.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                _check(file, picture)
                grey = picture.convert("L").resize((side, side), Image.Resampling.BILINEAR)
        except ConfigError:
            raise
        except UnidentifiedImageError as error:
            raise ConfigError(
                f"{file} is neither PNG nor JPEG.", hint="Convert the picture, or remove it."
            ) from error
        # A decoder says in many ways that bytes are no good: OSError, SyntaxError, ValueError...
        except Exception as error:
            raise ConfigError(
                f"{file} cannot be decoded: {error}.", hint="Copy the file again, or remove it."
            ) from error
    return np.array(grey, dtype=np.uint8)


def _read(file: Path) -> bytes:
    try:
        # A link that took the file's place since the folder was listed is not followed either.
        descriptor = os.open(
            file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        )
        with open(descriptor, "rb") as stream:  # noqa: PTH123
            data = stream.read(PICTURE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
    if len(data) > PICTURE_BYTES_MAX:
        raise ConfigError(
            f"{file} is larger than {PICTURE_BYTES_MAX} bytes.",
            hint="Make the picture smaller, or remove it.",
        )
    return data


def _check(file: Path, picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > PICTURE_PIXELS_MAX:
        raise ConfigError(
            f"{file} declares {width} x {height} pixels; the limit is {PICTURE_PIXELS_MAX}.",
            hint="Make the picture smaller, or remove it.",
        )
    if picture.mode not in _MODES:
        raise ConfigError(
            f"{file} must have grey or RGB pixels of 8 bits a channel, got Pillow's mode "
            f"{picture.mode!r}.",
            hint="Convert the picture to 8 bits, grey or RGB.",
        )
