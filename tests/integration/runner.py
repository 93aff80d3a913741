"""A run of toy learners in a process of its own, for tests that kill it: `python runner.py FOLDER`."""

import sys
import time
from pathlib import Path

import numpy as np

from colearn import Collective, ProposedWeights, Weights

ROUNDS = 24


class Walker:
    """Walks at random from its seed and the round; likes what is nearer to its own goal."""

    local_state = "none"

    def __init__(self, place):
        self.name, self.place = f"walker-{place}", place
        self.goal = np.full(40, float(place))
        self.model = np.zeros(40)
        self.round_number = 0

    def begin_round(self, round_number):
        self.round_number = round_number

    def mli_propose_weights(self):
        time.sleep(0.01)
        step = np.random.default_rng([self.place, self.round_number]).normal(size=40)
        return Weights(weights={"w": self.model + 0.1 * (self.goal - self.model) + 0.2 * step})

    def score(self, model):
        return -float(np.abs(model - self.goal).mean())

    def mli_test_weights(self, weights):
        time.sleep(0.005)
        score = self.score(weights.weights["w"])
        if self.place == 3 and int(1e6 * weights.weights["w"][0]) % 5 == 0:
            raise RuntimeError("a bad day")
        return ProposedWeights(
            weights=weights, vote_score=score, vote=score > self.score(self.model)
        )

    def mli_accept_weights(self, weights):
        self.model = weights.weights["w"]

    def mli_get_current_weights(self):
        return Weights(weights={"w": self.model})

    def mli_get_current_model(self):
        raise NotImplementedError


def main(folder):
    resume = (Path(folder) / "rounds.jsonl").exists()
    run = Collective(
        [Walker(place) for place in range(5)], directory=folder, rounds=ROUNDS, resume=resume
    )
    for _ in run.rounds():
        pass
    print(run.head_)


if __name__ == "__main__":
    main(sys.argv[1])
