"""Moments for shared scaling that reveal no single row (6.2)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError, SpendsCorruptError, SpendsUnavailableError
from colearn.experiment.config import ExperimentConfig
from colearn.experiment.privacy import MomentsPrivacyConfig
from colearn.preprocess import Moments
from colearn.privacy import (
    Partition,
    PrivacyLedger,
    ZeroConcentrated,
    default_directory,
    private_moments,
    rho_for,
    source_of,
)

__all__ = ["noised_moments"]

_BYTES_MAX = 2**24

_PARTITION = Partition("moments", "moments")
"""Training and vote rows alike are in the moments, so their spend adds to both."""


def noised_moments(
    config: ExperimentConfig,
    sites: Sequence[npt.NDArray[np.float64]],
    datasets: Sequence[str],
    names: Sequence[str],
    directory: Path | None,
) -> list[Moments]:
    """Release each member's moments once, with noise; a release is kept and used again.

    Args:
        config: The experiment.
        sites: Each member's rows, (rows, features), before scaling.
        datasets: The fingerprint of each member's rows.
        names: The members.
        directory: The folder of the members' records of spends; None for the machine's own.

    Raises:
        ConfigError: No public bounds are given.
        PrivacyError: The release cannot be paid for, or was damaged.
    """
    asked = config.privacy.moments
    if asked is None:
        raise ConfigError(
            '[preprocess.use] "shared" publishes moments of private rows, and [privacy.moments] '
            "says nothing of their noise.",
            hint="Write epsilon, low and high under [privacy.moments]; or use public constants.",
        )
    simulated = config.seed if config.privacy.simulated else None
    # Where the learners have their records too: one for a dataset, whoever asks.
    folders = [default_directory() if directory is None else directory / name for name in names]
    return [
        _of_member(asked, X, dataset, folder, simulated)
        for X, dataset, folder in zip(sites, datasets, folders, strict=True)
    ]


def _of_member(
    asked: MomentsPrivacyConfig,
    X: npt.NDArray[np.float64],
    dataset: str,
    folder: Path,
    simulated: int | None,
) -> Moments:
    question = hashlib.sha256(f"{asked.model_dump_json()} {dataset}".encode()).hexdigest()
    width, kept = X.shape[1], folder / f"{dataset[:32]}.moments.json"
    if kept.exists():
        return _read(kept, question, width)
    bounds = _bounds(asked, width)
    ledger = PrivacyLedger.open(folder, dataset)
    rho = rho_for(asked.epsilon, asked.delta)
    ledger.spend(
        _PARTITION, ZeroConcentrated(rho), epsilon=asked.epsilon, delta=asked.delta,
        purpose="moments",
    )  # fmt: skip
    source = source_of("secure" if simulated is None else "simulation", simulated or 0)
    released = private_moments(
        X, bounds=bounds, epsilon=asked.epsilon, delta=asked.delta, source=source
    )
    moments = Moments(*released)
    _write(kept, question, moments)
    return moments


def _bounds(
    asked: MomentsPrivacyConfig, width: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the bounds of each feature; whatever is wrong with them is said before the spend."""
    low, high = _row(asked.low, width, "low"), _row(asked.high, width, "high")
    if not (low < high).all():
        raise ConfigError("[privacy.moments.low] must lie below [privacy.moments.high].")
    return low, high


def _row(bound: float | list[float], width: int, key: str) -> npt.NDArray[np.float64]:
    row = np.full(width, bound) if isinstance(bound, float) else np.asarray(bound, np.float64)
    if row.shape != (width,):
        raise ConfigError(
            f"[privacy.moments.{key}] must be one number, or {width}; got {row.size}."
        )
    return row


def _write(path: Path, question: str, moments: Moments) -> None:
    document = {
        "question": question,
        "count": moments.count,
        "mean": moments.mean.tolist(),
        "mean_square": moments.mean_square.tolist(),
    }
    draft = path.with_name(".moments.draft")
    try:
        draft.write_text(json.dumps(document))
        draft.replace(path)
    except OSError as error:
        raise SpendsUnavailableError(f"Cannot write {path}: {error.strerror or error}.") from error


def _read(path: Path, question: str, width: int) -> Moments:
    try:
        with path.open("rb") as file:
            document: Any = json.loads(file.read(_BYTES_MAX))
        if document["question"] != question:
            raise ConfigError(
                f"{path} was released for other rows or other bounds.",
                hint="Name another run folder.",
            )
        count, rows = (
            int(document["count"]),
            [np.asarray(document[name], np.float64) for name in ("mean", "mean_square")],
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise SpendsCorruptError(f"{path} is no release of moments: {error}.") from error
    if count < 1 or any(row.shape != (width,) or not np.isfinite(row).all() for row in rows):
        raise SpendsCorruptError(f"{path} is no release of moments of {width} features.")
    return Moments(count, *rows)
