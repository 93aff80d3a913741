"""A learner that learns nothing and agrees with everybody, to see what the rest costs."""

import json
import time
from pathlib import Path

import numpy as np

from colearn import ProposedWeights, Weights


class Echo:
    """Adds the number of the round; what it accepted last stands in a file, if it has a folder."""

    def __init__(self, name, schema, size, trace, train_s):
        self.name, self.schema = name, schema
        self.model = {"w": np.zeros(size, np.float32)}
        self.trace = Path(trace) if trace else None
        self.train_s = train_s
        self.round_number = 0

    def begin_round(self, number):
        self.round_number = number

    def mli_get_current_weights(self):
        return Weights(weights=self.model)

    def mli_propose_weights(self):
        time.sleep(self.train_s)
        return Weights(weights={"w": self.model["w"] + np.float32(self.round_number % 97 + 1)})

    def mli_test_weights(self, weights):
        return ProposedWeights(weights=weights, vote_score=1.0, vote=True)

    def mli_accept_weights(self, weights):
        self.model = weights.weights
        if self.trace is not None:
            file = self.trace / f"{self.name}.accepted"
            file.with_suffix(".new").write_text(json.dumps(weights.weights.digest))
            file.with_suffix(".new").replace(file)

    def mli_get_current_model(self):
        raise NotImplementedError


def make(schema, *, name, size=2500, trace="", train_s=0.0, **_given):
    return Echo(name, schema, size, trace, train_s)
