import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from colearn import SklearnLearner


def learner(seed=3):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.arange(60) % 3
    return SklearnLearner(
        SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.1),
        train=(X[:40], y[:40]), vote=(X[40:], y[40:]), classes=range(3), seed=seed,
    )  # fmt: skip


def proposed(round_number, *, before=(), seed=3):
    one = learner(seed)
    for number in before:
        one.begin_round(number)
        one.mli_propose_weights()
    if round_number is not None:
        one.begin_round(round_number)
    return one.mli_propose_weights().weights.digest


def test_a_proposal_is_decided_by_the_round_and_not_by_what_came_before():
    assert proposed(7) == proposed(7, before=(1, 2, 3))
    assert proposed(7) != proposed(8)
    assert proposed(7) != proposed(7, seed=4)


def test_without_rounds_proposals_are_counted():
    one = learner()
    first, second = (one.mli_propose_weights().weights.digest for _ in range(2))
    assert first != second
    assert first == proposed(None)


def test_a_learner_says_what_it_keeps_from_one_proposal_to_the_next():
    assert learner().local_state == "none"


@pytest.mark.parametrize("number", [1, 2**31])
def test_any_round_has_a_seed(number):
    assert proposed(number) == proposed(number)
