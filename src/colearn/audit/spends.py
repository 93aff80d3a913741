"""The replay of records of spends: whole, and within what was agreed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from colearn.audit.privacy_report import PrivacyCheck
from colearn.errors import ConfigError, SpendsCorruptError
from colearn.privacy.spends import Partition, PrivacyLedger, SpendEntry

__all__ = ["Target", "check_spends"]

SUFFIX = ".spends.jsonl"

_MISS = 1e-6
"""How far rounding may put epsilon over a target that it reaches exactly."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a part of a dataset may give away.

    Attributes:
        epsilon: At most this.
        delta: At this delta.
    """

    epsilon: float
    delta: float


def check_spends(files: Sequence[Path], targets: Mapping[str, Target]) -> PrivacyCheck:
    """Replay records of spends.

    Args:
        files: The records.
        targets: By the name of a part: "train", "vote" or "test"; parts without a target are
            counted only.

    Raises:
        SpendsUnavailableError: A record cannot be read.
        MissingExtraError: The extra `privacy` is not installed.
    """
    check = PrivacyCheck("spends", "the records of spends are whole, and within what was agreed")
    numbers: dict[str, float] = {}
    for path in files:
        _replay(path, targets, check, numbers)
    check.numbers = numbers
    check.detail = f"{len(files)} records"
    if not files:
        check.done = False
        check.detail = "there is no record of spends at hand; name a run folder"
    return check


def _replay(
    path: Path, targets: Mapping[str, Target], check: PrivacyCheck, numbers: dict[str, float]
) -> None:
    try:
        ledger = PrivacyLedger.open(path.parent, path.name.removesuffix(SUFFIX))
        ledger.verify()
        entries = ledger.entries()
    except (SpendsCorruptError, ConfigError) as error:
        check.findings.append(str(error))
        return
    parts: dict[Partition, None] = {}
    for entry in entries:
        if isinstance(entry, SpendEntry):
            parts[entry.partition] = None
    for part in parts:
        target = targets.get(part.name)
        if target is None:
            continue
        consumed = ledger.consumed(part, target.delta)
        name = f"{path.parent.name} {part.name} epsilon"
        numbers[name] = max(consumed, numbers.get(name, 0.0))
        if not consumed <= target.epsilon * (1 + _MISS):
            check.findings.append(
                f"{path}: {part.name} has consumed epsilon {consumed:.4g} at delta "
                f"{target.delta:g}, and {target.epsilon:g} was agreed"
            )
