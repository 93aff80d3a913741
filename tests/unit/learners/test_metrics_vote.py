import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.metrics import get_scorer
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

from colearn import RandomForestLearner, SklearnLearner, TorchLearner, Weights
from colearn.errors import ColearnWarning, ConfigError
from colearn.learners import XGBoostLearner
from colearn.learners._row_weights import checked_class_weight, checked_row_weights, weighed
from colearn.learners._scoring import class_balance, is_not_worse

RNG = np.random.default_rng(21)
X = RNG.normal(size=(120, 4))
Y = (X[:, 0] + RNG.normal(size=120) > 0.4).astype(int) + (X[:, 1] > 1)
VALUES = X[:, 0] * 2 + 0.1 * RNG.normal(size=120)
W = RNG.uniform(0.2, 3, 120)
SGD = {"learning_rate": "constant", "eta0": 0.1}


def rows(y=Y, *, train=True, vote=True, weights=W):
    def part(begin, end, weighs):
        plain = (X[begin:end], y[begin:end])
        return (*plain, weights[begin:end]) if weighs else plain

    return {"train": part(0, 70, train), "vote": part(70, 100, vote), "test": part(100, 120, vote)}


def linear(*, y=Y, loss="log_loss", data=None, classes=range(3), **settings):
    return SklearnLearner(
        SGDClassifier(loss=loss, **SGD),
        **(data or rows(y, train=False, vote=False)),
        classes=classes,
        **settings,
    )


def trained(learner, proposals=3):
    for _ in range(proposals):
        learner.mli_accept_weights(learner.mli_propose_weights())
    return learner.mli_test_weights(learner.mli_propose_weights())


# Scores


@pytest.mark.parametrize("name", ["f1_macro", "neg_log_loss", "roc_auc_ovr", "matthews_corrcoef"])
@pytest.mark.parametrize("weighs", [False, True])
def test_the_metric_is_the_score_of_both_sets_with_the_rows_weights(name, weighs):
    learner = linear(data=rows(train=False, vote=weighs), metric=name, monitor=["f1_micro"])
    trained(learner)
    judged, model = learner.judge_current(), learner.model_
    for part, score in ((slice(70, 100), judged.vote_score), (slice(100, 120), judged.test_score)):
        weights = W[part] if weighs else None
        theirs = get_scorer(name)(model, X[part], Y[part], sample_weight=weights)
        if name != "roc_auc_ovr":
            assert score == pytest.approx(theirs)
        assert -10 < score <= 1
    assert set(judged.monitored) == {"f1_micro"}


def test_the_metric_decides_in_classic_and_the_losses_in_paired():
    classic = linear(mode="classic", metric="roc_auc_ovr")
    entry = trained(classic, 0)
    assert entry.vote is (entry.vote_score > 0.5)
    paired = linear(mode="paired", metric="roc_auc_ovr")
    plain = linear(mode="paired")
    assert trained(paired).vote is trained(plain).vote
    assert np.array_equal(paired.judge_current().losses, plain.judge_current().losses)


def test_a_vote_set_that_lacks_a_class_warns_once_and_scores_nan():
    y = np.where(Y == 2, 0, Y)
    y[:5] = 2
    with pytest.warns(
        ColearnWarning, match="'ada': roc_auc_ovr has no value.*lacks class 2"
    ) as seen:
        learner = linear(
            y=y, mode="classic", metric="roc_auc_ovr", monitor=["f1_macro"], name="ada"
        )
    assert len(seen) == 1
    entry = trained(learner)
    assert math.isnan(entry.vote_score)
    assert entry.vote is False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isfinite(trained(linear(y=y, metric="neg_log_loss")).vote_score)


def test_an_approval_by_rows_counts_though_the_metric_has_no_value():
    y = np.where(Y == 2, 0, Y)
    y[:5] = 2
    with pytest.warns(ColearnWarning, match="lacks class 2"):
        learner = linear(y=y, metric="roc_auc_ovr")
    entry = trained(learner, 0)
    assert entry.vote is True
    assert entry.vote_score == -learner._judged[1].losses.mean()
    assert math.isnan(learner._judged[1].vote_score)


