"""What private training costs: Fashion-MNIST by DP-SGD, together and alone under one budget.

Five learners have 12,000 pictures each, of which 10,800 train and 1,200 vote; 10,000 others are
the test set. Each may make eight proposals within epsilon 8, 4 or 2 at delta 1e-5, with the noise
of a CSPRNG, which no seed repeats. Alone, a learner makes as many proposals within as much, on its
training and vote rows, and accepts all of them.

``python -m benchmarks.private_learning`` measures everything and rewrites the table and the
picture; ``--keep`` leaves the rows of this version that are there already, so that a run which was
interrupted goes on; ``--table`` measures nothing; ``--smoke`` next to nothing, and writes nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn

from benchmarks.page import DOC, put, table
from benchmarks.paired import RESULTS
from colearn.experiment import Collective
from colearn.interface import DiffPrivConfig, VotePrivacyConfig, Weights
from colearn.learners import TorchLearner
from colearn.privacy import Privacy
from colearn.schema import Schema
from colearn.tasks import fashion_mnist

LEARNERS, TURNS, STEPS, BATCH = 5, 8, 20, 1024
VOTE_ROWS, FREE_BATCH = 1200, 128
DELTA, BOUND = 1e-5, 1.0
SEEDS = 3
FREE = "none"
"""Stands for training without privacy."""

CLIPPED = "private, clip 0.25"
LONGER = "the same, proposals twice as long"
VOTES = ("exact", "private", CLIPPED, LONGER)

STEP_SIZES: dict[str, tuple[float, float]] = {
    "8": (4.0, 8.0),
    "4": (2.0, 8.0),
    "2": (2.0, 4.0),
    FREE: (0.05, 0.05),
}
"""Of the group, and of a learner alone: the best of 1, 2, 3, 4 and 8 on other divisions and seeds.

