import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor

from colearn import SklearnLearner
from colearn.errors import ConfigError
from colearn.interface import DiffPrivConfig
from colearn.learners._linear import LinearFamily
from colearn.learners._linear_private import clipped_sums, descent_of
from colearn.learners._mlp import MLPFamily
from colearn.learners._naive_bayes import NaiveBayesFamily
from colearn.privacy.randomness import SecureSource, SimulationSource
from colearn.privacy.training import PrivateTraining
from colearn.schema import Schema
from colearn.weights import freeze

CONFIG = DiffPrivConfig(target_epsilon=8, target_delta=1e-5, max_grad_norm=1.0)
OF_VALUES = ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]
OF_CLASSES = ["log_loss", "hinge", "perceptron", "squared_hinge", "modified_huber", *OF_VALUES]
CONSTANT = {"learning_rate": "constant", "eta0": 0.1}
HUGE = 1e9


def family_of(estimator, features=5, classes=None, epochs=1):
    return LinearFamily(estimator, Schema.of(features, classes), epochs)


def training_of(rows_count, *, noise=0.0, bound=HUGE, rate=1.0, steps=1, source=None, **users):
    return PrivateTraining(
        rows_count=rows_count, max_grad_norm=bound, noise_multiplier=noise, sampling_rate=rate,
        steps=steps, source=source or SimulationSource(7), **users,
    )  # fmt: skip


def rows_of(rows=12, features=5, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, features)) * 2
    y = np.arange(rows) % classes if classes else rng.normal(size=rows)
    outputs = classes if classes and classes > 2 else 1
    model = freeze(
        {"coef": rng.normal(size=(outputs, features)), "intercept": rng.normal(size=outputs)}
    )
    return X, y, model


def plain_loss(name, p, y, epsilon=0.1):
    """The losses as scikit-learn's user guide writes them; y is 1 or -1, or a value."""
    error = abs(y - p)
    return {
        "log_loss": lambda: np.log1p(np.exp(-y * p)),
        "hinge": lambda: max(0, 1 - y * p),
        "perceptron": lambda: max(0, -y * p),
        "squared_hinge": lambda: max(0, 1 - y * p) ** 2,
        "modified_huber": lambda: max(0, 1 - y * p) ** 2 if y * p > -1 else -4 * y * p,
        "squared_error": lambda: error**2 / 2,
        "huber": lambda: error**2 / 2 if error <= epsilon else epsilon * error - epsilon**2 / 2,
        "epsilon_insensitive": lambda: max(0, error - epsilon),
        "squared_epsilon_insensitive": lambda: max(0, error - epsilon) ** 2,
    }[name]()


def numeric_gradient(loss, weights, x, targets, step=1e-6):
    """Central differences of the sum over outputs; `weights` is (outputs, features + 1)."""

    def total(each):
        scores = each[:, :-1] @ x + each[:, -1]
        return sum(plain_loss(loss, p, y) for p, y in zip(scores, targets, strict=True))

    gradient = np.zeros_like(weights)
    for place in np.ndindex(weights.shape):
        moved = weights.copy()
        moved[place] += step
        above = total(moved)
        moved[place] -= 2 * step
        gradient[place] = (above - total(moved)) / (2 * step)
    return gradient


def signed(y, classes):
    if not classes:
        return y[:, None]
    return np.where(y[:, None] == (np.arange(classes) if classes > 2 else [1]), 1.0, -1.0)


