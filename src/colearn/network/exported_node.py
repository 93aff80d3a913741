"""The model of a node's experiment, taken from the ledger and exported (7.9)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from colearn.core import Outcome
from colearn.core.events import Closed
from colearn.crypto import checksum_address
from colearn.errors import BlobNotFoundError, ConfigError
from colearn.experiment.certified import Certified, export_certified, refuse_files
from colearn.experiment.export import TOLERANCE, Export
from colearn.experiment.journal import Journal
from colearn.experiment.records import RoundRecord
from colearn.ledger import Happening
from colearn.network.folder import NodeFolder
from colearn.network.telling import Narrator
from colearn.network.terms import Terms
from colearn.store import Archive, DirectoryStore

__all__ = ["NodeStory", "export_node", "read_story"]

_OBSERVATIONS_BYTES_MAX = 256 * 2**20


@dataclass(slots=True, eq=False)
class NodeStory:
    """What a node knows of an experiment: the ledger's rounds, and its own scores.

    Attributes:
        accepted: Height, round and model of each acceptance.
        certified: The height up to which the ledger is final.
        head: Of the ledger.
        rounds: The documents of the rounds that have closed.
        joined: Every address that had a seat.
        ledger: Which ledger it is, by what nobody can choose: the genesis, or chain and contract.
        own: The address of this node.
        name: What it is called.
        journal: What it saw.
    """

    own: str
    name: str
    journal: Journal
    accepted: list[tuple[int, int, str]] = field(default_factory=list)
    certified: int = 0
    head: str = ""
    rounds: list[dict[str, Any]] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    ledger: str = ""

    def records(self) -> list[RoundRecord]:
        """Return the records of all rounds; of scores, those of this node alone."""
        return [self._record(document) for document in self.rounds]

    def document(self, name: str) -> Any:
        """Return who is who, under ``members.json``; nothing else is known here."""
        if name != "members.json":
            return None
        return {"members": {checksum_address(each): self._named(each) for each in self.joined}}

    def _named(self, address: str) -> str:
        return self.name if address == self.own else checksum_address(address)

    def _record(self, document: dict[str, Any]) -> RoundRecord:
        number = document["round"]
        seen = self.journal.of(number, self.name)
        accepted = document["outcome"] == Outcome.ACCEPTED
        score = seen.vote_score if seen.test_score is None else seen.test_score
        return RoundRecord(
            round_number=number,
            proposer=self._named(document["proposer"].lower()),
            outcome=Outcome(document["outcome"]),
            reason=seen.reason,
            members=document.get("members", 0),
            approvals=document.get("approvals", 0),
            needed=document.get("needed", 0),
            rejections=document.get("rejections", 0),
            abstentions=document.get("abstentions", 0),
            silent=document.get("silent", 0),
            votes={},
            vote_scores={self.name: seen.vote_score},
            test_scores={self.name: seen.test_score},
            score=score if accepted else None,
            proposal=document.get("proposal", ""),
            model=document["model"],
            failures={self.name: seen.failure} if seen.failure else {},
        )


def read_story(folder: NodeFolder) -> NodeStory:
    """Read a node's ledger and what the node saw.

    Raises:
        LedgerError: The ledger cannot be read, or is not what its members signed.
        ConfigError: observations.jsonl is damaged.
    """
    number, own = folder.invitation.experiment, folder.settings.address
    story = NodeStory(own, folder.name, _journal(folder))
    narrator = Narrator(number)

    def hear(happening: Happening) -> None:
        told = (line.document for line in narrator.hear(happening))
        story.rounds.extend(document for document in told if document["event"] == "round")
        story.accepted.extend(
            (happening.height, event.round_number, event.model)
            for event in happening.events
            if isinstance(event, Closed)
            and event.experiment == number
            and event.result is Outcome.ACCEPTED
        )

    with folder.ledger() as ledger:
        ledger.listen(hear)
        ledger.sync()
        story.certified, story.head = ledger.certified(number), str(ledger.head)
        experiment = ledger.experiment(number)
        story.joined = list(dict.fromkeys(experiment.roster.addresses))
        domain = experiment.domain
        # The address of a chain's node may hold a secret of its user's.
        on_chain = f"eip155:{domain.chain_id}:{domain.contract}"
        story.ledger = folder.invitation.genesis or on_chain
    return story


def export_node(
    folder: NodeFolder,
    path: Path,
    *,
    round_number: int | None = None,
    tolerance: float = TOLERANCE,
    force: bool = False,
) -> Export:
    """Write the model of an experiment as ONNX, if it says in onnxruntime what the learner says.

    Of the models that the members certified (7.9) the last one is taken, or that of
    `round_number`; its weights are those that this node holds. The check uses the node's own test
    rows. A card for people is written beside it.

    Raises:
        ConfigError: There is no such round, or it accepted nothing that is certified.
        LedgerError: The ledger cannot be read, or is not what its members signed.
        StoreError: The node does not hold the weights.
        ColearnError: As `export_model`.
    """
    refuse_files(path, force=force)
    story = read_story(folder)
    chosen, digest = _certified(story, round_number, folder.path)
    weights = _held(folder, digest)
    terms, prepared = folder.terms(), folder.plan()
    place = folder.local.place
    experiment = f"{story.ledger}/{folder.invitation.experiment}"
    return export_certified(
        Certified(chosen, weights, experiment, story.head),
        prepared,
        story,
        path,
        name=terms.config.name,
        place=place,
        metadata=_scaling(terms),
        tolerance=tolerance,
        force=force,
    )


def _certified(story: NodeStory, round_number: int | None, where: Path) -> tuple[int, str]:
    known = {number: model for height, number, model in story.accepted if height <= story.certified}
    if not known:
        raise ConfigError(
            f"There is no certified model in the experiment of {where}.",
            hint="A model must be accepted, and members must write after it.",
        )
    chosen = max(known) if round_number is None else round_number
    if chosen not in known:
        later = any(number == chosen for _, number, _ in story.accepted)
        why = "is not certified by its members yet (7.9)" if later else "accepted no model"
        raise ConfigError(
            f"Round {chosen} {why}.", hint=f"Certified models are those of the rounds {[*known]}."
        )
    return chosen, known[chosen]


def _held(folder: NodeFolder, digest: str) -> Any:
    try:
        return Archive(DirectoryStore(folder.blobs)).get(digest)
    except BlobNotFoundError as error:
        raise BlobNotFoundError(
            f"This node does not hold the model {digest} yet.",
            hint=f"Run `colearn start {folder.path}` until it has it.",
        ) from error


def _journal(folder: NodeFolder) -> Journal:
    file = folder.path / "observations.jsonl"
    journal = Journal()
    if file.exists():
        if file.stat().st_size > _OBSERVATIONS_BYTES_MAX:
            raise ConfigError(f"{file} is larger than {_OBSERVATIONS_BYTES_MAX} bytes.")
        lines = file.read_bytes().decode("utf-8", "replace").split("\n")
        # What follows the last line break was being written when the node was killed.
        journal.load(lines[:-1])
    return journal


def _scaling(terms: Terms) -> dict[str, str]:
    """Return how raw columns become X, as far as public constants say it (6.2)."""
    facts: dict[str, str] = {"colearn.preprocess": terms.config.preprocess.use}
    if terms.scaling is not None:
        facts["colearn.offset"] = json.dumps(terms.scaling.offset.tolist())
        facts["colearn.divisor"] = json.dumps(terms.scaling.divisor.tolist())
    return facts
