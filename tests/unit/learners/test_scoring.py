import math

import numpy as np
import pytest

from colearn.learners._scoring import (
    Predictions,
    class_balance,
    improves,
    is_not_worse,
)


def test_log_loss_is_clipped():
    predictions = Predictions("probabilities", np.array([[1.0, 0.0], [0.25, 0.75]]))
    losses = predictions.losses(np.array([1, 1]))
    assert losses == pytest.approx([-math.log(1e-15), -math.log(0.75)])


def test_margin_loss_is_one_minus_own_less_the_best_other():
    predictions = Predictions("margins", np.array([[2.0, 0.5, 1.5], [3.0, 0.0, 0.0]]))
    assert predictions.losses(np.array([0, 0])) == pytest.approx([0.5, 0.0])


def test_squared_error():
    assert Predictions("values", np.array([1.0, 3.0])).losses(np.array([2.0, 3.0])) == (
        pytest.approx([1.0, 0.0])
    )


def test_what_is_no_number_is_infinitely_bad():
    predictions = Predictions("values", np.array([np.nan, 1.0]))
    assert predictions.losses(np.array([0.0, 1.0]))[0] == np.inf
    assert not is_not_worse(np.zeros(2), predictions.losses(np.array([0.0, 1.0])), None, -2.0)


def test_paired_uses_the_standard_error_with_ddof_1():
    # d = -1, -1, -1, 3: mean 0, stderr 1; with two rows less extreme the bar decides.
    current, proposed = np.zeros(4), np.array([2.0, 0.0, 2.0, 0.0])
    difference = current - proposed
    z = difference.mean() / (difference.std(ddof=1) / 2)
    assert is_not_worse(current, proposed, None, z - 1e-9)
    assert not is_not_worse(current, proposed, None, z + 1e-9)


def test_paired_without_spread_asks_for_an_improvement():
    same = np.ones(5)
    assert not is_not_worse(same, same, None, -2.0)
    assert is_not_worse(same, same - 0.5, None, -2.0)
    assert not is_not_worse(same, same + 0.5, None, -2.0)


def test_class_balance_lets_a_rare_class_speak():
    targets = np.array([0] * 9 + [1])
    balance = class_balance(targets, 2)
    assert balance == pytest.approx([1 / 9] * 9 + [1.0])
    # Nine rows of the common class get a little better, the one of the rare class much worse.
    current = np.full(10, 2.0)
    proposed = current - np.array([0.2, 0.1, 0.2, 0.1, 0.2, 0.1, 0.2, 0.1, 0.2, -1.0])
    assert is_not_worse(current, proposed, None, 0.0)
    assert not is_not_worse(current, proposed, balance, 0.0)


def test_classic_is_strict():
    assert improves(0.5, 0.6)
    assert not improves(0.5, 0.5)
    assert not improves(0.5, math.nan)
