"""Weights in a blob store: encoded and decoded once, whoever of this process asks (6.3)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from colearn.errors import DigestMismatchError
from colearn.store.base import BlobStore
from colearn.store.directory import MAPPED_BYTES_MIN, DirectoryStore
from colearn.store.parcel import Parcel
from colearn.weights import DEFAULT_LIMITS, NamedArrays, WeightsLimits, decode
from colearn.weights.layout import Layout
from colearn.weights.named import Spread

__all__ = ["Archive"]

_KEPT_COUNT = 2
"""The model and a proposal: what a round touches."""


class Archive:
    """Puts weights into a store and gets them out again.

    What nobody can change any more is shared by all nodes of a process: decoded weights are
    immutable, and the newest few are kept. In a folder large weights are written and read as
    mapped files, so that they take no memory that the system could not take back.

    Attributes:
        store: Where the bytes are.
        limits: What received weights may carry.
    """

    def __init__(self, store: BlobStore, limits: WeightsLimits = DEFAULT_LIMITS) -> None:
        """Read and write weights in `store`."""
        self.store = store
        self.limits = limits
        self._kept: OrderedDict[str, NamedArrays] = OrderedDict()
        self._parcel: Parcel | None = None

    def freeze(
        self,
        arrays: Mapping[str, npt.NDArray[Any]],
        like: Layout | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> NamedArrays:
        """Copy named arrays to where nobody changes them, and check them; `put` stores them.

        Args:
            arrays: Name to numpy array.
            like: A form the arrays are likely to have.
            metadata: Short text that travels with them.

        Raises:
            WeightsError: As `colearn.weights.freeze`.
            StoreError: They cannot be written.
        """
        self._drop_parcel()
        spread = Spread.of(arrays, metadata or {}, self.limits, like)
        if not isinstance(self.store, DirectoryStore) or spread.size < MAPPED_BYTES_MIN:
            return spread.closed(b"".join(spread.pieces))
        parcel = self.store.pack(spread.pieces)
        try:
            weights = spread.closed(parcel.view, parcel.digest)
        except BaseException:
            parcel.discard()
            raise
        self._parcel = parcel
        return weights

    def put(self, weights: NamedArrays) -> str:
        """Store weights and return their digest.

        Raises:
            StoreError: They cannot be stored.
        """
        parcel = self._parcel
        if parcel is not None and parcel.view is weights.buffer:
            parcel.publish()
            self._parcel, digest = None, parcel.digest
        else:
            digest = self.store.put(weights.data)
        if digest != weights.digest:
            raise DigestMismatchError(
                f"Weights with digest {weights.digest} were stored as {digest}."
            )
        self._keep(digest, weights)
        return digest

    def get(self, digest: str) -> NamedArrays:
        """Return the weights of a digest: canonical, finite, within the limits (P3.5).

        Raises:
            StoreError: The store does not have these bytes.
            WeightsError: They are no weights.
        """
        kept = self._kept.get(digest)
        if kept is None:
            data = self.store.view(digest, self.limits.proposal_bytes)
            kept = decode(data, self.limits, digest=digest)
        self._keep(digest, kept)
        return kept

    def _keep(self, digest: str, weights: NamedArrays) -> None:
        self._kept[digest] = weights
        self._kept.move_to_end(digest)
        while len(self._kept) > _KEPT_COUNT:
            self._kept.popitem(last=False)

    def _drop_parcel(self) -> None:
        """Throw away what was written and never stored."""
        if self._parcel is not None:
            self._parcel.discard()
            self._parcel = None
