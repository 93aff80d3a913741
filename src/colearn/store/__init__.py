"""Where the bytes of proposals and contributions are, named by their sha256 (6.3).

What speaks HTTP is imported by its own name: `colearn.store.hosted`, `colearn.store.peers` and
`colearn.store.sender` ask for blobs, `colearn.store.routes` and `colearn.store.gate` serve them.
"""

from colearn.store.archive import Archive
from colearn.store.base import BlobStore
from colearn.store.directory import DirectoryStore
from colearn.store.draft import Draft
from colearn.store.holding import HoldingStore, Remote
from colearn.store.memory import MemoryStore

__all__ = [
    "Archive",
    "BlobStore",
    "DirectoryStore",
    "Draft",
    "HoldingStore",
    "MemoryStore",
    "Remote",
]
