"""TorchLearner: losses, rows, settings and experiment files."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from tests.torch_learners import (
    CLASSES,
    LABELS,
    SGD1,
    VALUES,
    X,
    current,
    data,
    learner,
    step,
    tensors,
)  # fmt: skip
from torch import nn
from torch.nn import functional

from colearn import Collective
from colearn.errors import ConfigError, LearnerError
from colearn.learners import TorchLearner
from colearn.learners.torch_models import mlp, small_cnn
from colearn.schema import Schema

# ------------------------------------------------------------------------------- the losses


def one_full_step(module, rows, **settings):
    """Return the weights before and after one plain SGD step over all 80 rows."""
    one = learner(module, rows, optimizer=SGD1, batch_size=80, **settings)
    return dict(current(one)), one.mli_propose_weights().weights


def by_hand(arrays, loss):
    """Return what a gradient step of rate 1 on `loss(outputs)` makes of a linear model."""
    weight, bias = (tensors(arrays)[name].requires_grad_() for name in ("weight", "bias"))
    loss(torch.from_numpy(X[:80]) @ weight.T + bias).backward()
    return (weight - weight.grad).detach().numpy(), (bias - bias.grad).detach().numpy()


@pytest.mark.parametrize(
    ("label_prior", "prior"),
    [
        ("none", None),
        ("uniform", [1.0, 1.0, 1.0]),
        ([0.7, 0.2, 0.1], [0.7, 0.2, 0.1]),
    ],
)
def test_label_prior_adjusts_the_loss_of_training_as_computed_by_hand(label_prior, prior):
    before, after = one_full_step(lambda: nn.Linear(4, 3), None, label_prior=label_prior)
    counts = [int((LABELS[:80] == label).sum()) for label in range(3)]
    assert len(set(counts)) == 3

    def loss(outputs):
        total = 0.0
        for row, label in enumerate(LABELS[:80]):
            z = [outputs[row, c] for c in range(3)]
            if prior is not None:
                z = [
                    z[c] + math.log((counts[c] + 0.5) / (80 + 0.5 * 3)) - math.log(prior[c])
                    for c in range(3)
                ]
            total = total - (z[label] - torch.logsumexp(torch.stack(z), 0))
        return total / 80

    weight, bias = by_hand(before, loss)
    assert after["weight"] == pytest.approx(weight, abs=1e-5)
    assert after["bias"] == pytest.approx(bias, abs=1e-5)


def test_voting_uses_plain_scores_whatever_the_prior():
    plain, adjusted = learner(), learner(label_prior="uniform")
    assert np.array_equal(plain.judge_current().losses, adjusted.judge_current().losses)


def test_a_sure_prediction_still_has_a_loss():
    class Sure(nn.Linear):
        def forward(self, rows):
            return super().forward(rows) * 0 + torch.tensor([20.0, 0.0, 0.0])

    losses = learner(lambda: Sure(4, 3)).judge_current().losses
    expected = np.where(LABELS[80:100] == 0, 2 * math.exp(-20), 20.0)
    assert losses == pytest.approx(expected, rel=1e-6)


def test_bce_is_the_cross_entropy_of_one_score_and_none():
    labels = (LABELS > 0).astype(int)
    rows = data(labels, [0, 1])
    before, after = one_full_step(lambda: nn.Linear(4, 1), rows, loss="bce")
    targets = torch.from_numpy(labels[:80]).float()
    weight, bias = by_hand(
        before, lambda z: functional.binary_cross_entropy_with_logits(z[:, 0], targets)
    )
    assert after["weight"] == pytest.approx(weight, abs=1e-5)
    assert after["bias"] == pytest.approx(bias, abs=1e-5)
    one = learner(lambda: nn.Linear(4, 1), rows, loss="bce", label_prior="uniform")
    with torch.no_grad():
        z = one.model_(torch.from_numpy(X[80:100]))[:, 0].double()
    expected = functional.binary_cross_entropy_with_logits(
        z, torch.from_numpy(labels[80:100]).double(), reduction="none"
    )
    assert one.judge_current().losses == pytest.approx(expected.numpy())


@pytest.mark.parametrize("flat", [True, False])
def test_regression_by_squared_error_or_a_loss_of_ones_own(flat):
    def module():
        return nn.Sequential(nn.Linear(4, 1), *([nn.Flatten(0)] if flat else []))

    shapes = []

    def huber(outputs, targets):
        shapes.append((outputs.shape, targets.shape, targets.dtype))
        return functional.huber_loss(outputs, targets)

    for loss in (None, "mse", huber, nn.HuberLoss()):
        one = TorchLearner(module, **data(VALUES, None), loss=loss, epochs=20)
        step(one)
        assert one.judge_current().test_score > 0.9
        with torch.no_grad():
            values = one.model_(torch.from_numpy(X[80:100])).reshape(-1).numpy()
        assert one.judge_current().losses == pytest.approx((values - VALUES[80:100]) ** 2, rel=1e-4)
    assert set(shapes) == {((n,), (n,), torch.float32) for n in (32, 16)}


def test_a_loss_that_returns_no_number_is_named():
    one = learner(loss=lambda outputs, targets: outputs.sum(1))
    with pytest.raises(LearnerError, match=r"one number as a tensor, got \(32,\)"):
        one.mli_propose_weights()


def test_the_gradient_is_clipped_to_the_bound():
    def length(**settings):
        before, after = one_full_step(
            lambda: nn.Linear(4, 3), None, loss=lambda z, y: 100 * functional.cross_entropy(z, y),
            **settings,
        )  # fmt: skip
        return math.sqrt(sum(float(np.square(after[n] - before[n]).sum()) for n in before))

    assert length() > 10
    assert length(clip_norm=0.25) == pytest.approx(0.25, rel=1e-4)
    assert length(clip_norm=1e6) == length()


# ------------------------------------------------------------------------------- rows


def test_rows_of_any_rank_are_one_feature_that_says_the_shape():
    images = np.random.default_rng(8).normal(size=(120, 1, 28, 28)).astype(np.float32)
    one = learner(small_cnn, data(rows=images))
    assert one.row_shape == (1, 28, 28)
    assert one.schema.features == ("x[1,28,28]",)
    step(one)
    flat = learner(small_cnn, data(rows=images.reshape(120, 784)))
    step(flat)
    assert current(flat).digest == current(one).digest
    with pytest.raises(ConfigError, match=r"other schema.*784"):
        Collective([flat, learner(small_cnn, data(rows=images), name="other")])
    with pytest.raises(ConfigError, match=r"vote: expected X of shape \(rows, 1,28,28\)"):
        learner(small_cnn, {**data(rows=images), "vote": (images[:, :, :9], LABELS)})
    named = learner(
        small_cnn, {**data(rows=images), "classes": None}, schema=Schema.of(784, CLASSES)
    )
    assert len(named.schema.features) == 784


def test_whole_numbers_reach_the_module_as_int64():
    tokens = np.random.default_rng(8).integers(0, 50, size=(120, 6), dtype=np.int16)

    def module():
        return nn.Sequential(nn.Embedding(50, 4), nn.Flatten(), nn.Linear(24, 3))

    one = learner(module, data(rows=tokens))
    assert one._train.X.dtype == np.int16
    assert step(one).digest
    with pytest.raises(ConfigError, match="dtype int16"):
        learner(lambda: nn.Linear(6, 3), data(rows=tokens))


def test_float32_rows_are_not_copied_and_float64_become_the_modules():
    one = learner()
    assert np.shares_memory(one._train.X, X)
    wide = learner(rows=data(rows=X.astype(np.float64)))
    assert wide._train.X.dtype == np.float32
    assert step(wide).data == step(one).data
    double = learner(lambda: nn.Linear(4, 3).double(), data(rows=X.astype(np.float64)))
    assert double._train.X.dtype == np.float64
    assert step(double)["weight"].dtype == np.float64


class Pairs(torch.utils.data.Dataset):
    def __init__(self, rows, labels):
        self.rows, self.labels = rows, labels

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index], int(self.labels[index])


class Reused(Pairs):
    """Gives every row in the same memory."""

    def __getitem__(self, index):
        self.buffer = getattr(self, "buffer", np.zeros(4, np.float32))
        self.buffer[:] = self.rows[index]
        return self.buffer, self.labels[index]


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(zip(X[:80], LABELS[:80], strict=True))


def test_tensors_data_sets_and_loaders_are_the_same_rows():
    features, labels = torch.from_numpy(X[:80].copy()), torch.from_numpy(LABELS[:80].copy())
    plain = learner().mli_propose_weights().weights.data
    pairs = Pairs(X[:80], LABELS[:80])
    for train in (
        (features.clone().requires_grad_(), labels),
        (features.double(), labels),
        torch.utils.data.TensorDataset(features, labels),
        pairs,
        Reused(X[:80], LABELS[:80]),
        Stream(),
        torch.utils.data.DataLoader(pairs, batch_size=7),
    ):
        one = learner(rows={**data(), "train": train})
        assert one.mli_propose_weights().weights.data == plain


def test_a_loader_that_shuffles_is_read_once_and_by_the_seed():
    torch.manual_seed(1)
    before = torch.get_rng_state()

    def train():
        return torch.utils.data.DataLoader(Pairs(X[:80], LABELS[:80]), 7, shuffle=True)

    one, two = (learner(rows={**data(), "train": train()}, seed=3) for _ in range(2))
    assert step(one).data == step(two).data
    assert torch.equal(torch.get_rng_state(), before)


def test_a_data_set_without_end_meets_a_bound_that_is_said():
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            while True:
                yield np.broadcast_to(np.float32(0), (2**28 + 1,)), 0

    class Large(Endless):
        def __iter__(self):
            # Room for it is never taken: one value is shown as half a billion.
            yield np.broadcast_to(np.float32(0), (2**29,)), 0

    with pytest.raises(ConfigError, match=r"train has more than 2147483648 bytes.*memmap"):
        learner(rows={**data(), "train": Large()})


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("rows", "must be .X, y., a torch Dataset or a DataLoader, got str"),
        (Pairs(X[:0], LABELS[:0]), "train has no rows"),
        (torch.utils.data.TensorDataset(torch.zeros(3, 4)), "pairs of X and y, got tuple"),
        ((X[:80].astype(str), LABELS[:80]), "X must be numbers"),
        ((X[:80, :3], LABELS[:80]), r"expected X of shape \(rows, 3\)"),
        (
            (np.where(X[:80] > X[:80].max(0) - 1e-6, np.nan, X[:80]), LABELS[:80]),
            r"'x0' \(1\), 'x1' \(1\)",
        ),
        ((X[:80].astype(np.float64) * 1e39, LABELS[:80]), "missing or infinite"),
        ((X[:80, 0], LABELS[:80]), "expected X"),
        ((X[:80], LABELS[:80] + 1), "label 3 is not among"),
    ],
)
def test_rows_that_do_not_fit_are_named(train, message):
    with pytest.raises(ConfigError, match=message):
        learner(rows={**data(), "train": train})


def test_a_gap_in_an_image_is_counted():
    images = np.random.default_rng(8).normal(size=(120, 1, 4, 4))
    images[5, 0, 1, 1] = images[7, 0, 1, 2] = np.nan
    with pytest.raises(ConfigError, match="2 values are missing or infinite, the first in row 5"):
        learner(partial(small_cnn, side=4), data(rows=images))


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_vote_rows_inside_the_training_rows_are_noticed_before_they_are_copied(convert):
    rows = convert(X.astype(np.float64))
    given = {"train": (rows[:80], LABELS[:80]), "vote": (rows[70:90], LABELS[70:90])}
    with pytest.raises(ConfigError, match="inside the training set"):
        learner(rows={**given, "classes": CLASSES})


# ------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 1, "steps": 1}, "epochs or steps, not both"),
        ({"epochs": 0}, "epochs must be"),
        ({"steps": 2.5}, "steps must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"batch_size": True}, "batch_size must be"),
        ({"threads": 0}, "threads must be"),
        ({"clip_norm": 0}, "clip_norm must be"),
        ({"clip_norm": math.nan}, "clip_norm must be"),
        ({"keep_optimizer_state": 1}, "keep_optimizer_state must be"),
        ({"loss": "hinge"}, "'hinge' is unknown for 3 classes"),
        ({"loss": "bce"}, "'bce' is unknown for 3 classes"),
        ({"loss": "mse"}, "'mse' is unknown for 3 classes"),
        ({"loss": nn.CrossEntropyLoss(), "label_prior": "uniform"}, "label_prior needs loss"),
        ({"label_prior": "own"}, "3 shares above 0"),
        ({"label_prior": [0.5, 0.5]}, "3 shares above 0"),
        ({"label_prior": [0.5, 0.5, 0.0]}, "3 shares above 0"),
        ({"label_prior": [0.5, 0.5, 0.5]}, "add up to 1"),
        ({"label_prior": [0.5, 0.5, math.nan]}, "3 shares above 0"),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS needs"),
        ({"optimizer": lambda parameters: "sgd"}, "must be a torch.optim.Optimizer, got str"),
        ({"optimizer": partial(torch.optim.SGD, lr=-1.0)}, "cannot be made.*learning rate"),
        ({"device": "abacus"}, "'abacus' is unknown"),
        ({"device": "meta"}, 'must be "cpu" or "cuda"'),
        ({"schema": Schema.of(4, CLASSES)}, "either schema, or classes"),
        ({"mode": "council"}, "mode"),
        ({"damping": 2.0}, "damping"),
    ],
)
def test_bad_settings_say_what_is_wrong(settings, message):
    with pytest.raises(ConfigError, match=message):
        learner(**settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said():
    with pytest.raises(ConfigError, match="finds no CUDA"):
        learner(device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_weights_stay_on_the_cpu_and_the_random_numbers_where_they_were():
    state = torch.cuda.get_rng_state()
    one, plain = (learner(device=device, clip_norm=1.0) for device in ("cuda", "cpu"))
    assert current(one).digest == current(plain).digest
    for _ in range(3):
        step(one)
    assert one.model_[0].weight.device.type == "cpu"
    plain.mli_accept_weights(one.mli_get_current_weights())
    assert one.judge_current().losses == pytest.approx(plain.judge_current().losses, rel=1e-4)
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_an_experiment_file_builds_the_learner():
    def built(**settings):
        return TorchLearner.from_settings(
            Schema.of(4, CLASSES), train=data()["train"], vote=data()["vote"], name="ada", seed=1,
            model_seed=2, mode="paired", z=-2.0, balanced=True, **settings,
        )  # fmt: skip

    models = "colearn.learners.torch_models"
    one = built(
        module=f"{models}:mlp", module_with={"hidden": [5]}, optimizer="torch.optim:SGD", lr=0.2,
        epochs=2, batch_size=16, label_prior="uniform",
    )  # fmt: skip
    same = learner(
        partial(mlp, hidden=[5]), optimizer=partial(torch.optim.SGD, lr=0.2), epochs=2,
        batch_size=16, label_prior="uniform", seed=1, model_seed=2,
    )  # fmt: skip
    assert current(one)["0.weight"].shape == (5, 4)
    assert step(one).data == step(same).data
    default, faster = built(module=f"{models}:mlp"), built(module=f"{models}:mlp", lr=0.5)
    assert step(default).data == step(learner(mlp, seed=1, model_seed=2)).data
    assert step(faster).data != step(default).data
    smooth = built(module=f"{models}:mlp", loss="torch.nn:CrossEntropyLoss")
    assert step(smooth).digest
    for settings, message in (
        ({}, r"learner\.with\.module. must be text"),
        ({"module": "nothing.here:make"}, "cannot find"),
        ({"module": f"{models}:IMAGE_SIDE"}, "cannot be called"),
        ({"module": f"{models}:mlp", "module_with": 5}, "must be a table"),
        ({"module": f"{models}:mlp", "epoch": 2}, "epoch"),
        ({"module": f"{models}:mlp", "module_with": {"width": 2}}, "width"),
    ):
        with pytest.raises(ConfigError, match=message):
            built(**settings)