By the accuracy on the same test pictures, which favours neither. Without privacy it is the default
of TorchLearner, with its momentum, and a proposal is one epoch in batches of 128.
"""

Row = dict[str, Any]
Data = tuple[npt.NDArray[Any], npt.NDArray[Any]]


@dataclass(frozen=True)
class Setting:
    """What is the same in every cell; smaller for a smoke test."""

    rows: int = 12_000
    votes: int = VOTE_ROWS
    turns: int = TURNS
    steps: int = STEPS
    batch: int = BATCH
    test_rows: int = 10_000
    seeds: int = SEEDS


FULL = Setting()
SMOKE = Setting(rows=300, votes=100, turns=1, steps=2, batch=50, test_rows=200, seeds=1)


def network(schema: Schema) -> nn.Module:
    """Each picture is brought to mean 0 and variance 1 by itself, so no statistic is learned."""
    columns, classes = len(schema.features), len(schema.classes or ())
    return nn.Sequential(
        nn.LayerNorm(columns, elementwise_affine=False),
        nn.Linear(columns, 64),
        nn.Tanh(),
        nn.Linear(64, classes),
    )


class Pictures:
    """Fashion-MNIST, dealt to the learners by a seed."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        train, test = fashion_mnist(), fashion_mnist(part="test", rows=setting.test_rows)
        assert train.scaling is not None
        self.schema = train.schema
        self.X, self.y = train.scaling.apply(train.X), train.y
        self.test = train.scaling.apply(test.X), test.y

    def sites(self, seed: int) -> list[npt.NDArray[np.int64]]:
        order = np.random.default_rng([seed, 20]).permutation(len(self.y))
        size = self.setting.rows
        return [order[place * size : (place + 1) * size] for place in range(LEARNERS)]

    def of(self, rows: npt.NDArray[np.int64]) -> Data:
        return self.X[rows], self.y[rows]

    def learner(
        self,
        place: int,
        train: npt.NDArray[np.int64],
        vote: npt.NDArray[np.int64],
        epsilon: str,
        rate: float,
        steps: int,
        **given: Any,
    ) -> TorchLearner:
        optimizer = partial(torch.optim.SGD, lr=rate)
        length = {"batch_size": self.setting.batch, "steps": steps}
        if epsilon == FREE:
            optimizer = partial(torch.optim.SGD, lr=rate, momentum=0.9)
            length = {"batch_size": FREE_BATCH, "epochs": steps // self.setting.steps}
        return TorchLearner(
            network,
            train=self.of(train),
            vote=self.of(vote),
            test=self.test,
            schema=self.schema,
            optimizer=optimizer,
            name=f"site{place}",
            **length,
            **given,
        )


def privacy_of(setting: Setting, epsilon: str, votes: str, folder: Path) -> Privacy | None:
    """Return what a learner is told; a folder has the spends of one run alone."""
    proposals = None
    if epsilon != FREE:
        proposals = DiffPrivConfig(
            target_epsilon=float(epsilon),
            target_delta=DELTA,
            max_grad_norm=BOUND,
            planned_proposals=setting.turns,
        )
    voting = None
    if votes != "exact":
        asked = setting.turns * (LEARNERS - 1)
        clip = 0.25 if votes in (CLIPPED, LONGER) else None
        voting = VotePrivacyConfig(epsilon=2.0, planned_votes=asked, clip=clip)
    if proposals is None and voting is None:
        return None
    return Privacy(proposals=proposals, votes=voting, directory=folder)


def together(pictures: Pictures, epsilon: str, votes: str, seed: int, rate: float) -> Row:
    setting = pictures.setting
    if votes == LONGER:
        # Half as many votes share their epsilon, and each judges twice the training.
        setting = replace(setting, turns=max(1, setting.turns // 2), steps=2 * setting.steps)
    with tempfile.TemporaryDirectory() as folder:
        privacy = privacy_of(setting, epsilon, votes, Path(folder))
        group = [
            pictures.learner(
                place,
                rows[setting.votes :],
                rows[: setting.votes],
                epsilon,
                rate,
                setting.steps,
                privacy=privacy,
                seed=seed * 100 + place,
                model_seed=seed,
            )
            for place, rows in enumerate(pictures.sites(seed))
        ]
        run = Collective(group, seed=seed)
        records = list(run.rounds(setting.turns * LEARNERS))
        score = accuracy(pictures, group[0], Weights(weights=run.weights_))
        run.close()
    outcomes = [str(record.outcome) for record in records]
    assert outcomes.count("no proposal") == 0, outcomes
    return {
        "together": round(score, 4),
        "accepted": outcomes.count("accepted"),
        "rounds": len(outcomes),
    }


def alone(pictures: Pictures, epsilon: str, seed: int, rate: float, *, place: int) -> float:
    setting, rows = pictures.setting, pictures.sites(seed)[place]
    with tempfile.TemporaryDirectory() as folder:
        learner = pictures.learner(
            place,
            rows,
            # It votes on nothing; a learner must have vote rows that are not its training rows.
            pictures.sites(seed)[(place + 1) % LEARNERS][: setting.votes],
            epsilon,
            rate,
            setting.steps,
            privacy=privacy_of(setting, epsilon, "exact", Path(folder)),
            seed=seed * 100 + place,
            model_seed=seed,
        )
        for _ in range(setting.turns):
            proposal = learner.mli_propose_weights()
            summary = proposal.training_summary
            assert summary is None or summary.error_code is None, summary
            learner.mli_accept_weights(proposal)
        return accuracy(pictures, learner, learner.mli_get_current_weights())


def accuracy(pictures: Pictures, learner: TorchLearner, weights: Weights) -> float:
    learner.mli_accept_weights(weights)
    X, y = pictures.test
    return float((learner.predictions(X).best == y).mean())


def measured(pictures: Pictures, epsilon: str, votes: str, seed: int) -> Row:
    begin = time.perf_counter()
    ours, own = STEP_SIZES[epsilon]
    row = together(pictures, epsilon, votes, seed, ours)
    # Votes change nothing for a learner alone.
    for name, rate in (("alone", own), ("alike", ours)) if votes == "exact" else ():
        if name == "alike" and own == ours:
            scores = row["alone"]
        else:
            places = range(LEARNERS)
            scores = [alone(pictures, epsilon, seed, rate, place=place) for place in places]
        row[name] = [round(score, 4) for score in scores]
    return {**row, "seconds": round(time.perf_counter() - begin)}


def cells(setting: Setting) -> Iterator[Row]:
    for seed in range(setting.seeds):
        for votes in VOTES:
            for epsilon in (FREE, "8", "4", "2"):
                yield {"epsilon": epsilon, "votes": votes, "seed": seed}


def key_of(row: Row) -> tuple[Any, ...]:
    return row["epsilon"], row["votes"], row["seed"]


def kept() -> list[Row]:
    path = RESULTS / "private_learning.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return [row for row in rows if row["version"] == version("colearn")]


def keep(rows: list[Row]) -> None:
    document = {"python": platform.python_version(), "machine": platform.machine(), "rows": rows}
    path = RESULTS / "private_learning.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document, indent=1) + "\n")
    fresh.replace(path)


def groups_of(rows: list[Row]) -> list[list[Row]]:
    """Return the rows of each line of the table, in its order."""
    lines: dict[tuple[str, str], list[Row]] = {}
    for votes in VOTES:
        for epsilon in (FREE, "8", "4", "2"):
            lines[epsilon, votes] = []
    for row in rows:
        lines[row["epsilon"], row["votes"]].append(row)
    return [group for group in lines.values() if group]


def alone_scores(rows: list[Row], epsilon: str, seed: int) -> list[float]:
    """Return each learner's score alone, with the step size that is the better one over all."""
    exact = [r for r in rows if (r["epsilon"], r["votes"]) == (epsilon, "exact")]
    own, alike = (
        statistics.fmean(score for row in exact for score in row[which])
        for which in ("alone", "alike")
    )
    [row] = [row for row in exact if row["seed"] == seed]
    return list(row["alone" if own >= alike else "alike"])


def tell(rows: list[Row]) -> None:
    lines = []
    for group in groups_of(rows):
        epsilon, votes = group[0]["epsilon"], group[0]["votes"]
        ours = [row["together"] for row in group]
        scores = [alone_scores(rows, epsilon, row["seed"]) for row in group]
        gains = [a - statistics.fmean(b) for a, b in zip(ours, scores, strict=True)]
        above = sum(a > max(b) for a, b in zip(ours, scores, strict=True))
        lines.append(
            [
                "no privacy" if epsilon == FREE else f"epsilon {epsilon}",
                votes,
                f"{statistics.fmean(ours):.3f}",
                f"{min(ours):.3f}",
                f"{statistics.fmean(score for each in scores for score in each):.3f}",
                f"{statistics.fmean(max(each) for each in scores):.3f}",
                f"{statistics.fmean(gains):+.3f}",
                f"{min(gains):+.3f}",
                f"{above} of {len(group)}",
                f"{sum(r['accepted'] for r in group)} of {sum(r['rounds'] for r in group)}",
            ]
        )
    columns = ["training", "votes", "together", "worst seed", "alone, mean", "alone, best"]
    columns += ["gain over the mean", "least", "above the best", "accepted"]
    put("private learning", table(columns, lines))
    draw(rows, DOC.parent / "private_learning.png")


def draw(rows: list[Row], path: Path) -> None:
    """Draw every seed as a dot, and the means as lines."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    order = ["2", "4", "8", FREE]

    def group(row: Row) -> list[float]:
        return [row["together"]]

    def members(row: Row) -> list[float]:
        return alone_scores(rows, row["epsilon"], row["seed"])

    for label, votes, colour, marker, shift, scores in (
        ("together", "exact", "#2a9d55", "o", -0.06, group),
        ("together, private votes, longer proposals", LONGER, "#4c78a8", "s", 0.06, group),
        ("each learner alone, same budget", "exact", "#d1495b", "^", 0.0, members),
    ):
        of = {e: [r for r in rows if (r["epsilon"], r["votes"]) == (e, votes)] for e in order}
        known = [place for place, epsilon in enumerate(order) if of[epsilon]]
        dots = [(place + shift, s) for place in known for r in of[order[place]] for s in scores(r)]
        axes.plot(*zip(*dots, strict=True), marker, color=colour, alpha=0.45, markersize=5)
        means = [
            statistics.fmean(s for r in of[order[place]] for s in scores(r)) for place in known
        ]
        axes.plot([k + shift for k in known], means, color=colour, linewidth=1.5, label=label)
    axes.set_xticks(range(len(order)), ["epsilon 2", "epsilon 4", "epsilon 8", "no privacy"])
    axes.set_ylabel("accuracy on 10,000 test pictures")
    axes.set_title(f"Fashion-MNIST, {LEARNERS} learners, {TURNS} proposals each, delta 1e-5")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=110, format="png", metadata={"Software": None})


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep this version's rows")
    parser.add_argument("--table", action="store_true", help="only write table and picture anew")
    parser.add_argument("--smoke", action="store_true", help="only see that it runs")
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    setting = SMOKE if chosen.smoke else FULL
    rows = kept() if chosen.keep or chosen.table else []
    done = {key_of(row) for row in rows}
    pictures = None if chosen.table else Pictures(setting)
    for key in cells(setting):
        if pictures is None or key_of(key) in done:
            continue
        if chosen.smoke and key["epsilon"] not in (FREE, "2"):
            continue
        fresh = {**key, "version": version("colearn"), **measured(pictures, **key)}
        gc.collect()  # Learners hold each other, and their rows are large.
        rows.append(fresh)
        print(json.dumps(fresh), flush=True)
        if not chosen.smoke:
            keep(rows)
    if not chosen.smoke:
        tell(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
