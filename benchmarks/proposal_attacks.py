"""What a proposal reveals: membership inference and gradient inversion on (M, M').

Everybody in a group sees the model M and the proposal M'. Both attacks use these two alone, and
are tried on real learners without privacy and with private proposals of epsilon 8 and 2.

Membership inference ranks rows by how far their loss fell (Yeom et al., 2018), and an AUC of .5
is guessing. Gradient inversion takes one step on one row: in the first layer the gradient of the
weights is the input times the gradient of the biases, so their quotient is the input (Phong et
al., 2018). It is tried where it is strongest: the learner has that row alone, and every step takes
it, so privacy has no help from sampling. Against noise it also takes the matrix of rank one that
is nearest to the change, which uses all hidden units at once.

``python -m benchmarks.proposal_attacks`` measures and rewrites table and picture; ``--smoke``
measures next to nothing and writes nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.page import DOC, put, table
from benchmarks.paired import write
from colearn.audit.attacks import membership_scores
from colearn.interface import DiffPrivConfig, Weights
from colearn.learners import TorchLearner
from colearn.learners.torch_models import mlp
from colearn.privacy import Privacy
from colearn.privacy.onerun import auc_of
from colearn.tasks import Task, fashion_mnist

DELTA, BOUND = 1e-5, 1.0
EPSILONS: tuple[float | None, ...] = (None, 8.0, 2.0)
SHOWN = 4
"""Pictures of the figure."""

Row = dict[str, Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """How much is measured.

    Attributes:
        members: Rows of a learner whose members are inferred, and as many others.
        lengths: Steps of its proposal, in batches of a quarter of its rows; each is tried.
        learners: Such learners, each with rows of its own.
        inverted: Learners of one row.
    """

    members: int = 500
    lengths: tuple[int, ...] = (100, 800)
    learners: int = 10
    inverted: int = 100


FULL = Setting()
SMOKE = Setting(members=100, lengths=(5,), learners=2, inverted=4)


class Pictures:
    """Fashion-MNIST, and learners on parts of it."""

    def __init__(self) -> None:
        self.task: Task = fashion_mnist()
        assert self.task.scaling is not None
        self.X, self.y = self.task.scaling.apply(self.task.X), self.task.y
        test = fashion_mnist(part="test")
        self.test = self.task.scaling.apply(test.X), test.y
        self._order = np.random.default_rng(74).permutation(len(self.y))

    def rows(self, begin: int, count: int) -> npt.NDArray[np.int64]:
        return self._order[begin : begin + count]

    def learner(
        self, rows: npt.NDArray[np.int64], privacy: Privacy | None, **given: Any
    ) -> TorchLearner:
        others = self.rows(59_000, 10)
        return TorchLearner(
            mlp,
            train=(self.X[rows], self.y[rows]),
            vote=(self.X[others], self.y[others]),
            schema=self.task.schema,
            privacy=privacy,
            **given,
        )


def privacy_of(epsilon: float | None, folder: str) -> Privacy | None:
    """Return an epsilon's settings: all of it is for one proposal."""
    if epsilon is None:
        return None
    config = DiffPrivConfig(
        target_epsilon=epsilon, target_delta=DELTA, max_grad_norm=BOUND, planned_proposals=1
    )
    return Privacy(proposals=config, directory=Path(folder))


def proposed(learner: TorchLearner) -> tuple[Weights, Weights]:
    """Return M and M', as the group sees them."""
    before, after = learner.mli_get_current_weights(), learner.mli_propose_weights()
    summary = after.training_summary
    assert summary is None or summary.error_code is None, summary
    return before, after


def step_size(epsilon: float | None, steps: int) -> float:
    """Return one with which the proposal is accurate, found by hand.

    Larger ones under privacy, since clipped gradients are short, and smaller ones the more noise.
    """
    if epsilon is None:
        return 0.2
    return (1.0 if epsilon > EPSILONS[-1] else 0.5) * (100 / steps) ** 0.67


def membership(
    pictures: Pictures, setting: Setting, epsilon: float | None, steps: int, place: int
) -> Row:
    count = setting.members
    inside = pictures.rows(2 * count * place, count)
    outside = pictures.rows(2 * count * place + count, count)
    with tempfile.TemporaryDirectory() as folder:
        learner = pictures.learner(
            inside,
            privacy_of(epsilon, folder),
            optimizer=partial(torch.optim.SGD, lr=step_size(epsilon, steps)),
            batch_size=count // 4,
            steps=steps,
            seed=place,
            model_seed=place,
        )
        before, after = proposed(learner)
    rows = np.concatenate([inside, outside])
    attacker = pictures.learner(pictures.rows(59_100, 10), None, model_seed=place)
    scores = membership_scores(attacker, before, after, pictures.X[rows], pictures.y[rows])
    auc, error = auc_of(scores, np.arange(len(rows)) < count)
    attacker.mli_accept_weights(after)
    right = attacker.predictions(pictures.test[0]).best == pictures.test[1]
    return {
        "attack": "membership",
        "epsilon": epsilon,
        "steps": steps,
        "learner": place,
        "auc": round(auc, 4),
        "error": round(error, 4),
        "accuracy": round(float(right.mean()), 4),
    }


