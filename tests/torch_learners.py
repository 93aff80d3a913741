"""Small PyTorch learners on made-up rows."""

from functools import partial

import numpy as np
import torch
from torch import nn

from colearn import Weights
from colearn.learners import TorchLearner

X = np.random.default_rng(7).normal(size=(120, 4)).astype(np.float32)
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
VALUES = (X[:, 0] - 2 * X[:, 1]).astype(np.float64)
CLASSES = range(3)


def data(y=LABELS, classes=CLASSES, rows=X):
    return {
        "train": (rows[:80], y[:80]),
        "vote": (rows[80:100], y[80:100]),
        "test": (rows[100:], y[100:]),
        **({} if classes is None else {"classes": classes}),
    }


def normed():
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
    )


def learner(module=normed, rows=None, **settings):
    return TorchLearner(module, **(data() if rows is None else rows), **settings)


def current(one):
    return one.mli_get_current_weights().weights


def step(one):
    proposal = one.mli_propose_weights()
    one.mli_accept_weights(proposal)
    return proposal.weights


def tensors(arrays):
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def changed(arrays, **changes):
    return Weights(weights={**dict(arrays), **changes})


SGD1 = partial(torch.optim.SGD, lr=1.0)
