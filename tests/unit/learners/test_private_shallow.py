"""Learners that are no networks, under a budget: who trains privately, and who is refused."""

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

from colearn import RandomForestLearner, SklearnLearner
from colearn.errors import ConfigError
from colearn.interface import DiffPrivConfig, ErrorCodes, VotePrivacyConfig
from colearn.learners.lightgbm import LightGBMLearner
from colearn.learners.xgboost import XGBoostLearner
from colearn.privacy import Privacy

# Full batches: the accountant has a closed form for them, and answers at once.
CONFIG = DiffPrivConfig(
    target_epsilon=4,
    target_delta=1e-5,
    max_grad_norm=1.0,
    planned_proposals=2,
    steps_per_proposal=2,
)
FULL = CONFIG.model_copy(update={"expected_batch_size": 100})
CONSTANT = {"learning_rate": "constant", "eta0": 0.5}


def rows(numbers=False):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = X[:, 0] - X[:, 1]
    y = y if numbers else (y > 0).astype(int)
    own = {} if numbers else {"classes": range(2)}
    return {"train": (X[:100], y[:100]), "vote": (X[100:], y[100:]), **own}


def classifier(config=FULL, **settings):
    estimator = SGDClassifier(loss="log_loss", **CONSTANT)
    return lambda privacy: SklearnLearner(estimator, privacy=privacy, **rows(), **settings), config


def regressor():
    estimator = SGDRegressor(loss="huber", **CONSTANT)
    return lambda privacy: SklearnLearner(estimator, privacy=privacy, **rows(numbers=True)), FULL


def forest():
    return lambda privacy: RandomForestLearner(bounds=(-3, 3), privacy=privacy, **rows()), CONFIG


@pytest.mark.parametrize("kind", [classifier, regressor, forest])
def test_a_learner_proposes_as_often_as_planned_and_then_says_that_it_is_spent(tmp_path, kind):
    make, config = kind()
    learner = make(Privacy(proposals=config, directory=tmp_path))
    for _ in range(2):
        proposed = learner.mli_propose_weights()
        assert proposed.training_summary.error_code is None
        assert proposed.weights.digest != learner.mli_get_current_weights().weights.digest
        learner.mli_test_weights(proposed)
        learner.mli_accept_weights(proposed)
    assert 3.9 < proposed.training_summary.dp_budget.consumed_epsilon <= 4
    refused = learner.mli_propose_weights()
    assert refused.training_summary.error_code is ErrorCodes.DP_BUDGET_EXCEEDED
    assert refused.weights.digest == learner.mli_get_current_weights().weights.digest


@pytest.mark.parametrize("kind", [classifier, regressor])
def test_a_private_model_fits_learners_that_are_not_private(tmp_path, kind):
    make, config = kind()
    private, plain = make(Privacy(proposals=config, directory=tmp_path)), make(None)
    proposed = private.mli_propose_weights()
    plain.mli_accept_weights(proposed)
    assert plain.mli_propose_weights().weights.layout == proposed.weights.layout


def test_private_and_grown_trees_stand_in_one_forest(tmp_path):
    make, config = forest()
    private, plain = (
        make(Privacy(proposals=config, directory=tmp_path)),
        RandomForestLearner(**rows()),
    )
    for learner in (private, plain, private):
        proposed = learner.mli_propose_weights()
        for each in (private, plain):
            each.mli_test_weights(proposed)
            each.mli_accept_weights(proposed)
    assert len(proposed.weights["sizes"]) == 2 + 5 + 2


@pytest.mark.parametrize("kind", [
    lambda **with_: SklearnLearner(MLPClassifier(), **with_),
    lambda **with_: SklearnLearner(GaussianNB(), **with_),
    XGBoostLearner,
    LightGBMLearner,
], ids=["mlp", "naive-bayes", "xgboost", "lightgbm"])  # fmt: skip
def test_other_learners_are_refused_proposals_and_told_who_is_not(tmp_path, kind):
    with pytest.raises(ConfigError, match=r"'mine' cannot train privately.*TorchLearner"):
        kind(name="mine", privacy=Privacy(proposals=CONFIG, directory=tmp_path), **rows())
    assert not list(tmp_path.iterdir())
    votes = Privacy(votes=VotePrivacyConfig(), directory=tmp_path)
    learner = kind(name="mine", privacy=votes, **rows())
    proposed = kind(name="yours", seed=1, **rows()).mli_propose_weights()
    assert learner.mli_test_weights(proposed).vote in (True, False)


@pytest.mark.parametrize(("make", "says"), [
    (lambda **with_: SklearnLearner(SGDClassifier(), **rows(), **with_), "learning_rate 'optimal'"),
    (classifier(class_weight="balanced")[0], "class_weight"),
    (lambda **with_: RandomForestLearner(**rows(), **with_), "needs bounds"),
    (lambda **with_: RandomForestLearner(**rows(numbers=True), bounds=(0, 1), **with_), "classes alone"),
])  # fmt: skip
def test_settings_are_refused_before_a_record_of_spends_is_opened(tmp_path, make, says):
    with pytest.raises(ConfigError, match=says):
        make(privacy=Privacy(proposals=CONFIG, directory=tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_simulation_repeats_and_private_noise_does_not(tmp_path):
    def propose(noise, name):
        config = FULL.model_copy(update={"noise": noise})
        privacy = Privacy(proposals=config, directory=tmp_path / name)
        return classifier()[0](privacy).mli_propose_weights().weights.digest

    assert propose("simulation", "a") == propose("simulation", "b")
    assert propose("secure", "c") != propose("secure", "d")