@pytest.mark.parametrize(("loss", "classes"), [
    *[(loss, classes) for loss in OF_CLASSES for classes in (2, 3)],
    *[(loss, None) for loss in OF_VALUES],
])  # fmt: skip
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("users", [None, [0, 1, 1, 2, 0, 3, 3, 3, 4, 4, 2, 5]])
def test_clipped_sums_are_those_of_gradients_built_row_by_row(loss, classes, intercept, users):
    X, y, model = rows_of(classes=classes)
    kind = SGDClassifier if classes else SGDRegressor
    descent = descent_of(kind(loss=loss, **CONSTANT), is_classifier=bool(classes))
    targets, units = signed(y, classes), np.arange(12) if users is None else np.array(users)
    weights = np.column_stack([model["coef"], model["intercept"]])
    of_units = np.zeros((units.max() + 1, *weights.shape))
    for unit, x, target in zip(units, X, targets, strict=True):
        of_units[unit] += numeric_gradient(loss, weights, x, target)
    if not intercept:
        of_units[..., -1] = 0
    lengths = np.sqrt((of_units**2).sum(axis=(1, 2)))
    bound = np.median(lengths) or 1.0
    expected = (of_units * np.minimum(1, bound / np.maximum(lengths, 1e-12))[:, None, None]).sum(0)

    slopes = descent.derivative(X @ model["coef"].T + model["intercept"], targets, 0.1)
    sums, norms = clipped_sums(slopes, X, units, len(of_units), bound=bound, intercept=intercept)

    assert sums["coef"] == pytest.approx(expected[:, :-1], abs=1e-6)
    assert ("intercept" in sums) == intercept
    if intercept:
        assert sums["intercept"] == pytest.approx(expected[:, -1], abs=1e-6)
    assert norms == pytest.approx(np.minimum(lengths, bound), abs=1e-6)
    assert (norms <= bound * (1 + 1e-12)).all()


