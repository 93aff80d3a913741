"""One member of several processes on one ledger file: `python member.py FOLDER PLACE MEMBERS ROUNDS`."""

import hashlib
import sys
import time
from pathlib import Path

import numpy as np
from tests.integration.runner import Walker

from colearn import ProposedWeights, Weights
from colearn.core import Duty, Phase, Rules, decide
from colearn.errors import LedgerError
from colearn.experiment.group import EXPERIMENT
from colearn.experiment.specification import specification_of
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger
from colearn.node import Node, Origin
from colearn.store import Archive, DirectoryStore
from colearn.weights import freeze
from colearn.worker import LocalWorker

RULES = Rules(propose_s=20, vote_s=20, rounds=100)
MODEL = freeze({"w": np.zeros(40)})
TERMS = specification_of(RULES, MODEL.digest, None)
SPECIFICATION = hashlib.sha256(TERMS).hexdigest()


def key(place):
    return Key.from_seed(7, f"member-{place}")


class Echo(Walker):
    """Agrees with everybody, so that most rounds are accepted."""

    def mli_propose_weights(self):
        time.sleep(0.05)
        step = np.random.default_rng([self.place, self.round_number]).normal(size=40)
        return Weights(weights={"w": self.model + step})

    def mli_test_weights(self, weights):
        return ProposedWeights(weights=weights, vote_score=1.0, vote=True)


def main(folder, place):
    ledger = EmbeddedLedger(folder / "ledger.db")
    archive = Archive(DirectoryStore(folder / "blobs", fsync=False))
    archive.put(MODEL)
    archive.store.put(TERMS)
    node = Node(
        LocalWorker(Echo(place), archive, MODEL.digest, name=f"member-{place}"),
        key(place), ledger, Origin(SPECIFICATION, MODEL.digest),
        experiment=EXPERIMENT, name=f"member-{place}",
    )  # fmt: skip
    ledger.sync()
    while decide(ledger.experiment(EXPERIMENT), node.address, ledger.now()).duty is not Duty.DONE:
        try:
            if not node.step():
                ledger.wait(0.5)
        except LedgerError as error:
            print(error, file=sys.stderr)
            ledger.wait(0.2)
    assert ledger.experiment(EXPERIMENT).phase is Phase.OVER
    print(ledger.experiment(EXPERIMENT).model)
    ledger.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
