"""Private training of Keras models on the torch backend: guards, bound, release rule."""

from functools import partial

import numpy as np
import pytest
from tests.keras_learners import (
    LABELS,
    VALUES,
    X,
    current,
    data,
    keras,
    layers,
    learner,
    linear,
    normed,
)  # fmt: skip
from tests.torch_private import by_user, config, length, steps

from colearn.errors import ConfigError, PrivacyError
from colearn.learners import _torch_private
from colearn.weights import freeze

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="private training needs the torch backend"
)

SGD = partial(keras.optimizers.SGD, learning_rate=0.5)
ROWS, TARGETS = X[:80], LABELS[:80]


def built(*inner, units=3, last=None):
    def factory():
        body = [layer() for layer in inner]
        return keras.Sequential([keras.Input((4,)), *body, layers.Dense(units, activation=last)])

    return factory


dense = built(lambda: layers.Dense(8, activation="relu"))
dropping = built(lambda: layers.Dense(8, activation="relu"), lambda: layers.Dropout(0.4))


def images():
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Reshape((2, 2, 1)),
            layers.Conv2D(4, 2, padding="same"),
            layers.GroupNormalization(2),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def family(model=dense, rows=None, agreed=None, **settings):
    one = learner(model, rows, **{"optimizer": SGD, **settings})
    one._family.require_private(config() if agreed is None else agreed)
    return one


def proposal(one, training, seed=3, y=TARGETS):
    return one._family.fit_privately(current(one), ROWS, y, training, seed)


def moved(one, arrays):
    return length(np.asarray(arrays[name]) - array for name, array in current(one).items())


def by_hand(one, bound):
    """One step over all rows, each row's gradient by Keras and PyTorch alone."""
    network = one._family.estimator(current(one))
    total = [np.zeros(v.shape) for v in network.trainable_variables]
    for row, target in zip(ROWS, TARGETS, strict=True):
        network.zero_grad()
        logits = network(row[None], training=True)
        keras.losses.SparseCategoricalCrossentropy(from_logits=True)(
            target[None], logits
        ).backward()
        slopes = [v.value.grad.numpy() for v in network.trainable_variables]
        factor = min(1.0, bound / length(slopes))
        total = [t + factor * s for t, s in zip(total, slopes, strict=True)]
    paths = [v.path for v in network.trainable_variables]
    return {p: current(one)[p] - 0.5 * t / len(ROWS) for p, t in zip(paths, total, strict=True)}


@pytest.mark.parametrize("model", [dense, images])
def test_a_step_is_that_of_rows_clipped_one_by_one(model):
    one = family(model)
    released = proposal(one, steps(1, rate=1.0))
    for name, expected in by_hand(one, 0.5).items():
        assert np.allclose(released[name], expected, atol=1e-5)
    assert moved(one, released) > 0


def test_without_noise_a_step_moves_by_no_more_than_the_clipped_rows():
    one = family(dropping)
    assert 0 < moved(one, proposal(one, steps(1, rate=1.0, bound=0.01))) <= 0.5 * 0.01 * 1.001


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            built(lambda: layers.Dense(9), lambda: layers.Dropout(0.4, seed=3)),
            "no seed of their own",
        ),
        (normed, "moves '.*batch_normalization/moving_mean'"),
        (
            built(lambda: layers.BatchNormalization(scale=False, center=False)),
            "moves '.*moving_mean'",
        ),
        (built(lambda: layers.Dense(4, kernel_regularizer="l2")), "losses of its own"),
        (built(lambda: layers.ActivityRegularization(0.1)), "losses of its own"),
        (built(lambda: layers.UnitNormalization(axis=0)), "mixes the rows of a batch"),
    ],
)
def test_a_model_whose_rows_have_no_gradient_of_their_own_is_refused(model, message):
    with pytest.raises(ConfigError, match=message):
        family(model)


def test_only_trainable_variables_differ():
    def factory():
        model = built(lambda: layers.Dense(8), layers.BatchNormalization)()
        model.layers[0].trainable = False
        model.layers[1].trainable = False
        return model

    one = family(factory)
    released, model = proposal(one, steps(3, noise=1.0)), current(one)
    differ = {n for n in model if np.asarray(released[n]).tobytes() != model[n].tobytes()}
    assert len(model) == 8
    assert differ == {name for name in model if "dense_1" in name}
    assert freeze(released).layout == model.layout


def test_statistics_that_move_are_not_released_whatever_the_guards_say(monkeypatch):
    monkeypatch.setattr(_torch_private.Guards, "check", lambda guards: None)
    monkeypatch.setattr(_torch_private, "_problem", lambda guards, method: "")
    one = family(normed)
    # Under vmap BatchNorm would have to move the statistics of all rows at once.
    with pytest.raises((PrivacyError, RuntimeError, ValueError)):
        proposal(one, steps(1, rate=1.0))
    assert not any("moving_mean" in name and a.any() for name, a in current(one).items())


def test_secure_noise_differs_and_a_simulation_repeats():
    one = family(dropping)
    first, second = (proposal(one, steps(2, noise=1.0)) for _ in range(2))
    assert not any(np.array_equal(first[name], second[name]) for name in first)
    first, second = (
        proposal(one, steps(6, rate=0.01, noise=1.0, source="simulation")) for _ in range(2)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not any(np.array_equal(first[name], current(one)[name]) for name in first)


def test_a_user_is_clipped_as_one():
    one = family(agreed=by_user(80))
    training = steps(1, rate=1.0, bound=0.01, users=np.zeros(80, int), most=80)
    assert moved(one, proposal(one, training)) == pytest.approx(0.5 * 0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        (data(VALUES, None), {"model": partial(linear, 1)}),
        (
            data(VALUES, None),
            {"model": partial(linear, 1), "loss": keras.losses.MeanAbsoluteError()},
        ),
        (data((LABELS > 0).astype(int), range(2)), {"model": partial(linear, 1)}),
        (data((LABELS > 0).astype(int), range(2)), {"model": partial(linear, 1, "sigmoid")}),
        (data(), {"model": partial(linear, 3, "softmax")}),
        (data(), {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}),
    ],
)
def test_other_tasks_and_losses_train_too(rows, settings):
    one = family(rows=rows, **settings)
    assert moved(one, proposal(one, steps(2), y=rows["train"][1])) > 0


def test_tokens_train_too():
    tokens = np.random.default_rng(1).integers(0, 9, (120, 5))

    def factory():
        body = [layers.Embedding(9, 4), layers.GlobalAveragePooling1D(), layers.Dense(3)]
        return keras.Sequential([keras.Input((5,), dtype="int32"), *body])

    one = family(factory, data(rows=tokens))
    arrays = one._family.fit_privately(current(one), tokens[:80], TARGETS, steps(2), 3)
    assert moved(one, arrays) > 0


def test_momenta_go_on_with_the_next_proposal():
    one = family(keep_optimizer_state=True, optimizer=partial(SGD, momentum=0.9))
    first = proposal(one, steps(2, rate=1.0))
    one._family.keep()
    second = proposal(one, steps(2, rate=1.0))
    assert moved(one, second) > 1.2 * moved(one, first)
    assert one._family.private_length(80) == (32, 3, None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip_norm": 1.0}, "clip_norm does not go with private training"),
        ({"label_prior": "uniform"}, "label_prior does not go with private training"),
    ],
)
def test_what_would_reveal_more_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        family(**settings)


def test_another_backend_is_refused(monkeypatch):
    one = learner(dense)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ConfigError, match="backend torch alone, and Keras uses 'jax'"):
        one._family.require_private(config())
