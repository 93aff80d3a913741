"""Weights in a blob store: encoded and decoded once, whoever of this process asks (6.3)."""

from __future__ import annotations

from collections import OrderedDict

from colearn.errors import DigestMismatchError
from colearn.store.base import BlobStore
from colearn.weights import DEFAULT_LIMITS, NamedArrays, WeightsLimits, decode

__all__ = ["Archive"]

_KEPT_COUNT = 3
"""The model, a proposal, and the one before: what a round touches."""


class Archive:
    """Puts weights into a store and gets them out again.

    What nobody can change any more is shared by all nodes of a process: decoded weights are
    immutable, and the newest few are kept.

    Attributes:
        store: Where the bytes are.
        limits: What received weights may carry.
    """

    def __init__(self, store: BlobStore, limits: WeightsLimits = DEFAULT_LIMITS) -> None:
        """Read and write weights in `store`."""
        self.store = store
        self.limits = limits
        self._kept: OrderedDict[str, NamedArrays] = OrderedDict()

    def put(self, weights: NamedArrays) -> str:
        """Store weights and return their digest.

        Raises:
            StoreError: They cannot be stored.
        """
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
            kept = decode(self.store.view(digest, self.limits.proposal_bytes), self.limits)
        self._keep(digest, kept)
        return kept

    def _keep(self, digest: str, weights: NamedArrays) -> None:
        self._kept[digest] = weights
        self._kept.move_to_end(digest)
        while len(self._kept) > _KEPT_COUNT:
            self._kept.popitem(last=False)