def test_decides_names_the_rows_that_are_compared():
    learner = linear(decides="accuracy")
    trained(learner)
    losses = learner.judge_current().losses
    missed = learner.model_.predict(X[70:100]) != Y[70:100]
    assert np.array_equal(losses, missed.astype(float))
    regressor = SklearnLearner(
        SGDRegressor(learning_rate="constant", eta0=0.01),
        **rows(VALUES, train=False, vote=False),
        decides="neg_mean_absolute_error",
    )
    trained(regressor)
    predicted = regressor.model_.predict(X[70:100])
    assert regressor.judge_current().losses == pytest.approx(abs(VALUES[70:100] - predicted))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric": "f1"}, "f1_macro"),
        ({"monitor": ["f1"]}, "f1_macro"),
        ({"monitor": "f1_macro"}, "list of names"),
        ({"monitor": 3}, "list of names"),
        ({"decides": "f1_macro"}, "mode paired"),
        ({"decides": "accuracy", "mode": "classic"}, "mode classic the metric decides"),
        ({"loss": "hinge", "metric": "neg_log_loss"}, "without probabilities"),
        ({"loss": "hinge", "decides": "neg_log_loss"}, "mode paired"),
        ({"class_weight": "equal"}, "class_weight must be"),
        ({"class_weight": {7: 1.0}}, "7 is not among"),
        ({"class_weight": {0: 0}}, "must be above 0"),
        ({"class_weight": {0: math.nan}}, "must be above 0"),
        ({"class_weight": {0: True}}, "must be above 0"),
        ({"data": rows(weights=-W)}, "train: Weights of rows must be finite and above 0"),
        ({"data": rows(weights=W * np.nan)}, "finite and above 0"),
        ({"data": {**rows(), "vote": (X[70:100], Y[70:100], W[:3])}}, r"vote: expected .*\(30,\)"),
        ({"data": {**rows(), "vote": (X[70:100], Y[70:100], ["a"] * 30)}}, "must be numbers"),
    ],
)
def test_settings_that_cannot_be_used_say_so(settings, message):
    with pytest.raises(ConfigError, match=message):
        linear(**settings)


# The vote's weights


def test_row_weights_multiply_the_differences_as_computed_by_hand():
    weighed_vote = linear(data=rows(train=False), balanced=False, z=-0.5)
    plain = linear(balanced=False, z=-0.5)
    proposal = plain.mli_propose_weights()
    before = plain.judge_current().losses
    plain.mli_test_weights(proposal)
    after = plain._judged[1].losses
    difference = W[70:100] * (before - after)
    bar = difference.mean() / (difference.std(ddof=1) / math.sqrt(30))
    for z in (bar - 1e-6, bar + 1e-6):
        if z <= 0:
            weighed_vote._z = z
            assert weighed_vote.mli_test_weights(proposal).vote is (z < bar)
    # Weights that speak only for rows that got worse turn the vote.
    worse = np.where(after > before, 1000.0, 1e-3)
    heavy = W.copy()
    heavy[70:100] = worse
    turned = linear(data=rows(train=False, weights=heavy), balanced=False, z=0.0)
    assert plain.mli_test_weights(proposal).vote is True
    assert turned.mli_test_weights(proposal).vote is False


def test_balance_with_weights_lets_every_class_count_alike():
    y, weights = np.array([0, 0, 1]), np.array([1.0, 3.0, 5.0])
    assert class_balance(y, 2, weights) == pytest.approx([0.25, 0.75, 1.0])
    assert class_balance(y, 2) == pytest.approx([0.5, 0.5, 1.0])
    assert weighed(y, weights, "balanced") == pytest.approx([9 / 8, 27 / 8, 4.5])
    assert weighed(y, None, "balanced") == pytest.approx([0.75, 0.75, 1.5])
    assert weighed(y, weights, np.array([2.0, 0.5])) == pytest.approx([2.0, 6.0, 2.5])
    assert weighed(y, None, None) is None


def test_class_weights_replace_the_balance_of_the_vote():
    learner = linear(class_weight={0: 1, 1: 2.0, "2": 5})
    assert learner._balance == pytest.approx(np.array([1.0, 2.0, 5.0])[Y[70:100]])
    even = linear(class_weight="balanced")._balance
    assert even / even[0] == pytest.approx(linear()._balance / linear()._balance[0])
    current, proposed = RNG.random(30), RNG.random(30)
    assert is_not_worse(current, proposed, even, -0.3) == is_not_worse(
        current, proposed, 1000 * even, -0.3
    )


def test_checked_weights():
    assert checked_row_weights([1, 2], 2).tolist() == [1.0, 2.0]
    assert checked_class_weight({"b": 2}, ("a", "b")).tolist() == [1.0, 2.0]
    with pytest.raises(ConfigError, match="needs a classifier"):
        checked_class_weight("balanced", None)


