import inspect
import math
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import LinearRegression, SGDClassifier
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.naive_bayes import GaussianNB

from colearn.errors import ConfigError
from colearn.learners import _metrics, _scorers
from colearn.learners._metrics import (
    OWN_METRICS,
    is_own,
    metric_named,
    require_deciding,
    row_losses,
)
from colearn.learners._scorers import Scorer, fitting_scorers, scorer_named
from colearn.learners._scoring import Predictions

RNG = np.random.default_rng(11)
X = RNG.normal(size=(120, 4))
NOISE = RNG.normal(size=120)
BINARY = (X[:, 0] + NOISE > 0).astype(int)
MULTI = np.digitize(X[:, 0] + X[:, 1] + 0.7 * NOISE, [-0.7, 0.7])
VALUES = np.abs(X[:, 0] + 5 + 0.3 * NOISE)
WEIGHTS = RNG.uniform(0.2, 3, 40)
TRAIN, TEST = slice(0, 80), slice(80, 120)


def fitted(y, margins=False):
    if y is VALUES:
        return LinearRegression().fit(X[TRAIN], y[TRAIN])
    model = SGDClassifier(random_state=0) if margins else GaussianNB()
    return model.fit(X[TRAIN], y[TRAIN])


def predictions_of(model, margins=False):
    if not hasattr(model, "classes_"):
        return Predictions("values", model.predict(X[TEST]))
    if not margins:
        return Predictions("probabilities", model.predict_proba(X[TEST]))
    found = model.decision_function(X[TEST])
    if found.ndim == 1:
        found = np.column_stack([-found / 2, found / 2])
    return Predictions("margins", found)


TASKS = {
    "regression": (VALUES, 0, False),
    "binary": (BINARY, 2, False),
    "multi": (MULTI, 3, False),
    "binary margins": (BINARY, 2, True),
    "multi margins": (MULTI, 3, True),
}


def kind_of(count, margins):
    return "values" if not count else "margins" if margins else "probabilities"


FITTING = [
    (task, name)
    for task, (_, count, margins) in TASKS.items()
    for name in fitting_scorers(kind_of(count, margins), count)
]


