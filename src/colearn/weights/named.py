"""Named arrays that nobody can change any more, and how they are made from ones that can."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Iterator, Mapping
from mmap import mmap
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from colearn.errors import WeightsError
from colearn.weights.layout import Layout, check_text, layout_of
from colearn.weights.limits import DEFAULT_LIMITS, WeightsLimits

if sys.platform == "linux":
    from mmap import MADV_DONTNEED

if TYPE_CHECKING:
    from _collections_abc import dict_items, dict_values

__all__ = ["NamedArrays", "content_id", "form_of", "freeze"]

_NO_METADATA: Mapping[str, str] = MappingProxyType({})
_CID_PREFIX = bytes([0x01, 0x55, 0x12, 0x20])
"""CIDv1, codec raw, multihash sha2-256 of 32 bytes."""

_CHECK_ITEMS = 2**20
"""Values examined at a time, so that a check allocates a megabyte and not a quarter of a model."""


class NamedArrays(dict[str, npt.NDArray[Any]]):
    """A dict of read-only arrays over one immutable bytes object or file (protocol 6.3, P3.7).

    It is made by `freeze` or `decode`. It reads like any dict of numpy arrays; writing to it or to
    its arrays raises. Whoever reads an array gets a view of their own, since ``array.shape = ...``
    needs no right to write. `dict(weights)` is a dict that can be changed.

    Attributes:
        buffer: The canonical safetensors bytes, perhaps as a mapped file that cannot be written.
        layout: The form of the arrays; recently seen equal forms are the same object.
        metadata: Text that travels with the arrays.
    """

    __slots__ = ("_digest", "buffer", "layout", "metadata")

    buffer: bytes | mmap
    layout: Layout
    metadata: Mapping[str, str]
    _digest: str

    def __init__(
        self,
        views: dict[str, npt.NDArray[Any]],
        data: bytes | mmap,
        layout: Layout,
        metadata: Any,
        digest: str = "",
    ) -> None:
        """Wrap `views` of `data`; use `freeze` or `decode` instead."""
        if hasattr(self, "buffer"):
            self._refuse()
        super().__init__(views)
        fix = object.__setattr__
        fix(self, "buffer", data)
        fix(self, "layout", layout)
        fix(self, "metadata", MappingProxyType(dict(metadata)) if metadata else _NO_METADATA)
        fix(self, "_digest", digest)

    @property
    def data(self) -> bytes:
        """The canonical safetensors bytes; of a mapped file they are a copy."""
        return self.buffer if isinstance(self.buffer, bytes) else bytes(self.buffer)

    @property
    def digest(self) -> str:
        """Sha256 of the canonical bytes, in hex: equal weights have equal digests (6.3)."""
        if not self._digest:
            object.__setattr__(self, "_digest", hashlib.sha256(self.buffer).hexdigest())
        return self._digest

    @property
    def cid(self) -> str:
        """The digest as people see it: a CIDv1 (raw, sha2-256) in base 32 (6.3)."""
        return content_id(bytes.fromhex(self.digest))

    def copy(self) -> dict[str, npt.NDArray[Any]]:
        """Return a dict of writable copies."""
        return {name: array.copy() for name, array in self.items()}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return dict.__getitem__(self, name).view()

    # With an iterator of its own, dict(weights) and **weights go through __getitem__ as well.
    def __iter__(self) -> Iterator[str]:
        return super().__iter__()

    def get(self, name: str, default: Any = None) -> Any:
        """Return the array called `name`, or `default`."""
        array = super().get(name)
        return default if array is None else array.view()

    def _own_views(self) -> dict[str, npt.NDArray[Any]]:
        return {name: array.view() for name, array in super().items()}

    def items(self) -> dict_items[str, npt.NDArray[Any]]:
        """Return the names with their arrays."""
        return self._own_views().items()

    def values(self) -> dict_values[str, npt.NDArray[Any]]:
        """Return the arrays."""
        return self._own_views().values()

    def __or__(self, other: Any) -> Any:
        return self._own_views() | other

    def __ror__(self, other: Any) -> Any:
        return other | self._own_views()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("These weights are shared and cannot be changed: work on weights.copy().")

    __setitem__ = __delitem__ = __ior__ = __setattr__ = __delattr__ = _refuse
    update = pop = popitem = clear = setdefault = _refuse

    def __copy__(self) -> dict[str, npt.NDArray[Any]]:
        return self._own_views()

    def __deepcopy__(self, _: object) -> dict[str, npt.NDArray[Any]]:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return freeze, (dict(self), dict(self.metadata))


def content_id(digest: bytes) -> str:
    """Return the CIDv1 text (raw, sha2-256, base 32) of a 32-byte sha256 digest."""
    return "b" + base64.b32encode(_CID_PREFIX + digest).decode().lower().rstrip("=")


def freeze(
    arrays: Mapping[str, npt.NDArray[Any]],
    metadata: Mapping[str, str] = _NO_METADATA,
    limits: WeightsLimits = DEFAULT_LIMITS,
    like: Layout | None = None,
) -> NamedArrays:
    """Copy named arrays once into immutable memory, in canonical form, and check them.

    The checks read the copy, so nothing that happens to the originals meanwhile can pass them.

    Args:
        arrays: Name to numpy array; any memory order and byte order, any dtype of `DTYPE_CODES`.
        metadata: Short text that travels with the arrays.
        limits: What is too large.
        like: A form the arrays are likely to have, which saves the work of finding it out.

    Raises:
        WeightsError: Not a mapping of text to numpy arrays, a dtype that weights cannot have, a
            NaN or an infinity, or something over a limit; the message names the array.
    """
    spread = Spread.of(arrays, metadata, limits, like)
    # One pass over the bytes: every array is a C-contiguous buffer, so join copies it once.
    return spread.closed(b"".join(spread.pieces))


class Spread(NamedTuple):
    """Named arrays that were not copied yet, in the order of their bytes.

    Attributes:
        layout: Their form.
        pieces: Buffers that are the canonical bytes when they are put together.
        metadata: Text that travels with the arrays.
        size: How many bytes that are.
    """

    layout: Layout
    pieces: list[Any]
    metadata: Mapping[str, str]
    size: int

    @staticmethod
    def of(
        arrays: Mapping[str, npt.NDArray[Any]],
        metadata: Mapping[str, str] = _NO_METADATA,
        limits: WeightsLimits = DEFAULT_LIMITS,
        like: Layout | None = None,
    ) -> Spread:
        """Find the form of named arrays.

        Raises:
            WeightsError: As `freeze`, values aside.
        """
        if metadata:
            check_metadata(metadata, limits)
        plain = _plain(arrays)
        layout = like if like is not None and like.holds(plain) else _layout(plain, limits)
        header = layout.header(metadata)
        size = len(header) + layout.data_bytes
        if size > limits.proposal_bytes:
            raise WeightsError(f"Weights may have {limits.proposal_bytes} bytes, got {size}.")
        return Spread(layout, [header, *[plain[name] for name in layout.names]], metadata, size)

    def closed(self, data: bytes | mmap, digest: str = "") -> NamedArrays:
        """Return the arrays over a copy of the pieces that nobody changes any more.

        Args:
            data: The copy.
            digest: Sha256 of it, where it is known.

        Raises:
            WeightsError: A NaN or an infinity (names the array), or the pieces have changed.
        """
        if len(data) != self.size:
            raise WeightsError(f"The arrays changed while they were copied: {len(data)} bytes.")
        return opened(data, self.layout, len(self.pieces[0]), self.metadata, digest)


def form_of(
    arrays: Mapping[str, npt.NDArray[Any]], limits: WeightsLimits = DEFAULT_LIMITS
) -> Layout:
    """Return the form (names, dtypes, shapes) of named arrays without copying them.

    Raises:
        WeightsError: As `freeze`, values aside.
    """
    if type(arrays) is NamedArrays:
        return arrays.layout
    return _layout(_plain(arrays), limits)


def _layout(plain: dict[str, npt.NDArray[Any]], limits: WeightsLimits) -> Layout:
    return layout_of(
        tuple([(name, array.dtype, array.shape) for name, array in plain.items()]), limits
    )


def opened(
    data: bytes | mmap, layout: Layout, start: int, metadata: Mapping[str, str], digest: str = ""
) -> NamedArrays:
    """Return the arrays that `layout` finds in `data` from byte `start` on, values checked.

    `digest` is sha256 of `data`, where it is known already.

    Raises:
        WeightsError: A NaN, an infinity, or a bool that is neither 0 nor 1; names the array.
    """
    for dtype, offset, count in layout.checked_runs:
        run = np.ndarray((count,), dtype, data, start + offset)
        if not _is_clean(run, data):
            _name_the_unclean(layout.views(data, start))
    return NamedArrays(layout.views(data, start), data, layout, metadata, digest)


def let_go(data: mmap) -> None:
    """Let a mapped file's bytes go from memory; who reads them again gets them from the file."""
    # Where this cannot be said (Windows), the system takes them back when it needs the room.
    if sys.platform == "linux":
        data.madvise(MADV_DONTNEED)


