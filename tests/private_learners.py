"""A learner of one number that counts who looks at its rows, for tests of privacy."""

import numpy as np

from colearn import Weights
from colearn.interface import DiffPrivConfig
from colearn.learners._scoring import Predictions
from colearn.learners._template import TemplateLearner
from colearn.privacy import Partition, PrivacyLedger, SpendEntry
from colearn.schema import Schema

MODEL = {"w": np.zeros(1)}
# A step on all rows: the accountant has a closed form for it, and answers at once.
CONFIG = DiffPrivConfig(
    target_epsilon=4.0, target_delta=1e-5, max_grad_norm=1.0, planned_proposals=3
)


class Slope:
    """P(class 1) = 1 / (1 + exp(-w x)); its steps only count the rows and the noise."""

    grows = False
    damping = 1.0
    trains_privately = True

    def __init__(self):
        self.predicted, self.fitted, self.trainings = [], 0, []

    def initial(self):
        return MODEL

    def check(self, proposed, model):
        pass

    def fit(self, model, X, y, seed):
        self.fitted += 1
        return {"w": model["w"] + 1}

    def predict(self, model, X):
        self.predicted.append(len(X))
        ones = 1 / (1 + np.exp(-model["w"][0] * X[:, 0]))
        return Predictions("probabilities", np.column_stack([1 - ones, ones]))

    def estimator(self, model):
        return model

    def require_private(self, config):
        pass

    def private_length(self, units_count, batch_size=None):
        return units_count, 1, 1.0

    def fit_privately(self, model, X, y, training, seed):
        self.trainings.append(training)
        (batch,) = training.batches()
        sums = {"w": np.array([float(batch.units_count)])}
        released = training.released(sums, np.ones(batch.units_count))
        training.finish()
        return {"w": model["w"] + released["w"]}


class Line(Slope):
    """The same for numbers."""

    def predict(self, model, X):
        self.predicted.append(len(X))
        return Predictions("values", model["w"][0] * X[:, 0])


def rows(count, seed=0):
    """Return X (count, 1), no two alike, and the class that w > 0 gives it."""
    X = np.random.default_rng(seed).uniform(1, 2, (count, 1))
    X[::2] *= -1
    return X, (X[:, 0] > 0).astype(int)


def learner(privacy=None, *, family=None, train=60, vote=200, test=40, classes=(0, 1), **more):
    """Return a learner whose rows are as many as is said, or those given."""
    own = {}
    for seed, (name, given) in enumerate({"train": train, "vote": vote, "test": test}.items()):
        own[name] = rows(given, seed) if isinstance(given, int) else given
    schema = Schema.of(1, classes)
    family = family or (Slope() if classes else Line())
    return TemplateLearner(family, schema, privacy=privacy, **own, **more)


def proposal(w):
    """Return weights whose slope is w."""
    return Weights(weights={"w": np.array([float(w)])})


def ledgers(folder):
    return [
        PrivacyLedger.open(path.parent, path.name.removesuffix(".spends.jsonl"))
        for path in sorted(folder.rglob("*.spends.jsonl"))
    ]


def spends(folder, part=None):
    """Return every spend below a folder, or those of a part."""
    return [
        entry
        for ledger in ledgers(folder)
        for entry in ledger.entries()
        if isinstance(entry, SpendEntry) and part in (None, entry.partition.name)
    ]


def partition(folder, part):
    return Partition(spends(folder, part)[0].partition.split, part)