@pytest.mark.parametrize(("task", "name"), FITTING)
def test_every_fitting_name_agrees_with_scikit_learn_called_directly(task, name):
    y, count, margins = TASKS[task]
    model = fitted(y, margins)
    predictions = predictions_of(model, margins)
    mine = scorer_named(name, predictions.kind, count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = get_scorer(name)(model, X[TEST], y[TEST])
    assert mine(y[TEST], predictions) == pytest.approx(theirs, nan_ok=True, abs=1e-12)
    if mine.takes_weights:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weighed = get_scorer(name)(model, X[TEST], y[TEST], sample_weight=WEIGHTS)
        assert mine(y[TEST], predictions, WEIGHTS) == pytest.approx(weighed, abs=1e-12)
        assert "sample_weight" in inspect.signature(get_scorer(name)._score_func).parameters


@pytest.mark.parametrize(("task", "name"), FITTING)
def test_every_fitting_name_grows_when_predictions_improve(task, name):
    y, count, margins = TASKS[task]
    kind, targets = kind_of(count, margins), y[TEST]
    metric = metric_named(name, Predictions(kind, np.zeros((1, 1))), classes_count=count)
    if kind == "values":
        worse, better = (
            Predictions("values", targets + step * (1 + abs(NOISE[TEST]))) for step in (2, 0.1)
        )
    else:
        own = np.eye(count)[targets]
        wrong = np.eye(count)[(targets + 1) % count]
        noise = RNG.random((len(targets), count))
        half = np.arange(len(targets)) % 2 == 0
        # Half and half against a tenth that is wrong; a few are wrong in both, so no count is 0.
        bad = np.where(half[:, None], wrong, own)
        good = np.where((np.arange(len(targets)) % 10 == 0)[:, None], wrong, own)
        worse, better = (Predictions(kind, 3 * one + noise) for one in (bad, good))
        if kind == "probabilities":
            worse, better = (
                Predictions(kind, each.scores / each.scores.sum(axis=1, keepdims=True))
                for each in (worse, better)
            )
    if name == "top_k_accuracy" and count == 2:
        # Two of two classes are always right.
        assert metric(targets, better) == metric(targets, worse) == 1
        return
    assert metric(targets, better) > metric(targets, worse)


def test_error_scorers_are_all_among_those_that_fit():
    fitting = {name for _, name in FITTING}
    errors = {name for name in get_scorer_names() if name.startswith("neg_")}
    assert errors <= fitting
    clusters = {name for name in get_scorer_names() if hasattr(metrics.cluster, name)}
    assert not clusters & fitting
    assert set(get_scorer_names()) - fitting - clusters == {
        name for name in get_scorer_names() if name.endswith("_samples")
    }


def test_the_direction_comes_from_the_scorer_and_is_nowhere_in_our_code():
    for module in (_scorers, _metrics):
        text = Path(module.__file__).read_text()
        assert "_sign" not in text.replace("get_scorer", "")
        assert "greater_is_better" not in text
        assert 'startswith("neg' not in text


@pytest.mark.parametrize("name", [name for name in OWN_METRICS if name != "neg_loss"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_metrics_without_scikit_learn_are_those_of_scikit_learn(name, weights):
    y, count = (VALUES, 0) if name == "r2" else (MULTI, 3)
    model = fitted(y)
    predictions = predictions_of(model)
    mine = metric_named(name, predictions, classes_count=count)
    assert is_own(name, count)
    assert not isinstance(mine, Scorer)
    assert mine(y[TEST], predictions, weights) == pytest.approx(
        get_scorer(name)(model, X[TEST], y[TEST], sample_weight=weights)
    )


def test_neg_loss_is_the_mean_of_the_voting_losses_with_a_minus():
    predictions = predictions_of(fitted(MULTI))
    losses = predictions.losses(MULTI[TEST])
    metric = metric_named("neg_loss", predictions, classes_count=3)
    assert metric(MULTI[TEST], predictions) == -losses.mean()
    assert metric(MULTI[TEST], predictions, WEIGHTS) == pytest.approx(
        -(losses * WEIGHTS).sum() / WEIGHTS.sum()
    )


@pytest.mark.parametrize(
    ("name", "kind", "count", "message"),
    [
        ("f1", "probabilities", 3, "'f1' is not for 3 classes. Use one of f1_macro"),
        ("precision", "margins", 4, "4 classes. Use one of precision_macro"),
        ("roc_auc", "probabilities", 3, "3 classes. Use one of roc_auc_ovr, roc_auc_ovo"),
        ("roc_auc", "margins", 3, "'roc_auc' is not for 3 classes without probabilities"),
        ("neg_log_loss", "margins", 2, "not for 2 classes without probabilities.*accuracy"),
        ("rand_score", "probabilities", 2, "'rand_score' is not for 2 classes.*roc_auc"),
        ("r2", "probabilities", 2, "'r2' is not for 2 classes.*balanced_accuracy"),
        ("f1_samples", "probabilities", 3, "'f1_samples' is not for 3 classes"),
        ("accuracy", "values", 0, "'accuracy' is not for regression.*neg_max_error, .*r2"),
        ("rand_score", "values", 0, "'rand_score' is not for regression"),
        ("auc", "values", 0, "Unknown metric 'auc'.*For regression use one of neg_loss, d2"),
        ("", "probabilities", 2, "Unknown metric ''"),
        (3, "probabilities", 2, "must be the name of one, got 3"),
        (None, "probabilities", 2, "must be the name of one, got None"),
    ],
)
def test_names_that_do_not_fit_are_refused_with_those_that_do(name, kind, count, message):
    with pytest.raises(ConfigError, match=message):
        metric_named(name, Predictions(kind, np.zeros((1, 1))), classes_count=count)


def test_a_metric_that_takes_no_weights_is_refused_where_rows_have_some():
    shown = Predictions("values", np.zeros(1))
    assert metric_named("neg_max_error", shown, classes_count=0)
    with pytest.raises(ConfigError, match="'neg_max_error' takes no weights"):
        metric_named("neg_max_error", shown, classes_count=0, weighted=True)


def test_a_set_that_lacks_a_class_has_a_log_loss_and_no_roc_auc():
    targets = np.array([0, 0, 1, 1, 0])
    scores = np.full((5, 3), 0.2)
    scores[np.arange(5), targets] = 0.6
    predictions = Predictions("probabilities", scores)
    log_loss = scorer_named("neg_log_loss", "probabilities", 3)
    assert log_loss(targets, predictions) == pytest.approx(math.log(0.6))
    assert log_loss(targets, predictions, np.ones(5)) == pytest.approx(math.log(0.6))
    assert math.isnan(scorer_named("roc_auc_ovr", "probabilities", 3)(targets, predictions))
    # Classes that do not occur are no part of a mean of predicted labels.
    assert scorer_named("f1_macro", "probabilities", 3)(targets, predictions) == 1.0
    one = Predictions("probabilities", scores[:, :2] / scores[:, :2].sum(axis=1, keepdims=True))
    assert math.isnan(scorer_named("roc_auc", "probabilities", 2)(np.zeros(5, int), one))
    assert scorer_named("neg_log_loss", "probabilities", 2)(np.zeros(5, int), one) < 0


@pytest.mark.parametrize(("task", "name"), FITTING)
def test_predictions_that_are_no_numbers_have_no_value_or_a_bad_one_and_raise_nothing(task, name):
    y, count, margins = TASKS[task]
    predictions = predictions_of(fitted(y, margins), margins)
    scores = predictions.scores.copy()
    scores[3] = np.nan
    metric = scorer_named(name, predictions.kind, count)
    broken = metric(y[TEST], Predictions(predictions.kind, scores))
    assert isinstance(broken, float)
    if metric._by_column or not count:
        assert math.isnan(broken)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("accuracy", "multi"),
        ("accuracy", "multi margins"),
        ("neg_log_loss", "multi"),
        ("neg_log_loss", "binary"),
        ("neg_mean_squared_error", "regression"),
        ("neg_mean_absolute_error", "regression"),
    ],
)
def test_a_metric_that_decides_by_rows_is_the_mean_of_its_row_losses(name, task):
    y, _, margins = TASKS[task]
    model = fitted(y, margins)
    predictions = predictions_of(model, margins)
    require_deciding(name, predictions)
    losses = row_losses(name, y[TEST], predictions)
    score = get_scorer(name)(model, X[TEST], y[TEST])
    # A loss is what the scorer is short of its best value, whatever the scorer's sign is.
    best = 1.0 if name == "accuracy" else 0.0
    assert best - losses.mean() == pytest.approx(score)


def test_row_losses_of_what_is_no_number_are_infinite():
    scores = np.array([[0.5, 0.5], [np.nan, 0.5], [np.nan, np.nan]])
    for name in ("loss", "accuracy", "neg_log_loss"):
        losses = row_losses(name, np.array([0, 0, 0]), Predictions("probabilities", scores))
        assert np.isfinite(losses[0])
        assert losses[2] == np.inf
    values = Predictions("values", np.array([1.0, np.nan]))
    assert row_losses("neg_mean_absolute_error", np.ones(2), values)[1] == np.inf


@pytest.mark.parametrize("name", ["f1_macro", "roc_auc", "r2", "neg_log_loss", "nonsense", ""])
def test_what_has_no_row_losses_cannot_decide_in_paired(name):
    with pytest.raises(ConfigError, match="cannot decide in mode paired.*loss, accuracy.*classic"):
        require_deciding(name, Predictions("margins", np.zeros((1, 2))))


def test_defaults_need_no_scikit_learn_and_other_names_say_which_extra():
    script = """
import sys
sys.modules["sklearn"] = None
import numpy as np
from colearn.errors import MissingExtraError
from colearn.learners import _template
from colearn.learners._metrics import metric_named
from colearn.learners._scoring import Predictions
shown = Predictions("probabilities", np.eye(2))
for name in ("accuracy", "balanced_accuracy", "neg_loss"):
    print(metric_named(name, shown, classes_count=2)(np.array([0, 1]), shown))
try:
    metric_named("roc_auc", shown, classes_count=2)
except MissingExtraError as error:
    print(error.extra)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1.0", "1.0", "-0.0", "sklearn"]
