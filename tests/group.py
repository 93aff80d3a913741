"""A group of learners that can misbehave, in memory. Plain classes, no base from colearn."""

import numpy as np

from colearn.driver import conduct_round
from colearn.interface import ColearnModel, ModelFormat, ProposedWeights, Weights

NEVER = "this learner must not be asked"


def model():
    return {"w": np.zeros((2, 3)), "b": np.zeros(2, np.float32)}


def better(arrays):
    return {name: np.array(array) + array.dtype.type(1) for name, array in arrays.items()}


def score_of(arrays):
    return float(arrays["w"].mean())


class Learner:
    """Honest: proposes weights with larger values, and finds larger values better."""

    def __init__(self):
        self.weights = model()
        self.trained_count = 0
        self.seen = []
        self.accepted = []

    def mli_propose_weights(self):
        self.trained_count += 1
        return Weights(weights=better(self.weights))

    def mli_test_weights(self, weights):
        self.seen.append(weights)
        score = score_of(weights.weights)
        vote = score > score_of(self.weights)
        return ProposedWeights(weights=weights, vote_score=score, vote=vote)

    def mli_accept_weights(self, weights):
        self.accepted.append(weights)
        self.weights = dict(weights.weights)

    def mli_get_current_weights(self):
        return Weights(weights=self.weights)

    def mli_get_current_model(self):
        return ColearnModel(model_format=ModelFormat.ONNX, model=self.weights)


class Proposer(Learner):
    """Proposes what it is given: a value for Weights.weights, or a function that makes one."""

    def __init__(self, arrays, summary=None):
        super().__init__()
        self.arrays = arrays
        self.summary = summary

    def mli_propose_weights(self):
        arrays = self.arrays() if callable(self.arrays) else self.arrays
        return Weights(weights=arrays, training_summary=self.summary)


class Returns(Learner):
    """Proposes any object at all, Weights or not."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def mli_propose_weights(self):
        return self.answer


class Votes(Learner):
    """Answers with a given vote and score, or with what a function makes of the weights."""

    def __init__(self, vote, score=1.0):
        super().__init__()
        self.vote = vote
        self.score = score

    def mli_test_weights(self, weights):
        self.seen.append(weights)
        if callable(self.vote):
            return self.vote(weights)
        return ProposedWeights(weights=weights, vote_score=self.score, vote=self.vote)


class RaisesAt(Learner):
    """Raises an error in the method of the given name."""

    def __init__(self, method, error):
        super().__init__()
        self._honest = getattr(self, method)
        self._error = error
        setattr(self, method, self._fail)

    def _fail(self, *_):
        raise self._error


def group_of(proposer, honest=2):
    return [proposer, *(Learner() for _ in range(honest))]


def round_of(learners, rules, proposer=0, **settings):
    return conduct_round(learners, proposer, rules, **settings)
