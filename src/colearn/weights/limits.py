"""How much a proposal may carry (protocol 6.4)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "WeightsLimits"]


@dataclass(frozen=True, slots=True)
class WeightsLimits:
    """Limits on received weights, checked before anything of that size is allocated.

    The defaults hold the adapters of a large model and refuse what could only be an attack on a
    voter's memory.
    """

    proposal_bytes: int = 2**30
    """The whole file, in bytes: 1 GiB."""

    header_bytes: int = 4 * 2**20
    """The JSON header, in bytes: 4 MiB, room for some 40,000 arrays with short names."""

    arrays_count: int = 10_000
    """Named arrays in one proposal."""

    rank_count: int = 8
    """Dimensions of one array."""

    name_bytes: int = 256
    """UTF-8 bytes of one array's name, of one metadata key and of one metadata value."""

    metadata_count: int = 32
    """Metadata entries."""


DEFAULT_LIMITS = WeightsLimits()
