"""KerasLearner: model 0, the interface, statistics, repeatability, losses, settings."""

import importlib.util
import math
import os
import random
import subprocess
import sys
from functools import partial

import pytest
import torch
from tests.keras_learners import (
    CLASSES,
    LABELS,
    VALUES,
    X,
    changed,
    current,
    data,
    digest,
    keras,
    layers,
    learner,
    linear,
    np,
    step,
)  # fmt: skip

from colearn import Collective, Weights
from colearn.errors import ConfigError, LearnerError, MissingExtraError, WeightsError
from colearn.learners import KerasLearner
from colearn.learners._keras_backend import as_array
from colearn.learners.keras_models import mlp, small_cnn
from colearn.schema import Schema
from colearn.tasks import Split, digits, divide
from colearn.weights import decode

MEAN = "sequential/batch_normalization/moving_mean"


def softmax_of(z):
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# ------------------------------------------------------------------------------- model 0


def test_model_0_is_that_of_the_seed_whatever_the_process_has_built_before():
    first = current(learner(model_seed=5, seed=1))
    linear()
    keras.utils.set_random_seed(9)
    assert current(learner(model_seed=5, seed=2)).digest == first.digest
    assert current(learner(model_seed=6)).digest != first.digest


def test_arrays_have_the_paths_of_all_weights_and_no_state_of_dropout():
    arrays = current(learner())
    assert len(arrays) == 8
    assert {MEAN, "sequential/batch_normalization/moving_variance"} < set(arrays)
    assert not [name for name in arrays if "seed" in name]
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


ONE = linear()
CALLS = iter(range(99))


def clocked():
    model = linear()
    model.weights[1].assign(np.full(3, next(CALLS)))
    return model


def twins():
    rows = keras.Input((4,))
    return keras.Model(
        rows, layers.Add()([layers.Dense(3, name="one")(rows), Hidden(name="two")(rows)])
    )


class Hidden(layers.Layer):
    """Has two variables of one name."""

    def build(self, shape):
        self.first = self.add_weight(shape=(4, 3), name="w")
        self.second = self.add_weight(shape=(4, 3), name="w")

    def call(self, rows):
        return rows @ self.first + rows @ self.second


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (clocked, "not deterministic: 'sequential/dense/bias' differs"),
        (lambda: ONE, "the same variables twice"),
        (ONE, "must be callable, got a model"),
        (3, "must be callable, got int"),
        (lambda: "net", "must return a keras.Model, got str"),
        (lambda: 1 / 0, "factory failed: division by zero"),
        (lambda: keras.Sequential([layers.Dense(3)]), "no variables yet"),
        (lambda: keras.Sequential([keras.Input((4,)), layers.ReLU()]), "no variables to train"),
        (twins, "two variables of the path 'two/w'"),
        (
            lambda: keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype="bfloat16")]),
            "is bfloat16",
        ),
        (lambda: linear(2), r"shape \(2, 3\) for 2 rows, got \(2, 2\)"),
        (lambda: keras.Sequential([keras.Input((5,)), layers.Dense(3)]), "fails on 2 rows of"),
    ],
)
def test_a_model_that_cannot_take_part_is_named(factory, message):
    with pytest.raises(ConfigError, match=message):
        learner(factory)


# ------------------------------------------------------------------------------- the interface


def test_propose_and_test_leave_the_current_weights_and_accept_replaces_them():
    one, other = learner(seed=1), learner(seed=2)
    before = current(one)
    proposal = one.mli_propose_weights()
    entry = other.mli_test_weights(proposal)
    assert current(one) is before
    assert current(other).digest == before.digest
    assert isinstance(entry.vote, bool)
    one.mli_accept_weights(proposal)
    other.mli_accept_weights(Weights(weights=decode(proposal.weights.data)))
    assert current(one).data == current(other).data == proposal.weights.data != before.data
    assert np.array_equal(one.judge_current().losses, other.judge_current().losses)
    again = step(one)
    assert again.digest != proposal.weights.digest


class Fragile(layers.Layer):
    """Fails after a number of passes."""

    left = math.inf

    def call(self, rows):
        Fragile.left -= 1
        if Fragile.left < 0:
            raise RuntimeError("the model broke")
        return rows

    def compute_output_shape(self, shape):
        return shape  # building the model is no pass


def fragile():
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8),
            layers.BatchNormalization(),
            Fragile(),
            layers.Dense(3),
        ]
    )


