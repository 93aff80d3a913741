"""Learners of boosted trees, and boosters made by hand, for the tests."""

import numpy as np

from colearn.learners import LightGBMLearner, XGBoostLearner
from colearn.learners._boosted_trees import class_pattern
from colearn.weights import NO_NODE

RNG = np.random.default_rng(7)
X = RNG.normal(size=(120, 4))
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
VALUES = X[:, 0] - 2 * X[:, 1]
NAMES = np.array(["ant", "bee", "cat"])
ROWS = X.astype(np.float32)


def learner(y, classes=None, *, of=XGBoostLearner, **settings):
    return of(
        train=(X[:80], y[:80]),
        vote=(X[80:100], y[80:100]),
        test=(X[100:], y[100:]),
        classes=classes,
        **settings,
    )


LEARNERS = {
    "two classes": lambda **s: learner((LABELS > 0).astype(int), [0, 1], **s),
    "many classes": lambda **s: learner(LABELS, range(4), **s),
    "text classes": lambda **s: learner(NAMES[LABELS], NAMES, **s),
    "regression": lambda **s: learner(VALUES, constant=0.5, **s),
}


def leafwise(y, classes=None, **settings):
    return learner(y, classes, of=LightGBMLearner, **settings)


LEAFWISE = {
    kind: lambda make=make, **s: make(of=LightGBMLearner, **s) for kind, make in LEARNERS.items()
}


def current(learner):
    return learner.mli_get_current_weights().weights


def grown(learner, proposals=3):
    for _ in range(proposals):
        learner.mli_accept_weights(learner.mli_propose_weights())
    return learner


def make_trees(trees, trees_per_round=1, base_score=0.0, *, of=XGBoostLearner):
    real = np.float32 if of is XGBoostLearner else np.float64
    left, right = (np.array([n[k] for tree in trees for n in tree], np.int32) for k in (0, 1))
    zeros = np.zeros(len(left), real)
    arrays = {
        "sizes": np.array([len(tree) for tree in trees], np.int32),
        "left": left,
        "right": right,
        "feature": np.where(left == NO_NODE, NO_NODE, 0).astype(np.int32),
        # LightGBM splits nowhere near 0.
        "threshold": zeros if of is XGBoostLearner else np.where(left == NO_NODE, 0.0, 1.0),
        "value": zeros,
        "tree_info": class_pattern(len(trees), trees_per_round),
        "base_score": np.array([base_score], real),
    }
    if of is XGBoostLearner:
        arrays["default_left"] = zeros.astype(np.uint8)
    return arrays


def chain(depth):
    """The nodes of a tree in which every inner node has a leaf on its left."""
    nodes = []
    for level in range(depth):
        left = 2 * level + 1
        nodes += [(left, left + 1), (NO_NODE, NO_NODE)]
    return [*nodes, (NO_NODE, NO_NODE)]