def check_metadata(metadata: Mapping[str, str], limits: WeightsLimits) -> None:
    """Refuse metadata that is no small mapping of text to text.

    Raises:
        WeightsError: It is not.
    """
    if len(metadata) > limits.metadata_count:
        raise WeightsError(
            f"Expected at most {limits.metadata_count} metadata entries, got {len(metadata)}."
        )
    for key, value in metadata.items():
        check_text(key, "A metadata key", limits)
        check_text(value, f"The metadata value of {key!r}", limits)


def _plain(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the same arrays, C-contiguous and little-endian; only what is not so is copied."""
    if not isinstance(arrays, dict):
        raise WeightsError(f"Weights must be a dict of numpy arrays, got {type(arrays).__name__}.")
    plain = {}
    # The method of dict itself, and a test for str itself: a subclass may answer what it likes.
    for name, array in dict.items(arrays):
        if type(name) is not str:
            raise WeightsError(f"The name of an array must be text, got a {type(name).__name__}.")
        if type(array) is not np.ndarray:
            plain[name] = _base_array(name, array)
        elif array.flags.c_contiguous and array.dtype.byteorder != ">":
            plain[name] = array
        else:
            plain[name] = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    return plain


def _base_array(name: str, array: object) -> npt.NDArray[Any]:
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise WeightsError(f"Expected a numpy array under {name!r}, got {type(array).__name__}.")
    base = np.ndarray.view(array, np.ndarray)
    return np.asarray(base, base.dtype.newbyteorder("<"), order="C")


def _is_clean(run: npt.NDArray[Any], data: bytes | mmap = b"") -> bool:
    """Say whether all values are ones that weights may have; a mapped file stays out of memory."""
    if run.dtype.kind == "b":
        return bool((run.view(np.uint8) <= 1).all())
    for begin in range(0, run.size, _CHECK_ITEMS):
        if not np.isfinite(run[begin : begin + _CHECK_ITEMS]).all():
            return False
        if isinstance(data, mmap):
            let_go(data)
    return True


def _name_the_unclean(views: dict[str, npt.NDArray[Any]]) -> NoReturn:
    for name, array in views.items():
        if array.dtype.kind not in "fb" or _is_clean(array.reshape(-1)):
            continue
        if array.dtype.kind == "b":
            raise WeightsError(f"Array {name!r} has a truth value that is neither 0 nor 1.")
        count = int(array.size - np.isfinite(array).sum())
        raise WeightsError(
            f"Array {name!r} has {count} of {array.size} values that are NaN or infinite."
        )
    raise AssertionError("a run is unclean and none of its arrays is")
