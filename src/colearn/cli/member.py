"""One learner's process at a ledger: ``python -m colearn.cli.member``, started by `prove`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from colearn.core import Duty, decide
from colearn.errors import LedgerError
from colearn.experiment import load_config, plan
from colearn.identity import Key
from colearn.ledger.evm import EvmLedger
from colearn.node import Node, Origin
from colearn.store import Archive, DirectoryStore
from colearn.worker import LocalWorker

__all__ = ["Place", "run_member"]

_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """What a process must know to be one learner of an experiment.

    Attributes:
        folder: Holds experiment.toml and blobs/.
        number: The learner's place in join order.
        ledger: The ledger's address.
        specification: Digest of the specification.
        model: Digest of model 0.
    """

    folder: str
    number: int
    ledger: str
    specification: str
    model: str

    def to_json(self) -> str:
        """Return the place as one argument of a command."""
        return json.dumps(asdict(self))


def run_member(place: Place) -> None:
    """Take part until the experiment is over; go on where the ledger stands."""
    folder = Path(place.folder)
    prepared = plan(load_config(folder / "experiment.toml"))
    name = prepared.names[place.number]
    key = Key.from_seed(prepared.config.seed, name)
    archive = Archive(DirectoryStore(folder / "blobs"))
    origin = Origin(place.specification, place.model)
    with EvmLedger(place.ledger) as ledger:
        learner = prepared.member(place.number)
        worker = LocalWorker(learner, archive, place.model, name=name)
        node = Node(worker, key, ledger, origin, name=name)
        ledger.sync()
        while decide(ledger.experiment(1), key.address, ledger.now()).duty is not Duty.DONE:
            _go_on(node, ledger)
        sys.stdout.write(ledger.experiment(1).model + "\n")


def _go_on(node: Node, ledger: EvmLedger) -> None:
    try:
        if not node.step():
            ledger.wait(_WAIT_S)
    except LedgerError as error:
        sys.stderr.write(f"{node.name}: {error}\n")
        ledger.wait(_WAIT_S)


if __name__ == "__main__":
    run_member(Place(**json.loads(sys.argv[1])))
