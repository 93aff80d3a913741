"""Check 9: the bytes behind the digests (section 8, P3.5)."""

from __future__ import annotations

from colearn.audit.report import Check
from colearn.audit.story import Story
from colearn.errors import BlobNotFoundError, DigestMismatchError, StoreError, WeightsError
from colearn.shallow import read_json
from colearn.store import BlobStore
from colearn.weights import DEFAULT_LIMITS, NamedArrays, decode, require_like

__all__ = ["check_blobs"]

_SPECIFICATION_BYTES_MAX = 2**20


def check_blobs(story: Story, store: BlobStore, check: Check, *, partial: bool = False) -> int:
    """Read what the experiment names, and return how many blobs that were.

    Whatever has another digest, and whatever was accepted and is no weights of the model's form,
    is a fault. A rejected proposal may be missing or unsound: that is why it was rejected. In a
    `partial` store, as that of one node, an accepted one may be missing too.
    """
    reader = _Reader(store, check, _grows(story, store, check), partial)
    reader.accepted(story.models)
    accepted = {digest for _, digest in story.models}
    for told in story.proposals:
        for digest in told.candidates:
            if digest not in accepted:
                reader.digest_only(told.entry, digest)
    return reader.count


class _Reader:
    def __init__(self, store: BlobStore, check: Check, grows: bool, partial: bool) -> None:  # noqa: FBT001
        self.count = 0
        self._store, self._check, self._grows, self._partial = store, check, grows, partial

    def accepted(self, models: list[tuple[int, str]]) -> None:
        """Check that each model is sound weights, of the form of the one before (P3.5)."""
        before: NamedArrays | None = None
        for entry, digest in models:
            weights = self._weights(entry, digest)
            if weights is not None and before is not None:
                try:
                    require_like(weights.layout, before.layout, grows=self._grows)
                except WeightsError as error:
                    self._check.find(entry, "P3.5", "weights of the model's form", error)
            before = weights or before

    def digest_only(self, entry: int, digest: str) -> None:
        """Check that the bytes are those of the digest, if they are there."""
        try:
            self._store.get(digest, DEFAULT_LIMITS.proposal_bytes)
            self.count += 1
        except BlobNotFoundError:
            return
        except StoreError as error:
            self._check.find(entry, "6.3", f"bytes of digest {digest}", error)

    def _weights(self, entry: int, digest: str) -> NamedArrays | None:
        try:
            data = self._store.get(digest, DEFAULT_LIMITS.proposal_bytes)
            self.count += 1
            return decode(data)
        except StoreError as error:
            if self._partial and isinstance(error, BlobNotFoundError):
                return None
            self._check.find(entry, "6.3", f"the bytes of digest {digest}", error)
        except WeightsError as error:
            self._check.find(entry, "P3.5", "sound weights", error)
        return None


def _grows(story: Story, store: BlobStore, check: Check) -> bool:
    """Read from the specification whether proposals may add to the arrays (6.1)."""
    try:
        data = store.get(story.specification, _SPECIFICATION_BYTES_MAX)
        return bool(read_json(data)["grows"])
    except (BlobNotFoundError, DigestMismatchError) as error:
        check.find(0, "6.1", f"the specification {story.specification}", error)
    except (StoreError, ValueError, KeyError, TypeError, RecursionError) as error:
        check.find(0, "6.1", "a specification", error)
    return False
