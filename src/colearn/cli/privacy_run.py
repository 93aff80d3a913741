"""What an audit of privacy reads of a run, or of an experiment file."""

from __future__ import annotations

from pathlib import Path

from colearn.audit.privacy import AuditedRun
from colearn.audit.spends import SUFFIX, Target
from colearn.experiment import ExperimentConfig, load_config
from colearn.network.folder import NodeFolder
from colearn.privacy import default_directory

__all__ = ["PARTS", "audited_run", "deltas_of"]

PARTS = ("train", "vote", "test")
"""Of a dataset, as records of spends name them."""

_VOTE_DELTA = 1e-6
"""Where the experiment says none, a learner takes this or less."""


def audited_run(where: Path | None) -> AuditedRun:
    """Return what is known of `where`; of nothing, the code alone is audited.

    Raises:
        ConfigError: There is no experiment in it, or it cannot be read.
    """
    if where is None:
        return AuditedRun("the installed code")
    config, records = _node(where) if NodeFolder.holds_node(where) else _run(where)
    proposals, votes = config.privacy.proposals, config.privacy.votes
    noise: dict[str, str] = {}
    targets: dict[str, Target] = {}
    units = []
    if proposals is not None:
        noise["proposals"] = proposals.noise
        targets["train"] = Target(proposals.target_epsilon, proposals.target_delta)
        units.append(proposals.privacy_unit())
    if votes is not None:
        noise["votes"] = votes.noise
        delta = votes.delta or _VOTE_DELTA
        targets["vote"] = Target(votes.epsilon, delta)
        targets["test"] = Target(votes.test_epsilon, delta)
        units.append(votes.privacy_unit())
    told = dict.fromkeys(
        f"{unit.kind}, neighbours by {unit.adjacency.replace('_', ' ')}"
        + (f", {unit.max_records_per_user} records a user" if unit.kind == "user" else "")
        for unit in units
    )
    return AuditedRun(str(where), noise, "; ".join(told), targets, records)


def _run(where: Path) -> tuple[ExperimentConfig, list[Path]]:
    """Return the experiment of a run or a file, and the records of a run's members."""
    if not where.is_dir():
        return load_config(where), []
    records = sorted((where / "privacy").glob(f"*/*{SUFFIX}"))
    return load_config(where / "experiment.toml"), records


def _node(where: Path) -> tuple[ExperimentConfig, list[Path]]:
    """Return the experiment of a node, and the record of its own rows on this machine."""
    folder = NodeFolder.open(where)
    prepared = folder.plan()
    privacy = prepared.privacy_at(folder.local.place)
    if privacy is None:
        return prepared.config, []
    record = (privacy.directory or default_directory()) / f"{privacy.dataset}{SUFFIX}"
    return prepared.config, [record] if record.exists() else []


def deltas_of(directory: Path) -> dict[str, float]:
    """Return at which delta each part of a run's data has its budget; nothing for other folders.

    Raises:
        ConfigError: The run's experiment cannot be read.
    """
    if not (directory / "experiment.toml").is_file():
        return {}
    return {part: target.delta for part, target in audited_run(directory).targets.items()}
