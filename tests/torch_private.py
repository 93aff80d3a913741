"""Small modules that private training takes or refuses, and what it needs around them."""

import numpy as np
import torch
from torch import nn

from colearn.interface import DiffPrivConfig, PrivacyUnit
from colearn.learners._torch_loss import Objective
from colearn.privacy.randomness import source_of
from colearn.privacy.training import PrivateTraining

TOKENS, WORDS = 11, 7


class Branches(nn.Module):
    """A sum of layers, so that two may share a parameter."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second, self.last = first, second, nn.Linear(4, 3)

    def forward(self, rows):
        return self.last(torch.tanh(self.second(torch.tanh(self.first(rows)))))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        from opacus.layers import DPLSTM

        self.words, self.last = nn.Embedding(TOKENS, 6), nn.Linear(5, 3)
        self.lstm = DPLSTM(6, 5, batch_first=True)

    def forward(self, rows):
        return self.last(self.lstm(self.words(rows))[0][:, -1])


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.last = nn.Embedding(TOKENS, 6), nn.Linear(6, 3)

    def forward(self, rows):
        return self.last(self.words(rows).mean(1))


class Borrowed(nn.Module):
    """Uses a weight beside the module it belongs to, where Opacus does not look."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, rows):
        borrowed = nn.functional.linear(rows, self.first.weight)
        return self.last(torch.tanh(borrowed) + self.first(rows))


class Averaging(nn.Module):
    """Subtracts a moving average of the rows it saw."""

    def __init__(self, *, persistent=True):
        super().__init__()
        self.last = nn.Linear(4, 3)
        self.register_buffer("average", torch.zeros(4), persistent=persistent)

    def forward(self, rows):
        if self.training:
            self.average = 0.9 * self.average + 0.1 * rows.detach().mean(0)
        return self.last(rows - self.average)


class Remembering(nn.Module):
    """The same, in an attribute that is no buffer."""

    def __init__(self):
        super().__init__()
        self.last, self.average = nn.Linear(4, 3), 0.0

    def forward(self, rows):
        outputs = self.last(rows - self.average)
        self.average = 0.9 * self.average + 0.1 * rows.detach().mean()
        return outputs


class Centred(nn.Module):
    """Subtracts the batch's mean, of which the gradient knows nothing."""

    def forward(self, rows):
        return rows - rows.detach().mean(0)


class Residual(nn.Module):
    """A block whose last scale is 0 in model 0, so that it hides its BatchNorm."""

    def __init__(self):
        super().__init__()
        self.norm, self.last = nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3)
        nn.init.zeros_(self.norm.weight)

    def forward(self, rows):
        return self.last(rows + self.norm(rows))


def dense():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def dropping():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3))


def convolving():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)
    )


def tied():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    return Branches(first, second)


def used_twice():
    layer = nn.Linear(4, 4)
    return Branches(layer, layer)


def attending():
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.2, batch_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(20, 3))


def adapted():
    """A learner on the adapter of a small language model."""
    from transformers import BertConfig, BertForSequenceClassification

    from colearn.learners.lora import LoraLearner

    def base():
        sizes = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1}
        sizes |= {"num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 8}
        return BertForSequenceClassification(BertConfig(**sizes, num_labels=3))

    rows = np.random.default_rng(2).integers(1, 20, (60, 6))
    labels = rows[:, 0] % 3
    train, vote = (rows[:40], labels[:40]), (rows[40:], labels[40:])
    return LoraLearner(base, train=train, vote=vote, classes=range(3))


def objective(loss=None, classes=3, prior="none"):
    return Objective(loss, classes, prior)


def config(**changes):
    given = {
        "target_epsilon": 2.0,
        "target_delta": 1e-5,
        "max_grad_norm": 1.0,
        "noise_multiplier": 1.0,
        "planned_proposals": 10,
    }
    return DiffPrivConfig(**{**given, **changes})


def by_user(records=4):
    return config(unit=PrivacyUnit(kind="user", max_records_per_user=records))


def steps(count=5, *, rows=80, noise=0.0, bound=0.5, rate=0.4, source="secure", users=None, most=4):
    return PrivateTraining(
        rows_count=rows,
        max_grad_norm=bound,
        noise_multiplier=noise,
        sampling_rate=rate,
        steps=count,
        source=source_of(source, 5),
        users=users,
        max_records_per_user=most,
    )


def length(arrays):
    return float(np.sqrt(sum(float(np.square(np.asarray(a, float)).sum()) for a in arrays)))