@pytest.mark.parametrize("keep", [False, True])
def test_what_fails_half_way_leaves_no_trace(keep):
    Fragile.left = math.inf
    one, calm = (learner(fragile, keep_optimizer_state=keep, steps=4) for _ in range(2))
    proposal = step(one), step(calm)
    before = current(one)
    try:
        Fragile.left = 3
        with pytest.raises(LearnerError, match="(?s)training failed.*broke"):
            one.mli_propose_weights()
        Fragile.left = 1
        with pytest.raises(LearnerError, match="(?s)evaluation failed.*broke"):
            one.mli_test_weights(Weights(weights=dict(proposal[0])))
    finally:
        Fragile.left = math.inf
    assert current(one) is before
    for each in (one, calm):
        each.begin_round(9)
    assert digest(one) == digest(calm)


def test_foreign_and_malformed_weights_are_refused():
    one = learner()
    good = current(one)
    for bad in (
        changed(good, extra=np.zeros(3, np.float32)),
        Weights(weights={name: good[name] for name in list(good)[1:]}),
        changed(good, **{MEAN: np.zeros(9, np.float32)}),
        changed(good, **{MEAN: np.zeros(8, np.float64)}),
        changed(good, **{MEAN: np.full(8, np.nan, np.float32)}),
        Weights(weights=dict(current(learner(linear)))),
    ):
        with pytest.raises(WeightsError):
            one.mli_test_weights(bad)
        with pytest.raises(WeightsError):
            one.mli_accept_weights(bad)
    assert current(one) is good


def test_voters_evaluate_with_the_statistics_of_the_proposal():
    one = learner(rows={**data(), "train": (X[:80] * 3 + 5, LABELS[:80])}, seed=1)
    voter = learner(seed=2)
    arrays = step(one)
    assert not np.allclose(arrays[MEAN], 0)
    voter.mli_accept_weights(Weights(weights=arrays))
    layer = {name.split("/", 1)[1]: np.float64(array) for name, array in arrays.items()}
    hidden = X[80:100] @ layer["dense/kernel"] + layer["dense/bias"]
    normal = (hidden - layer["batch_normalization/moving_mean"]) / np.sqrt(
        layer["batch_normalization/moving_variance"] + 1e-3
    )
    normal = normal * layer["batch_normalization/gamma"] + layer["batch_normalization/beta"]
    z = np.maximum(normal, 0) @ layer["dense_1/kernel"] + layer["dense_1/bias"]
    expected = -np.log(softmax_of(z)[np.arange(20), LABELS[80:100]])
    assert voter.judge_current().losses == pytest.approx(expected, rel=1e-4)


def test_the_model_handed_out_is_a_copy_of_its_own():
    one = learner()
    before = current(one).digest
    model = one.model_
    found = as_array(model(X[100:], training=False)).argmax(1)
    model.weights[0].assign(np.zeros((4, 8)))
    assert (found == LABELS[100:]).mean() == pytest.approx(one.judge_current().test_score)
    assert current(one).digest == before
    assert np.any(as_array(one.model_.weights[0].value))


# ------------------------------------------------------------------------------- repeatability


def noise():
    return keras.Sequential([keras.Input((4,)), layers.Dropout(0.5), layers.Dense(3)])


def test_dropout_is_repeatable_and_another_in_every_proposal():
    def proposal(seed, number):
        # One batch of all rows: their order does not matter, and dropout alone differs.
        one = learner(noise, seed=seed, batch_size=80)
        one.begin_round(number)
        return one.mli_propose_weights().weights

    first = proposal(1, 1)
    assert first.digest == proposal(1, 1).digest
    for other in (proposal(1, 2), proposal(2, 1)):
        assert not np.allclose(
            first["sequential/dense/kernel"], other["sequential/dense/kernel"], atol=1e-4
        )


def test_global_state_is_left_as_found_and_changes_nothing():
    expected = digest(learner(seed=1))
    threads = torch.get_num_threads()
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("mixed_bfloat16")
        keras.utils.set_random_seed(3)
        torch.set_num_threads(2)
        drawn = [random.random(), np.random.rand(), torch.rand(1), keras.random.normal((1,))]
        keras.utils.set_random_seed(3)
        one = learner(seed=1)
        assert digest(one) == expected
        one.judge_current()
        assert [random.random(), np.random.rand(), torch.rand(1)] == drawn[:3]
        assert keras.random.normal((1,)) == drawn[3]
        assert keras.config.floatx() == "float64"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert torch.get_num_threads() == 2
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy(policy)
        torch.set_num_threads(threads)


class Counting(layers.Layer):
    seen = set()  # noqa: RUF012

    def call(self, rows):
        Counting.seen.add(torch.get_num_threads())
        return rows


