"""Modules that cannot train privately are named, on made-up rows and before any private one."""

import numpy as np
import pytest
import torch
from tests.torch_private import (
    Averaging,
    Bag,
    Borrowed,
    Centred,
    Recurrent,
    Remembering,
    Residual,
    attending,
    convolving,
    dense,
    dropping,
    objective,
    tied,
    used_twice,
)  # fmt: skip
from torch import nn

from colearn.errors import ConfigError
from colearn.learners import _torch_guards as shipped
from colearn.learners._torch_gradients import METHODS, ClippedGradients
from colearn.learners._torch_guards import Guards


def guards(factory, shape=(4,), dtype=np.float32, loss=None):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = factory()
    return Guards(module, objective(loss), shape, np.dtype(dtype), torch.float32)


def with_norm(norm):
    return lambda: nn.Sequential(nn.Linear(4, 8), norm(), nn.Linear(8, 3))


def on_channels(norm):
    return lambda: nn.Sequential(nn.Conv1d(1, 4, 3), norm(), nn.Flatten(), nn.Linear(24, 3))


class Reading(nn.Module):
    """Mixes the rows of tokens, of which there is no derivative."""

    def __init__(self):
        super().__init__()
        self.bag = Bag()

    def forward(self, rows):
        return self.bag(rows) + rows.double().mean().float()


class Clocked(nn.Linear):
    def forward(self, rows):
        return super().forward(rows) + float(np.random.default_rng().normal())


class Powered(nn.Module):
    """Keeps a vector that its own weights move, as spectral normalization does."""

    def __init__(self):
        super().__init__()
        self.last = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))

    def forward(self, rows):
        return self.last(rows)


BATCHES = {
    "BatchNorm": (with_norm(lambda: nn.BatchNorm1d(8)), (4,), "moves '1.running_mean'"),
    "BatchNorm(affine=False)": (
        with_norm(lambda: nn.BatchNorm1d(8, affine=False)), (4,), "moves '1.running_mean'",
    ),
    "BatchNorm without statistics": (
        with_norm(lambda: nn.BatchNorm1d(8, affine=False, track_running_stats=False)), (4,),
        "its part '1', a BatchNorm1d, gives a row another output",
    ),
    "tracked InstanceNorm": (
        on_channels(lambda: nn.InstanceNorm1d(4, track_running_stats=True)), (1, 8),
        "moves '1.running_mean'",
    ),
    "a batch's mean, detached": (with_norm(Centred), (4,), "its part '1', a Centred"),
    "BatchNorm behind a scale of 0": (Residual, (4,), "its part 'norm', a BatchNorm1d"),
    "a moving average in a buffer": (Averaging, (4,), "moves 'average'"),
    "and in one that is not kept": (
        lambda: Averaging(persistent=False), (4,), "moves 'average'",
    ),
    "and in an attribute": (Remembering, (4,), "rows of earlier batches"),
    "random numbers of its own": (lambda: Clocked(4, 3), (4,), "other numbers for the same rows"),
    "spectral normalization": (Powered, (4,), r"moves 'last\.parametrizations"),
    "rows of the wrong shape": (dense, (5,), "fails on made-up rows of shape"),
    "rows that are lost": (
        lambda: nn.Sequential(nn.Flatten(0), nn.Linear(16, 3)), (4,), "a row for each row",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("factory", "shape", "message"), BATCHES.values(), ids=BATCHES)
def test_what_mixes_or_keeps_rows_is_refused_and_named(factory, shape, message):
    with pytest.raises(ConfigError, match=message):
        guards(factory, shape).check()


def test_tokens_that_are_mixed_are_found_by_replacing_a_row():
    with pytest.raises(ConfigError, match="mixes the rows of a batch"):
        guards(Reading, (7,), np.int64).check()


SOUND = {
    "linear": (dense, (4,), np.float32),
    "float64": (dense, (4,), ">f8"),
    "bytes": (lambda: nn.Sequential(Floats(), dense()), (4,), np.uint8),
    "dropout": (dropping, (4,), np.float32),
    "GroupNorm": (convolving, (1, 8, 8), np.float32),
    "LayerNorm": (with_norm(lambda: nn.LayerNorm(8)), (4,), np.float32),
    "InstanceNorm": (on_channels(lambda: nn.InstanceNorm1d(4, affine=True)), (1, 8), np.float32),
    "BatchNorm that stands still": (
        with_norm(lambda: Still(8)), (4,), np.float32,
    ),
    "Embedding": (Bag, (7,), np.int16),
    "LSTM": (Recurrent, (7,), np.int64),
    "attention": (attending, (5, 4), np.float32),
    "tied": (tied, (4,), np.float32),
}  # fmt: skip


class Floats(nn.Module):
    def forward(self, rows):
        return rows.float() / 255


class Still(nn.BatchNorm1d):
    """One that was put into evaluation mode for good, as in a frozen base."""

    def train(self, mode=True):
        return super().train(False)


@pytest.mark.parametrize(("factory", "shape", "dtype"), SOUND.values(), ids=SOUND)
def test_what_keeps_rows_apart_is_taken_by_the_default(factory, shape, dtype):
    one = guards(factory, shape, dtype)
    one.check()
    assert one.disagreement("vmap") == ""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factory", [dense, dropping])
def test_a_method_that_is_right_agrees_with_pytorch(factory, method):
    assert guards(factory).disagreement(method) == ""


@pytest.mark.parametrize("method", ["hooks", "ghost"])
def test_a_method_that_is_wrong_is_found_out(method):
    assert "norms of three rows" in guards(Borrowed).disagreement(method)
    assert guards(Borrowed).disagreement("vmap") == ""
    assert guards(used_twice).disagreement("hooks") == ""


class Unclipped(ClippedGradients):
    """Opacus's ghost clipping with an ordinary loss, which only computes norms."""

    def sums(self, X, y, units, units_count):
        clipped = super().sums(X, y, units, units_count)
        outputs = self._ghost._module(X.clone().requires_grad_())
        losses = nn.functional.cross_entropy(outputs, y, reduction="none")
        self._ghost._forget()
        losses.sum().backward()
        for name, parameter in self._named.items():
            clipped.sums[name] = parameter.grad.double().numpy()
        return clipped


def test_ghost_clipping_that_does_not_clip_is_found_out(monkeypatch):
    monkeypatch.setattr(shipped, "ClippedGradients", Unclipped)
    assert "is another one" in guards(dense).disagreement("ghost")


def test_rows_that_teach_nothing_tell_nothing():
    def dead():
        module = dense()
        module[1] = nn.Threshold(1e9, 0.0)
        module[2].bias.requires_grad_(requires_grad=False)
        return module

    assert "no finite gradient" in guards(dead).disagreement("vmap")


def test_a_derivative_by_another_row_is_found_without_replacing_any():
    one = guards(BATCHES["BatchNorm without statistics"][0])
    for X in one._made:
        with pytest.raises(ConfigError, match="its part '1', a BatchNorm1d"):
            one._check_slopes(X)
    for factory in (dense, dropping):
        sound = guards(factory)
        for X in sound._made:
            sound._check_slopes(X)
