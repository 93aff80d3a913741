import math

import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.learners._scoring import (
    Predictions,
    class_balance,
    improves,
    is_not_worse,
    metric_named,
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


def test_metrics_say_what_they_are_for():
    with pytest.raises(ConfigError, match="accuracy"):
        metric_named("r2", "classification")
    with pytest.raises(ConfigError, match="r2"):
        metric_named("auc", "regression")


def test_metrics_larger_is_better():
    targets = np.array([0, 0, 0, 1])
    good = Predictions("probabilities", np.array([[0.9, 0.1]] * 3 + [[0.2, 0.8]]))
    bad = Predictions("probabilities", np.array([[0.9, 0.1]] * 4))
    for name in ("accuracy", "balanced_accuracy", "neg_loss"):
        metric = metric_named(name, "classification")
        assert metric(targets, good) > metric(targets, bad)
    assert metric_named("balanced_accuracy", "classification")(targets, bad) == 0.5
    r2 = metric_named("r2", "regression")
    assert r2(np.array([1.0, 2.0]), Predictions("values", np.array([1.0, 2.0]))) == 1.0
    assert math.isnan(r2(np.array([1.0, 1.0]), Predictions("values", np.array([1.0, 2.0]))))