@pytest.mark.parametrize("threads", [1, 2])
def test_it_computes_on_as_many_threads_as_it_is_told(threads):
    Counting.seen.clear()
    settings = {} if threads == 1 else {"threads": threads}
    one = learner(
        lambda: keras.Sequential([keras.Input((4,)), Counting(), layers.Dense(3)]), **settings
    )
    one.mli_test_weights(one.mli_propose_weights())
    assert Counting.seen == {threads}


# ------------------------------------------------------------------------------- the losses


SGD1 = partial(keras.optimizers.SGD, learning_rate=1.0)


@pytest.mark.parametrize("prior", [None, "uniform", [0.7, 0.2, 0.1]])
@pytest.mark.parametrize("activation", [None, "softmax"])
def test_one_step_is_that_of_the_adjusted_cross_entropy(prior, activation):
    one = learner(
        lambda: linear(3, activation), optimizer=SGD1, batch_size=80, label_prior=prior or "none"
    )
    before = current(one)
    after = one.mli_propose_weights().weights
    kernel, bias = "sequential/dense/kernel", "sequential/dense/bias"
    z = X[:80] @ before[kernel].astype(float) + before[bias]
    if prior is not None:
        count = np.bincount(LABELS[:80], minlength=3)
        z = z + np.log((count + 0.5) / (80 + 1.5))
        z = z - (0 if prior == "uniform" else np.log(prior))
    slope = (softmax_of(z) - np.eye(3)[LABELS[:80]]) / 80
    assert after[bias] == pytest.approx(before[bias] - slope.sum(0), abs=1e-5)
    assert after[kernel] == pytest.approx(before[kernel] - X[:80].T @ slope, abs=1e-5)


@pytest.mark.parametrize(("units", "ends"), [(3, "softmax"), (1, "sigmoid"), (2, "softmax")])
def test_probabilities_and_logits_mean_the_same(units, ends):
    rows = data() if units == 3 else data((LABELS > 0).astype(int), [0, 1])
    p, z = (learner(lambda end=end: linear(units, end), rows, steps=5) for end in (ends, None))
    assert (p.from_logits, z.from_logits) == (False, True)
    assert p.judge_current().losses == pytest.approx(z.judge_current().losses, rel=1e-4)
    for ours, theirs in zip(step(p).values(), step(z).values(), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_what_from_logits_says_must_be_true():
    with pytest.raises(ConfigError, match="ends in softmax"):
        learner(lambda: linear(3, "softmax"), from_logits=True)
    with pytest.raises(ConfigError, match="no probabilities"):
        learner(linear, from_logits=False)
    with pytest.raises(ConfigError, match="from_logits must be"):
        learner(linear, from_logits="yes")


def test_regression_and_a_loss_of_ones_own():
    for loss in (None, "mse", keras.losses.Huber()):
        one = KerasLearner(lambda: linear(1), **data(VALUES, None), loss=loss, epochs=20)
        step(one)
        assert one.judge_current().test_score > 0.9
        values = as_array(one.model_(X[80:100]))[:, 0]
        assert one.judge_current().losses == pytest.approx((values - VALUES[80:100]) ** 2, rel=1e-4)


def test_weights_of_rows_count_and_a_heavy_row_is_learned():
    weights = np.where(LABELS[:80] == 2, 50.0, 1.0)
    heavy = learner(linear, {**data(), "train": (X[:80], LABELS[:80], weights)})
    plain = learner(linear)
    step(heavy), step(plain)
    assert (heavy.predictions(X).best == 2).sum() > (plain.predictions(X).best == 2).sum() + 10
    with pytest.raises(ConfigError, match="takes no weights"):
        learner(linear, class_weight="balanced", loss=keras.losses.SparseCategoricalCrossentropy())


def test_the_gradient_is_clipped_and_the_optimizer_goes_on_only_if_told():
    def length(**settings):
        one = learner(linear, optimizer=SGD1, steps=1, **settings)
        before, after = current(one), one.mli_propose_weights().weights
        return math.sqrt(sum(float(np.square(after[n] - before[n]).sum()) for n in before))

    assert length() > 0.2
    assert length(clip_norm=0.05) == pytest.approx(0.05, rel=1e-4)

    def twice(keep):
        one = learner(linear, keep_optimizer_state=keep)
        one.begin_round(1)
        return one.local_state, digest(one), digest(one)

    state, first, second = twice(keep=False)
    assert (state, first) == ("none", second)
    state, first, second = twice(keep=True)
    assert state == "restarted"
    assert first != second


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 1, "steps": 1}, "epochs or steps, not both"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"threads": 0}, "threads must be"),
        ({"clip_norm": 0}, "clip_norm must be"),
        ({"keep_optimizer_state": 1}, "keep_optimizer_state must be"),
        ({"loss": "hinge"}, "'hinge' is unknown"),
        ({"loss": keras.losses.MeanSquaredError(), "label_prior": "uniform"}, "label_prior needs"),
        ({"label_prior": [0.5, 0.5]}, "3 shares above 0"),
        ({"optimizer": lambda: "sgd"}, "must be a keras.optimizers.Optimizer, got str"),
        ({"optimizer": lambda: 1 / 0}, "cannot be made"),
        ({"optimizer": partial(SGD1, clipnorm=1.0), "clip_norm": 1.0}, "not both"),
        ({"mode": "council"}, "mode"),
    ],
)
def test_bad_settings_say_what_is_wrong(settings, message):
    with pytest.raises(ConfigError, match=message):
        learner(**settings)


