"""What has been spent, by the records in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from colearn.errors import ConfigError, SpendsCorruptError
from colearn.privacy.spends import Partition, PrivacyLedger, SpendEntry

__all__ = ["DELTA", "DatasetStatus", "PartStatus", "read_status"]

SUFFIX = ".spends.jsonl"

DELTA = 1e-6
"""Where nobody says another."""

_PLACES = ("*", "*/*", "privacy/*/*")
"""In a folder of records, in the folder of a run's members, and in a run."""


@dataclass(frozen=True, slots=True)
class PartStatus:
    """What one part of a dataset has given away.

    Attributes:
        split: How the dataset was divided.
        name: "train", "vote" or "test".
        spends: How often something was spent on it.
        epsilon: Of everything that may have touched its records, other splits included.
        delta: At which epsilon is meant.
    """

    split: str
    name: str
    spends: int
    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """One record of spends.

    Attributes:
        dataset: Its fingerprint or name.
        path: The file.
        fault: What is wrong with it; empty if nothing is.
        parts: Its partitions, in order of their names.
        votes: Votes that are kept.
    """

    dataset: str
    path: str
    fault: str = ""
    parts: list[PartStatus] = field(default_factory=list)
    votes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as a document."""
        return asdict(self)


def read_status(directory: Path, deltas: Mapping[str, float]) -> list[DatasetStatus]:
    """Read every record of spends in a folder; a damaged one is told, not raised.

    Args:
        directory: A folder of records, or a run.
        deltas: At which epsilon is meant, by the name of a part; `DELTA` for the others.

    Raises:
        ConfigError: There is no such folder.
        SpendsUnavailableError: A record cannot be read.
        MissingExtraError: The extra `privacy` is not installed.
    """
    if not directory.is_dir():
        raise ConfigError(
            f"There is no folder {directory}.",
            hint="Name the folder of the records of spends; nothing was spent by default.",
        )
    found = [path for where in _PLACES for path in directory.glob(f"{where}{SUFFIX}")]
    return [_read(path, deltas) for path in sorted(found)]


def _read(path: Path, deltas: Mapping[str, float]) -> DatasetStatus:
    dataset = path.name.removesuffix(SUFFIX)
    try:
        ledger = PrivacyLedger.open(path.parent, dataset)
        ledger.verify()
        entries = ledger.entries()
    except (SpendsCorruptError, ConfigError) as error:
        return DatasetStatus(dataset, str(path), fault=str(error))
    counts: dict[Partition, int] = {}
    for entry in entries:
        if isinstance(entry, SpendEntry):
            counts[entry.partition] = counts.get(entry.partition, 0) + 1
    parts = []
    for part, count in sorted(counts.items(), key=lambda item: (item[0].split, item[0].name)):
        delta = deltas.get(part.name, DELTA)
        consumed = ledger.consumed(part, delta)
        parts.append(PartStatus(part.split, part.name, count, consumed, delta))
    return DatasetStatus(dataset, str(path), parts=parts, votes=len(entries) - sum(counts.values()))
