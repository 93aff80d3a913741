"""No row speaks for another, however it is evaluated."""

from contextlib import nullcontext

import numpy as np
import pytest

from colearn.learners._private_losses import PrivateLosses
from colearn.learners._rows import LabelledRows
from colearn.learners._scoring import Predictions
from colearn.weights import freeze

OLD, NEW = freeze({"w": np.zeros(1)}), freeze({"w": np.ones(1)})
FATAL = 99.0


class Touchy:
    """Predicts class 1 with a chance that the model sets, and fails on one row of NEW."""

    def __init__(self):
        self.asked = 0

    def predict(self, model, X):
        self.asked += 1
        if model["w"][0] and (X == FATAL).any():
            raise RuntimeError("this row is too much")
        chance = np.full(len(X), 0.9 if model["w"][0] else 0.5)
        return Predictions("probabilities", np.column_stack([1 - chance, chance]))


def losses_of(X, family=None):
    rows = LabelledRows(np.asarray(X, float).reshape(-1, 1), np.ones(len(X), np.int64))
    return PrivateLosses(family or Touchy(), "loss", rows, rows, nullcontext)


def test_a_row_that_fails_changes_its_own_difference_alone():
    with_it = losses_of([1, 2, FATAL, 4]).differences(OLD, NEW)
    without = losses_of([1, 2, 4]).differences(OLD, NEW)
    assert np.array_equal(with_it[[0, 1, 3]], without)
    assert with_it[2] == -np.inf


def test_a_row_that_fails_is_a_wrong_one_and_no_other_is():
    assert losses_of([1, 2, FATAL, 4]).correct(NEW).tolist() == [True, True, False, True]


def test_the_current_model_is_evaluated_once():
    family = Touchy()
    losses = losses_of([1, 2], family)
    losses.differences(OLD, NEW)
    losses.differences(OLD, NEW)
    assert family.asked == 2


@pytest.mark.parametrize("model", [OLD, NEW])
def test_equal_models_differ_nowhere(model):
    assert not losses_of([1, 2, 3]).differences(model, model).any()
