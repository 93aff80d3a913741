"""A private run for tests that kill it: `python -m tests.integration.private_runner run FOLDER`.

With ``vote`` in place of ``run`` one learner votes on fair questions, and says each vote.
"""

import sys
import time
from pathlib import Path

from tests.private_learners import Slope, learner, proposal, rows

from colearn import Collective
from colearn.interface import DiffPrivConfig, VotePrivacyConfig
from colearn.privacy import Privacy

ROUNDS, NAMES, QUESTIONS = 15, ("ada", "ben", "cleo"), 40
# More than there are turns: whoever is killed while it trains has paid, and proposes nothing.
CONFIG = DiffPrivConfig(
    target_epsilon=8.0, target_delta=1e-5, max_grad_norm=1.0, planned_proposals=30
)
VOTES = VotePrivacyConfig(epsilon=8.0, planned_votes=100)
FAIR = VotePrivacyConfig(epsilon=8.0, planned_votes=QUESTIONS, margin=0.0)


class Slow(Slope):
    """Takes its time, so that it is killed while it trains or judges."""

    def fit_privately(self, model, X, y, training, seed):
        time.sleep(0.02)
        return super().fit_privately(model, X, y, training, seed)

    def predict(self, model, X):
        time.sleep(0.004)
        return super().predict(model, X)


def member(folder, place):
    privacy = Privacy(CONFIG, VOTES, Path(folder) / "privacy" / NAMES[place])
    return learner(
        privacy, family=Slow(), name=NAMES[place], seed=place,
        train=rows(60, 10 + place), vote=rows(100, 20 + place), test=None,
    )  # fmt: skip


def run(folder):
    resume = (Path(folder) / "rounds.jsonl").exists()
    group = [member(folder, place) for place in range(len(NAMES))]
    run = Collective(group, directory=folder, rounds=ROUNDS, resume=resume, privacy=CONFIG)
    for _ in run.rounds():
        pass


def voter(folder):
    return learner(Privacy(votes=FAIR, directory=Path(folder)), test=None)


def answers(one):
    for place in range(1, QUESTIONS + 1):
        yield one.mli_test_weights(proposal(1e-9 * place)).vote


def vote(folder):
    for each in answers(voter(folder)):
        print(each, flush=True)


if __name__ == "__main__":
    {"run": run, "vote": vote}[sys.argv[1]](sys.argv[2])