def inverted(
    pictures: Pictures, epsilon: float | None, place: int
) -> tuple[Floats, Floats, Floats]:
    """Return a learner's only row, and what two attacks make of its one step, (784,) each."""
    row = pictures.rows(20_000 + place, 1)
    with tempfile.TemporaryDirectory() as folder:
        learner = pictures.learner(
            row,
            privacy_of(epsilon, folder),
            optimizer=partial(torch.optim.SGD, lr=0.1),
            batch_size=1,
            steps=1,
            seed=place,
            model_seed=place,
        )
        before, after = proposed(learner)
    # The layer's arrays by their shapes: weights (hidden, 784) and biases (hidden,).
    change = {
        name: np.asarray(after.weights[name], np.float64) - before.weights[name]
        for name in before.weights
    }
    weights = next(each for each in change.values() if each.shape[1:] == (784,))
    biases = next(each for each in change.values() if each.shape == weights.shape[:1])
    unit = int(np.abs(biases).argmax())
    left, _, right = np.linalg.svd(weights, full_matrices=False)
    # The sign is open; the biases' change, which has the direction of `left`, tells it.
    nearest = right[0] * np.sign(left[:, 0] @ biases)
    return pictures.X[row[0]], weights[unit] / biases[unit], nearest


def correlation(first: Floats, second: Floats) -> float:
    return float(np.corrcoef(first, second)[0, 1])


def inversion(pictures: Pictures, epsilon: float | None, place: int) -> Row:
    original, quotient, nearest = inverted(pictures, epsilon, place)
    return {
        "attack": "inversion",
        "epsilon": epsilon,
        "learner": place,
        "quotient": round(correlation(original, quotient), 4),
        "rank_one": round(correlation(original, nearest), 4),
    }


def named(epsilon: float | None) -> str:
    return "no privacy" if epsilon is None else f"epsilon {epsilon:g}"


def membership_table(rows: list[Row]) -> str:
    lines = []
    of = [row for row in rows if row["attack"] == "membership"]
    for epsilon in EPSILONS:
        for steps in sorted({row["steps"] for row in of}):
            own = [r for r in of if (r["epsilon"], r["steps"]) == (epsilon, steps)]
            aucs = [row["auc"] for row in own]
            lines.append(
                [
                    named(epsilon),
                    steps,
                    f"{statistics.fmean(aucs):.3f}",
                    f"{min(aucs):.3f} to {max(aucs):.3f}",
                    f"{statistics.fmean(row['accuracy'] for row in own):.3f}",
                ]
            )
    columns = ["proposal", "steps", "membership AUC", "from, to", "accuracy of M'"]
    return table(columns, lines)


def inversion_table(rows: list[Row]) -> str:
    lines = []
    for epsilon in EPSILONS:
        own = [r for r in rows if r["attack"] == "inversion" and r["epsilon"] == epsilon]
        line: list[object] = [named(epsilon)]
        for attack in ("quotient", "rank_one"):
            found = [row[attack] for row in own]
            line += [f"{statistics.median(found):+.3f}", f"{max(found):+.3f}"]
        lines.append(line)
    columns = ["proposal", "quotient, median", "greatest", "rank one, median", "greatest"]
    return table(columns, lines)


def draw(pictures: Pictures, rows: list[Row], path: Path) -> None:
    """Draw the AUC of each learner, and pictures beside what the stronger attack makes of them."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.35])
    axes = left.subplots()
    of = [row for row in rows if row["attack"] == "membership"]
    lengths = sorted({row["steps"] for row in of})
    for steps, shift, colour in zip(lengths, (-0.12, 0.12), ("#e3b505", "#d1495b"), strict=True):
        for place, epsilon in enumerate(EPSILONS):
            aucs = [r["auc"] for r in of if (r["epsilon"], r["steps"]) == (epsilon, steps)]
            label = None if place else f"{steps} steps"
            at = [place + shift] * len(aucs)
            axes.plot(at, aucs, "o", alpha=0.5, color=colour, label=label)
            axes.plot(place + shift, statistics.fmean(aucs), "_", markersize=18, color="#3a3a3a")
    axes.axhline(0.5, color="#4c78a8", linestyle="--", linewidth=1, label="guessing")
    axes.set_xticks(range(len(EPSILONS)), [named(epsilon) for epsilon in EPSILONS])
    axes.set_xlim(-0.5, len(EPSILONS) - 0.5)
    axes.set_ylabel("AUC")
    axes.set_title("Membership inference, a dot a learner")
    axes.legend()
    grid = right.subplots(len(EPSILONS) + 1, SHOWN)
    right.suptitle("Inversion of one step on one row (rank one)")
    for column in range(SHOWN):
        found = [inverted(pictures, epsilon, column) for epsilon in EPSILONS]
        images = [found[0][0], *(nearest for _, _, nearest in found)]
        for line, image in enumerate(images):
            cell = grid[line, column]
            cell.imshow(image.reshape(28, 28), cmap="gray")
            cell.set_xticks([])
            cell.set_yticks([])
            if line:
                cell.set_title(f"{correlation(images[0], image):+.2f}", fontsize=8, pad=2)
            if column == 0:
                text = "original" if line == 0 else named(EPSILONS[line - 1])
                cell.set_ylabel(text, fontsize=8)
    figure.savefig(path, dpi=110, format="png", metadata={"Software": None})


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="only see that it runs")
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    setting, pictures = SMOKE if chosen.smoke else FULL, Pictures()
    rows = [
        membership(pictures, setting, epsilon, steps, place)
        for epsilon in EPSILONS
        for steps in setting.lengths
        for place in range(setting.learners)
    ]
    rows += [
        inversion(pictures, epsilon, place)
        for epsilon in EPSILONS
        for place in range(setting.inverted)
    ]
    text = f"{membership_table(rows)}\n\n{inversion_table(rows)}"
    if chosen.smoke:
        print(text)
        return
    write("proposal_attacks", rows)
    put("proposal attacks", text)
    draw(pictures, rows, DOC.parent / "proposal_attacks.png")


if __name__ == "__main__":
    main(sys.argv[1:])