@pytest.mark.parametrize(
    ("loss", "classes"), [("log_loss", 2), ("modified_huber", 3), ("huber", None)]
)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("penalty", ["l2", None])
def test_without_noise_and_clipping_one_row_moves_the_model_as_scikit_learn_does(
    loss, classes, intercept, penalty
):
    kind = SGDClassifier if classes else SGDRegressor
    settings = {"loss": loss, "alpha": 0.2, "penalty": penalty, "fit_intercept": intercept}
    family = family_of(kind(**settings, **CONSTANT), classes=classes and range(classes))
    for seed in range(5):
        X, y, model = rows_of(rows=1, classes=classes, seed=seed)
        private = family.fit_privately(model, X, y, training_of(1), 0)
        plain = family.fit(model, X, y, 0)
        assert private["coef"] == pytest.approx(plain["coef"], rel=1e-9, abs=1e-12)
        assert private["intercept"] == pytest.approx(plain["intercept"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_full_batches_are_plain_gradient_steps(classes):
    X, y, model = rows_of(rows=30, classes=classes)
    family = family_of(
        SGDClassifier(loss="log_loss", penalty=None, learning_rate="invscaling", eta0=0.3, power_t=0.5),
        classes=range(classes),
    )  # fmt: skip
    trained = family.fit_privately(model, X, y, training_of(30, steps=4), 0)
    coef, intercept = model["coef"].copy(), model["intercept"].copy()
    targets = signed(y, classes)
    for step in range(1, 5):
        slopes = -targets / (1 + np.exp(targets * (X @ coef.T + intercept)))
        coef -= 0.3 / np.sqrt(step) * slopes.T @ X / 30
        intercept -= 0.3 / np.sqrt(step) * slopes.sum(axis=0) / 30
    assert trained["coef"] == pytest.approx(coef)
    assert trained["intercept"] == pytest.approx(intercept)


def test_a_proposal_moves_at_most_as_far_as_the_bound_allows():
    X, y, model = rows_of(rows=30)
    family = family_of(
        SGDClassifier(loss="squared_hinge", penalty=None, **CONSTANT), classes=range(3)
    )
    trained = family.fit_privately(model, X * 1e6, y, training_of(30, bound=0.01, steps=5), 0)
    moved = [trained[name] - model[name] for name in ("coef", "intercept")]
    length = np.sqrt(sum((each**2).sum() for each in moved))
    assert 0 < length <= 5 * 0.1 * 0.01 * (1 + 1e-9)


@pytest.mark.parametrize("loss", OF_CLASSES)
def test_a_row_that_overflows_counts_nothing_and_stops_nobody(loss):
    X, y, model = rows_of(rows=9)
    family = family_of(SGDClassifier(loss=loss, penalty=None, **CONSTANT), classes=range(3))
    far = X.copy()
    far[4] = 1e200 * np.array([1, -1, 1, -1, 1])
    extreme = freeze({**model, "coef": model["coef"] * 1e150})
    for start in (model, extreme):
        trained = family.fit_privately(start, far, y, training_of(9, bound=1.0), 0)
        others = family.fit_privately(
            start, np.delete(far, 4, 0), np.delete(y, 4), training_of(8, bound=1.0), 0
        )
        for name in ("coef", "intercept"):
            assert np.isfinite(trained[name]).all()
            step = (trained[name] - start[name]) * 9 / 8
            assert start[name] + step == pytest.approx(others[name])


def test_penalties_act_on_what_was_released():
    X, y, model = rows_of(rows=9)
    y[:] = 0
    flat = np.zeros_like(X)  # no gradient of the coefficients at all
    for penalty, expected in (
        ("l2", model["coef"] * (1 - 0.1 * 0.5)),
        ("l1", np.sign(model["coef"]) * np.maximum(abs(model["coef"]) - 0.1 * 0.5, 0)),
    ):
        family = family_of(
            SGDClassifier(loss="log_loss", penalty=penalty, alpha=0.5, **CONSTANT), classes=range(3)
        )
        trained = family.fit_privately(model, flat, y, training_of(9), 0)
        assert trained["coef"] == pytest.approx(expected)


def test_noise_without_a_seed_enters_every_coefficient():
    X, y, model = rows_of()
    family = family_of(SGDClassifier(loss="log_loss", **CONSTANT), classes=range(3))

    def propose():
        training = training_of(12, noise=1.0, bound=1.0, source=SecureSource())
        return family.fit_privately(model, X, y, training, 0)

    one, other = propose(), propose()
    # Two draws agree on a grid of 2**20 points a deviation with a chance of about 1e-6 each.
    assert np.mean(one["coef"] != other["coef"]) > 0.8
    assert (one["intercept"] != other["intercept"]).any()


def test_the_size_of_the_noise_is_that_of_the_multiplier():
    X, y, model = rows_of(rows=10, features=500, classes=None)
    family = family_of(
        SGDRegressor(loss="huber", penalty=None, learning_rate="constant", eta0=1.0), 500
    )
    training = training_of(10, noise=3.0, bound=0.5, source=SecureSource())
    moved = family.fit_privately(model, X, y, training, 0)["coef"] - model["coef"]
    # 500 draws: the deviation's own relative error is 3 %, so 20 % is six of them; the gradients
    # add at most 10 * 0.5 / 10 to the norm of the whole.
    assert moved.std() == pytest.approx(3.0 * 0.5 / 10, rel=0.25)


def test_a_user_counts_once_however_many_rows_it_has():
    X, y, model = rows_of(rows=12)
    family = family_of(SGDClassifier(loss="log_loss", penalty=None, **CONSTANT), classes=range(3))
    training = training_of(12, bound=1e-3, users=np.repeat([0, 1], 6), max_records_per_user=6)
    trained = family.fit_privately(model, X, y, training, 0)
    moved = np.sqrt(sum(((trained[n] - model[n]) ** 2).sum() for n in ("coef", "intercept")))
    assert 0 < moved <= 0.1 * 1e-3 * (1 + 1e-9)


def test_the_intercept_stays_when_none_is_fitted():
    X, y, model = rows_of()
    family = family_of(
        SGDClassifier(loss="log_loss", fit_intercept=False, **CONSTANT), classes=range(3)
    )
    training = training_of(12, noise=1.0, bound=1.0)
    trained = family.fit_privately(model, X, y, training, 0)
    assert (trained["intercept"] == model["intercept"]).all()
    assert (trained["coef"] != model["coef"]).any()


@pytest.mark.parametrize(("units", "epochs", "expected"), [
    (10, 1, (10, 1, None)), (64, 2, (64, 2, None)), (130, 2, (64, 6, None)), (0, 1, (1, 1, None)),
])  # fmt: skip
def test_a_proposal_is_as_long_as_its_epochs(units, epochs, expected):
    family = family_of(SGDClassifier(loss="log_loss", **CONSTANT), classes=range(3), epochs=epochs)
    assert family.private_length(units) == expected


@pytest.mark.parametrize(("settings", "says"), [
    ({"learning_rate": "optimal"}, "learning_rate 'optimal'"),
    ({"learning_rate": "adaptive"}, "learning_rate 'adaptive'"),
    ({"class_weight": {0: 2.0}}, "class_weight"),
    ({"loss": "mystery"}, "'mystery'.*log_loss"),
    ({"penalty": "l3"}, "'l3'"),
    ({"eta0": np.nan}, "eta0"),
    ({"alpha": -1.0}, "alpha"),
    ({"penalty": "elasticnet", "l1_ratio": 1.5}, "l1_ratio"),
])  # fmt: skip
def test_settings_without_a_private_form_are_refused(settings, says):
    family = family_of(
        SGDClassifier(**{"loss": "log_loss", **CONSTANT, **settings}), classes=range(3)
    )
    with pytest.raises(ConfigError, match=says):
        family.require_private(CONFIG)


def test_a_regressor_knows_no_loss_of_classes():
    with pytest.raises(ConfigError, match="'hinge'"):
        family_of(SGDRegressor(loss="hinge", **CONSTANT)).require_private(CONFIG)
    family_of(SGDRegressor(**CONSTANT)).require_private(CONFIG)


def test_of_scikit_learns_estimators_linear_models_alone_train_privately():
    schema = Schema.of(3, range(2))
    families = [
        LinearFamily(SGDClassifier(), schema, 1),
        MLPFamily(MLPClassifier(), schema, 1, 0),
        MLPFamily(MLPRegressor(), Schema.of(3), 1, 0),
        NaiveBayesFamily(GaussianNB(), schema, 5),
    ]
    privately = [getattr(each, "trains_privately", False) for each in families]
    assert privately == [True, False, False, False]


def accuracy(load, *, noise, proposals=5):
    X, y = load(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(y))
    X, y = X[order], y[order]
    X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)
    half = len(y) // 2
    family = family_of(
        SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.5), X.shape[1],
        np.unique(y), epochs=2,
    )  # fmt: skip
    batch, steps, _ = family.private_length(half)
    model = freeze(family.initial())
    for turn in range(proposals):
        training = training_of(
            half, noise=noise, bound=1.0, rate=batch / half, steps=steps,
            source=SimulationSource(turn),
        )  # fmt: skip
        model = freeze(family.fit_privately(model, X[:half], y[:half], training, 0))
    return float((family.predict(model, X[half:]).best == y[half:]).mean())


