"""What DP-SGD costs: private steps of PyTorch modules against plain ones, by method.

Steps as a learner makes them, paired A B A B on one thread: drawing, gradients, clipping, secure
noise and the optimizer, in proposals of `STEPS` steps on made-up pictures of 28 x 28 pixels.
Memory is what the private proposal added to the most that the process had held before it.

``--quick`` measures next to nothing and writes nothing, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from benchmarks.page import put, table
from benchmarks.paired import paired, write
from colearn.interface import DiffPrivConfig
from colearn.learners import TorchLearner
from colearn.learners._torch_compute import at_threads
from colearn.privacy.randomness import SecureSource
from colearn.privacy.training import PrivateTraining

ROWS, STEPS, PAIRS = 4096, 20, 7
METHODS = ("hooks", "ghost", "vmap")
BATCHES = (64, 256)
BOUND = 1.0
MIB = 2**20
KIB = 2**10


def mlp() -> Any:
    layers = [nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(*layers)


def cnn() -> Any:
    layers = [nn.Conv2d(1, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(800, 10))


MODULES = {"MLP 784-128-10": mlp, "CNN 1x28x28, 2 convolutions": cnn}


def case(module: str, batch: int, method: str, steps: int, pairs: int) -> dict[str, Any]:
    """Measure one row of the table, in a process of its own."""
    random = np.random.default_rng(0)
    X = random.normal(size=(ROWS, 1, 28, 28)).astype(np.float32)
    y = random.integers(0, 10, ROWS)
    learner = TorchLearner(
        MODULES[module], train=(X[:-64], y[:-64]), vote=(X[-64:], y[-64:]), classes=range(10),
        batch_size=batch, steps=steps, dp_gradients=method,
    )  # fmt: skip
    family, model = learner._modules, learner.mli_get_current_weights().weights  # noqa: SLF001
    config = DiffPrivConfig(
        target_epsilon=8.0, target_delta=1e-5, max_grad_norm=BOUND, noise_multiplier=1.0
    )
    family.require_private(config)

    def private() -> None:
        training = PrivateTraining(
            rows_count=ROWS - 64, max_grad_norm=BOUND, noise_multiplier=1.0,
            sampling_rate=batch / (ROWS - 64), steps=steps, source=SecureSource(),
        )  # fmt: skip
        family.fit_privately(model, X[:-64], y[:-64], training, 0)

    plain = partial(family.fit, model, X[:-64], y[:-64], 0)
    with at_threads(1):
        plain()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        private()
        held = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * KIB / MIB
        times = paired(plain, private, times=1, pairs=pairs)
    learner = TorchLearner(
        MODULES[module], train=(X[:64], y[:64]), vote=(X[-64:], y[-64:]), classes=range(10)
    )
    chosen = learner._modules  # noqa: SLF001
    chosen.require_private(config)
    return {
        "module": module,
        "batch": batch,
        "method": method,
        "plain_ms": round(times["first_s"] / steps * 1e3, 2),
        "private_ms": round(times["second_s"] / steps * 1e3, 2),
        "ratio": round(times["ratio"], 2),
        "ratio_min": round(times["ratio_min"], 2),
        "ratio_max": round(times["ratio_max"], 2),
        "memory_mib": round(held, 1),
        "default": chosen.private_method == method,
    }


def measured(steps: int, pairs: int) -> list[dict[str, Any]]:
    cases = [
        (module, batch, method, steps, pairs)
        for module in MODULES
        for batch in BATCHES
        for method in METHODS
    ]
    # A fresh process for each, since the most that a process held never falls.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.starmap(case, cases, chunksize=1)


def page(rows: list[dict[str, Any]]) -> str:
    columns = ["module", "batch", "method", "a plain step", "a private step", "times as long",
               "memory more", "default"]  # fmt: skip
    return table(
        columns,
        [
            [
                row["module"],
                row["batch"],
                row["method"],
                f"{row['plain_ms']:.2f} ms",
                f"{row['private_ms']:.2f} ms",
                f"{row['ratio']:.1f} ({row['ratio_min']:.1f} to {row['ratio_max']:.1f})",
                f"{row['memory_mib']:.0f} MiB",
                "yes" if row["default"] else None,
            ]
            for row in rows
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rows = measured(2, 1) if quick else measured(STEPS, PAIRS)
    if quick:
        for row in rows:
            print(json.dumps(row))
        print(page(rows))
        return
    write("private_training", rows)
    put("private-training", page(rows))


if __name__ == "__main__":
    main()
