"""The model of a run folder, taken from the ledger and exported (7.9)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from colearn.core import Outcome
from colearn.core.events import Closed
from colearn.errors import ConfigError
from colearn.experiment.certified import Certified, export_certified, refuse_files
from colearn.experiment.config import load_config
from colearn.experiment.export import TOLERANCE, Export
from colearn.experiment.folder import RunFolder
from colearn.experiment.group import EXPERIMENT
from colearn.experiment.plan import Plan, plan
from colearn.ledger import EmbeddedLedger
from colearn.ledger.base import Happening
from colearn.store import Archive, DirectoryStore

__all__ = ["export_run"]


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A model on the ledger.

    Attributes:
        round_number: The round that accepted it.
        digest: Of its weights.
        ledger: The digest of the ledger's genesis.
        head: The ledger's head when it was read.
    """

    round_number: int
    digest: str
    ledger: str
    head: str


def export_run(
    folder: Path,
    path: Path,
    *,
    round_number: int | None = None,
    tolerance: float = TOLERANCE,
    force: bool = False,
) -> Export:
    """Write the model of a run as ONNX, if it says in onnxruntime what the learner says.

    Its card, for people, is written beside it (`card_of`).

    The learner is made anew from experiment.toml. The ledger is replayed, and of the models its
    members certified (7.9) the last one is taken, or that of `round_number`; its weights are
    those in ``blobs/`` that have the ledger's digest. The check uses the task's test rows, scaled
    as in training, since that is what the model reads.

    Args:
        folder: The run.
        path: The file to write.
        round_number: The round whose model it is.
        tolerance: The largest difference allowed.
        force: Whether to replace a file that is there.

    Raises:
        ConfigError: There is no such run or round, or it accepted nothing that is certified.
        LedgerError: The ledger is not what its members signed.
        StoreError: The weights are not there, or are not those of the digest.
        MissingExtraError: An extra that the learner or ONNX needs is not installed.
        ColearnError: As `export_model`.
    """
    refuse_files(path, force=force)
    if not (folder / "experiment.toml").is_file() or not (folder / "ledger.db").is_file():
        raise ConfigError(
            f"There is no run with an experiment file in {folder}.",
            hint="Name a folder that `colearn run` or `colearn demo` wrote.",
        )
    found = _accepted(folder, round_number)
    weights = Archive(DirectoryStore(folder / "blobs")).get(found.digest)
    prepared = plan(load_config(folder / "experiment.toml"), folder / "privacy")
    model = Certified(found.round_number, weights, f"{found.ledger}/{EXPERIMENT}", found.head)
    return export_certified(
        model,
        prepared,
        RunFolder.open(folder),
        path,
        name=prepared.config.name,
        place=0,
        metadata=_scaling(prepared),
        tolerance=tolerance,
        force=force,
    )


def _accepted(folder: Path, round_number: int | None) -> _Accepted:
    """Return the newest certified model of the ledger, or that of a round."""
    closed: list[tuple[int, Closed]] = []

    def hear(happening: Happening) -> None:
        closed.extend(
            (happening.height, event)
            for event in happening.events
            if isinstance(event, Closed)
            and event.experiment == EXPERIMENT
            and event.result is Outcome.ACCEPTED
        )

    with EmbeddedLedger(folder / "ledger.db") as ledger:
        ledger.listen(hear)
        ledger.sync()
        certified = ledger.certified(EXPERIMENT)
        genesis, head = ledger.replica.genesis.digest, str(ledger.head)
    known = [event for height, event in closed if height <= certified]
    numbers = [event.round_number for event in known]
    if round_number is not None and round_number not in numbers:
        later = any(event.round_number == round_number for _, event in closed)
        why = "is not certified by its members yet (7.9)" if later else "accepted no model"
        raise ConfigError(
            f"Round {round_number} {why}.",
            hint=f"Certified models are those of the rounds {numbers}." if numbers else "",
        )
    if not known:
        raise ConfigError(
            f"There is no certified model in {folder}.",
            hint="Go on with the run: a model must be accepted, and members must write after it.",
        )
    chosen = known[-1 if round_number is None else numbers.index(round_number)]
    return _Accepted(chosen.round_number, chosen.model, genesis, head)


def _scaling(prepared: Plan) -> dict[str, str]:
    """Return how raw columns become X, as far as the task's public constants say it (6.2)."""
    use, scaling = prepared.config.preprocess.use, prepared.task.scaling
    facts: dict[str, str] = {"colearn.preprocess": use}
    if use == "public" and scaling is not None:
        facts["colearn.offset"] = json.dumps(scaling.offset.tolist())
        facts["colearn.divisor"] = json.dumps(scaling.divisor.tolist())
    return facts
