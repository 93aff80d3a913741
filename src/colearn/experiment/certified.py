"""What every export of a certified model ends with: the check, the file, its card (7.9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from colearn.experiment.card import Told, model_card
from colearn.experiment.export import Export, export_model, facts_of, refuse_existing, write_new
from colearn.experiment.plan import Plan
from colearn.interface import Weights
from colearn.weights import NamedArrays

__all__ = ["Certified", "card_of", "export_certified", "refuse_files"]


@dataclass(frozen=True, slots=True)
class Certified:
    """A model that members certified.

    Attributes:
        round_number: The round that accepted it.
        weights: Its weights.
        experiment: Which experiment of which ledger.
        head: The ledger's head when it was read.
    """

    round_number: int
    weights: NamedArrays
    experiment: str
    head: str


def card_of(path: Path) -> Path:
    """Return where the card of an exported model lies: beside it, as Markdown."""
    return path.with_name(f"{path.stem}.md" if path.suffix != ".md" else f"{path.name}.md")


def refuse_files(path: Path, *, force: bool) -> None:
    """Refuse to replace a model or a card that is there, unless that was asked for.

    Raises:
        ConfigError: One is there.
    """
    if not force:
        refuse_existing(path)
        refuse_existing(card_of(path))


def export_certified(
    model: Certified,
    prepared: Plan,
    told: Told,
    path: Path,
    *,
    name: str,
    place: int,
    metadata: Mapping[str, str],
    tolerance: float,
    force: bool,
) -> Export:
    """Write a model as ONNX once it was checked on the plan's test rows, and its card beside it.

    Args:
        model: The model.
        prepared: Makes the learner, and has the test rows.
        told: What the card tells of.
        path: The file.
        name: The experiment's.
        place: Whose rows the learner is made with.
        metadata: What else the file says of itself.
        tolerance: The largest difference allowed.
        force: Whether to replace files that are there.

    Raises:
        ColearnError: As `export_model`.
    """
    site = prepared.division.sites[place]
    learner = prepared.honest(site.train, site.vote, prepared.names[place])
    learner.mli_accept_weights(Weights(weights=model.weights))
    number, head = model.round_number, model.head
    facts = facts_of(
        learner, name=name, experiment=model.experiment, round_number=number, head=head
    )
    schema, cid = prepared.task.schema, model.weights.cid
    text = model_card(told, prepared.config, schema, round_number=number, cid=cid, head=head)
    rows = prepared.X[prepared.division.test]
    done = export_model(
        learner, path, rows, metadata={**facts, **metadata}, tolerance=tolerance, force=force
    )
    write_new(card_of(path), text.encode(), force=force)
    return done