# Training


def torch_learner(data, **settings):
    return TorchLearner(
        lambda: torch.nn.Linear(4, 3),
        **data,
        classes=range(3),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        **settings,
    )


FAMILIES = {
    "linear": lambda data, **s: linear(data=data, **s),
    "regressor": lambda data, **s: SklearnLearner(
        SGDRegressor(learning_rate="constant", eta0=0.01),
        **{key: (part[0], VALUES[: len(part[1])], *part[2:]) for key, part in data.items()},
        **s,
    ),
    "mlp": lambda data, **s: SklearnLearner(
        MLPClassifier((5,), learning_rate_init=0.01), **data, classes=range(3), **s
    ),
    "naive bayes": lambda data, **s: SklearnLearner(
        GaussianNB(), **data, classes=range(3), rows_per_proposal=70, **s
    ),
    "forest": lambda data, **s: RandomForestLearner(**data, classes=range(3), **s),
    "xgboost": lambda data, **s: XGBoostLearner(**data, classes=range(3), subsample=1.0, **s),
    "torch": torch_learner,
}


def proposal(name, weights, **settings):
    data = rows(vote=False, train=weights is not None, weights=weights)
    return FAMILIES[name](data, **settings).mli_propose_weights().weights


@pytest.mark.parametrize("name", FAMILIES)
def test_training_weighs_rows_and_only_their_ratios_matter(name):
    plain, weighted = proposal(name, None), proposal(name, W)
    assert plain.digest != weighted.digest
    even, again = proposal(name, np.full(120, 4.0)), proposal(name, 8.0 * W)
    for key in plain:
        if name != "forest":
            # A forest draws its bootstrap samples in another way as soon as there are weights.
            assert even[key] == pytest.approx(plain[key], rel=1e-4, abs=1e-6)
        assert again[key] == pytest.approx(weighted[key], rel=1e-4, abs=1e-6)
    # The classes' weights are those of their rows.
    if name != "regressor":
        by_class = np.array([1.0, 2.0, 5.0])[Y]
        mine = proposal(name, None, class_weight={0: 1.0, 1: 2.0, 2: 5.0})
        assert mine.digest == proposal(name, by_class).digest


def test_naive_bayes_with_weights_is_the_fit_of_scikit_learn():
    learner = FAMILIES["naive bayes"](rows(vote=False))
    learner.mli_accept_weights(learner.mli_propose_weights())
    weights = W[:70] / W[:70].mean()
    whole = GaussianNB().fit(X[:70], Y[:70], weights)
    arrays = learner.mli_get_current_weights().weights
    assert arrays["mean"] == pytest.approx(whole.theta_)
    assert arrays["variance"] == pytest.approx(whole.var_, rel=1e-6)
    assert arrays["count"] == pytest.approx(whole.class_count_)


def test_a_torch_step_is_on_the_mean_of_weight_times_loss():
    learner = FAMILIES["torch"](rows(vote=False), batch_size=70)
    before = {key: torch.tensor(array) for key, array in learner._model.items()}
    weight, bias = before["weight"].requires_grad_(), before["bias"].requires_grad_()
    scores = torch.nn.functional.linear(torch.tensor(X[:70], dtype=weight.dtype), weight, bias)
    losses = torch.nn.functional.cross_entropy(scores, torch.tensor(Y[:70]), reduction="none")
    weights = torch.tensor(W[:70] / W[:70].mean(), dtype=weight.dtype)
    torch.autograd.backward((losses * weights).mean())
    after = learner.mli_propose_weights().weights
    assert after["bias"] == pytest.approx((bias - 0.1 * bias.grad).detach().numpy(), abs=1e-6)


def test_training_that_cannot_weigh_rows_is_refused():
    mean = torch.nn.CrossEntropyLoss()
    with pytest.raises(ConfigError, match="takes no weights of rows or classes"):
        torch_learner(rows(vote=False), loss=mean)
    with pytest.raises(ConfigError, match="takes no weights of rows or classes"):
        torch_learner(rows(vote=False, train=False), loss=mean, class_weight="balanced")
    # The vote's rows have weights of their own, whatever the training takes.
    learner = torch_learner(rows(train=False), loss=mean)
    assert learner._balance is not None
    assert learner.mli_test_weights(Weights(weights=dict(learner._model))).vote is False