def test_private_models_learn():
    # NOT PRIVATE: simulated noise, so that the numbers repeat. The multipliers are those of
    # epsilon 8 at delta 1e-5: 50 steps at rate 64/284, and 150 at 64/898.
    assert accuracy(load_breast_cancer, noise=1.240) > 0.9
    assert accuracy(load_digits, noise=0.870) > 0.8


def test_settings_pass_privacy_through():
    settings = {"estimator": "SGDClassifier", "loss": "log_loss", **CONSTANT}
    X, y, _ = rows_of(rows=30)
    learner = SklearnLearner.from_settings(
        Schema.of(5, range(3)),
        train=(X[:15], y[:15]),
        vote=(X[15:], y[15:]),
        privacy=None,
        **settings,
    )
    assert learner.mli_propose_weights().weights["coef"].shape == (3, 5)


def test_an_empty_batch_is_released_too():
    X, y, model = rows_of()
    family = family_of(SGDClassifier(loss="log_loss", penalty=None, **CONSTANT), classes=range(3))
    # A row is in one of the steps with a chance of 4e-8.
    training = training_of(12, bound=1.0, rate=1e-9, steps=3, noise=0.0)
    trained = family.fit_privately(model, X, y, training, 0)
    assert trained["coef"] == pytest.approx(model["coef"])
    noisy = training_of(12, bound=1.0, rate=1e-9, steps=3, noise=1.0)
    assert (family.fit_privately(model, X, y, noisy, 0)["coef"] != model["coef"]).all()
