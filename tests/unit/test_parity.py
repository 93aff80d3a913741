"""The original rule, restated here on its own, against `classic`."""

from fractions import Fraction

import numpy as np

from colearn.core import Rules, Tally
from colearn.driver import run_one_round
from colearn.interface import ProposedWeights, Weights


class Classic:
    """Scores a proposal by its only number and its own taste; approves what is better."""

    def __init__(self, taste):
        self.taste = taste
        self.current = Weights(weights={"w": np.zeros(1)})

    def score(self, weights):
        return -abs(float(weights.weights["w"][0]) - self.taste)

    def mli_propose_weights(self):
        return Weights(weights={"w": self.current.weights["w"] + 1.0})

    def mli_test_weights(self, weights):
        score = self.score(weights)
        return ProposedWeights(
            weights=weights, vote_score=score, vote=score > self.score(self.current)
        )

    def mli_accept_weights(self, weights):
        self.current = weights

    def mli_get_current_weights(self):
        return self.current


def original_decision(tastes, proposer, threshold):
    """Learners that score strictly better, the proposer's own yes among them, >= t n."""
    better = [abs(1.0 - taste) < abs(taste) for taste in tastes]
    better[proposer] = True
    return sum(better), sum(better) >= threshold * len(tastes)


def test_classic_decides_as_the_original_rule_ties_apart():
    rng = np.random.default_rng(5)
    compared = ties = 0
    for _ in range(1500):
        members = int(rng.integers(2, 13))
        threshold = Fraction(int(rng.integers(1, 12)), 12)
        tastes = [float(taste) for taste in rng.choice([0.0, 1.0], members)]
        proposer = int(rng.integers(members))
        approvals, expected = original_decision(tastes, proposer, threshold)
        if approvals == threshold * members or approvals < 2 or threshold == 1:
            ties += 1
            continue
        accepted = run_one_round(proposer, [Classic(taste) for taste in tastes], threshold)[1]
        assert accepted == expected, (members, threshold, tastes, proposer)
        compared += 1
    assert compared > 1000
    assert ties > 50


def test_a_tie_is_a_rejection():
    tastes = [1.0, 1.0, 0.0, 0.0]
    assert original_decision(tastes, 0, Fraction(1, 2)) == (2, True)
    assert not run_one_round(0, [Classic(taste) for taste in tastes], Fraction(1, 2))[1]


def test_every_count_of_every_small_group_against_the_original_rule():
    differing = 0
    thresholds = {Fraction(part, whole) for whole in range(1, 13) for part in range(whole + 1)}
    for members in range(1, 13):
        for threshold in sorted(thresholds):
            for others in range(members):
                behind = others + 1
                original = behind >= threshold * members
                ours = Tally(Rules(threshold), members, approvals=others).accepted
                if others == 0:
                    assert not ours  # nobody decides alone
                elif threshold == 1:
                    assert ours == original == (behind == members)
                elif behind == threshold * members:
                    assert (original, ours) == (True, False)  # a tie
                    differing += 1
                else:
                    assert ours == original
    assert differing > 50
