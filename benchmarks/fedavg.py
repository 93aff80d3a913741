"""Federated averaging in plain PyTorch, without anything of Colearn but its data and its model.

Every round all clients train from the same model, one epoch of SGD with momentum 0.9 in batches of
32, and the next model is the mean of theirs, weighted by their rows. There is no vote, no label
prior, no damping. The momentum starts anew with every client's epoch, as Colearn's does.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from colearn.experiment import Plan
from colearn.learners.torch_models import mlp

BATCH = 32
MOMENTUM = 0.9


def score(plan: Plan, clients: list[npt.NDArray[Any]], *, rounds: int, lr: float) -> float:
    """Return the accuracy on the plan's test rows after so many rounds with all clients."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(plan.config.seed)
    torch.manual_seed(plan.config.seed)
    model = mlp(plan.task.schema)
    data = [pair(plan, rows) for rows in clients]
    sizes = np.array([len(rows) for rows in clients])
    shares = [float(share) for share in sizes / sizes.sum()]
    for _ in range(rounds):
        states = [one_epoch(copy.deepcopy(model), *rows, lr, generator) for rows in data]
        model.load_state_dict(
            {
                name: sum(share * state[name] for share, state in zip(shares, states, strict=True))
                for name in states[0]
            }
        )
    X, y = pair(plan, plan.division.test)
    with torch.no_grad():
        return float((model(X).argmax(1) == y).double().mean())


def pair(plan: Plan, rows: npt.NDArray[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    # The labels of the image tasks are 0 to 9, which is also their place among the classes.
    return torch.tensor(plan.X[rows], dtype=torch.float32), torch.tensor(plan.task.y[rows])


def one_epoch(
    model: nn.Module, X: torch.Tensor, y: torch.Tensor, lr: float, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=MOMENTUM)
    order = torch.randperm(len(y), generator=generator)
    for batch in order.split(BATCH):
        optimizer.zero_grad()
        functional.cross_entropy(model(X[batch]), y[batch]).backward()
        optimizer.step()
    return model.state_dict()