# ------------------------------------------------------------------------------- together


def member(division, place, train=None, **settings):
    task, parts = division
    site, (X, y) = parts.sites[place], (task.scaling.apply(task.X).astype(np.float32), task.y)
    rows = site.train if train is None else train
    return KerasLearner(
        mlp,
        train=(X[rows], y[rows]), vote=(X[site.vote], y[site.vote]),
        test=(X[parts.test], y[parts.test]), classes=range(10), name=f"learner-{place}",
        seed=place, label_prior="uniform", **settings,
    )  # fmt: skip


def test_five_learners_get_better_together_than_the_mean_alone():
    task = digits()
    division = task, divide(task, Split(by="dirichlet", alpha=0.5, learners=5), 3)
    group = [member(division, place) for place in range(5)]
    run = Collective(group)
    records = list(run.rounds(10))
    run.close()
    assert sum(record.outcome.name == "ACCEPTED" for record in records) >= 6
    assert len({current(each).data for each in group}) == 1
    together, alone = group[0].judge_current().test_score, []
    for place, site in enumerate(division[1].sites):
        one = member(division, place, np.concatenate([site.train, site.vote]))
        for _ in range(2):
            step(one)
        alone.append(one.judge_current().test_score)
    assert together > np.mean(alone) + 0.1


def test_an_experiment_file_builds_the_learner():
    def built(**settings):
        return KerasLearner.from_settings(
            Schema.of(4, CLASSES), train=data()["train"], vote=data()["vote"], seed=1,
            model_seed=2, **settings,
        )  # fmt: skip

    models = "colearn.learners.keras_models"
    one = built(
        model=f"{models}:mlp", model_with={"hidden": [5]}, optimizer="keras.optimizers:SGD",
        learning_rate=0.2, epochs=2,
    )  # fmt: skip
    same = learner(
        partial(mlp, hidden=[5]), optimizer=partial(keras.optimizers.SGD, learning_rate=0.2),
        epochs=2, seed=1, model_seed=2,
    )  # fmt: skip
    assert step(one).data == step(same).data
    for settings, message in (
        ({}, r"learner\.with\.model. must be text"),
        ({"model": "nothing.here:make"}, "cannot find"),
        ({"model": f"{models}:mlp", "model_with": 5}, "must be a table"),
        ({"model": f"{models}:mlp", "epoch": 2}, "epoch"),
    ):
        with pytest.raises(ConfigError, match=message):
            built(**settings)


def test_images_go_through_the_small_network():
    images = np.random.default_rng(8).normal(size=(120, 64)).astype(np.float32)
    one = learner(partial(small_cnn, side=8), data(rows=images))
    assert step(one).digest


# ------------------------------------------------------------------------------- backends


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_keras_is_imported_when_it_is_needed_and_not_with_tensorflow():
    loaded = run_python("import colearn, colearn.learners, sys; print('keras' in sys.modules)")
    assert loaded.stdout.strip() == "False"
    refused = run_python("from colearn.learners import KerasLearner", KERAS_BACKEND="tensorflow")
    assert "ConfigError: KerasLearner computes with the backend torch or jax" in refused.stderr
    missing = run_python(
        "import sys; sys.modules['keras'] = None\nfrom colearn.learners import KerasLearner"
    )
    assert f"{MissingExtraError.__name__}: The package 'keras'" in missing.stderr
    assert "colearn[keras]" in missing.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason='needs jax: pip install "jax[cpu]"'
)
def test_the_backend_may_be_jax():
    code = (
        "from tests.keras_learners import *\n"
        "one, two = learner(seed=1), learner(seed=1)\n"
        "assert step(one).digest == step(two).digest != current(learner()).digest\n"
        "assert keras.backend.backend() == 'jax'"
    )
    done = run_python(code, KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
