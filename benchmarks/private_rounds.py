"""Rounds decided by private votes: are honest proposals accepted, and poisoned ones refused?

Ten learners take turns to train one model; nine vote, and five approvals decide (P3.3). In every
round the proposer's training is also done on wrong labels, and its model also spoilt by random
numbers, and the same nine judge each of the three by their exact paired losses and by private
votes. The model goes on with the honest proposal.

A private vote is one draw, so the table has chances: those of the formula that the votes are drawn
by, of nine independent voters. In seed 0 every vote is also cast by `PrivateVoting`, with a record
of spends for each voter, and the approvals are held against the formula.

``python -m benchmarks.private_rounds`` measures and rewrites the table; ``--smoke`` measures next
to nothing and writes nothing.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.page import put, table
from benchmarks.paired import write
from colearn.core import Rules, Tally, approvals_needed, exact_threshold
from colearn.interface import VotePrivacyConfig, Weights
from colearn.learners import TorchLearner
from colearn.learners.torch_models import mlp
from colearn.privacy import Partition, PrivacyLedger, PrivateVoting
from colearn.privacy.power import approve_probability
from colearn.privacy.vote import vote_terms
from colearn.schema import Schema
from colearn.tasks import fashion_mnist

LEARNERS, ROUNDS, EARLY, SEEDS = 10, 40, 10, 3
TRAIN_ROWS = 600
PLANNED = 200
VOTES: dict[str, tuple[float, float | None]] = {
    "epsilon 2": (2.0, None),
    "epsilon 2, clip 0.25": (2.0, 0.25),
    "epsilon 8": (8.0, None),
}
"""Epsilon of all planned votes, and the loss difference at which a row's say ends; 1 by default."""

RULES = Rules(exact_threshold("1/2"))
KINDS = ("honest", "label-flipped", "noise of 30 %")

Row = dict[str, Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Every learner's rows: (learners, rows, features) and (learners, rows)."""

    schema: Schema
    train: tuple[Floats, npt.NDArray[np.int64]]
    vote: tuple[Floats, npt.NDArray[np.int64]]


def mixture(vote_rows: int, seed: int) -> Rows:
    """Deal a made-up task: 10 classes of 3 Gaussians each in 40 columns, 1 label in 20 at random.

    Classes overlap, so that a model goes on learning for all 40 rounds and is never perfect.
    """
    random = np.random.default_rng([seed, 71])
    centres = random.normal(size=(10, 3, 40))

    def sample(rows: int) -> tuple[Floats, npt.NDArray[np.int64]]:
        shape = (LEARNERS, rows)
        y = random.integers(10, size=shape)
        X = centres[y, random.integers(3, size=shape)] + random.normal(size=(*shape, 40))
        return X, np.where(random.random(shape) < 0.05, random.integers(10, size=shape), y)

    schema = Schema(features=tuple(f"x{column}" for column in range(40)), classes=tuple(range(10)))
    return Rows(schema, sample(TRAIN_ROWS), sample(vote_rows))


def pictures(vote_rows: int, seed: int) -> Rows:
    """Deal Fashion-MNIST, every learner its own rows."""
    task = fashion_mnist()
    assert task.scaling is not None
    order = np.random.default_rng([seed, 72]).permutation(len(task.y))
    X, y = task.scaling.apply(task.X), task.y

    def cut(begin: int, rows: int) -> tuple[Floats, npt.NDArray[np.int64]]:
        taken = order[begin : begin + LEARNERS * rows].reshape(LEARNERS, rows)
        return X[taken], y[taken]

    return Rows(task.schema, cut(0, TRAIN_ROWS), cut(LEARNERS * TRAIN_ROWS, vote_rows))


CASES: tuple[tuple[str, Any, int], ...] = (
    ("Gaussian mixture", mixture, 1000),
    ("Gaussian mixture", mixture, 10_000),
    ("Fashion-MNIST", pictures, 1000),
    ("Fashion-MNIST", pictures, 5000),
)


class Group:
    """Learners that train and judge, and liars that train on wrong labels."""

    def __init__(self, rows: Rows, seed: int) -> None:
        self._seed = seed
        self.voters = [self._learner(rows, place, flipped=False) for place in range(LEARNERS)]
        self._liars = [self._learner(rows, place, flipped=True) for place in range(LEARNERS)]
        self.model = self.voters[0].mli_get_current_weights()

    def proposals(self, turn: int) -> dict[str, Weights]:
        place, random = turn % LEARNERS, np.random.default_rng([self._seed, turn, 73])
        self._liars[place].mli_accept_weights(self.model)
        return {
            "honest": self.voters[place].mli_propose_weights(),
            "label-flipped": self._liars[place].mli_propose_weights(),
            "noise of 30 %": spoilt(self.model, 0.3, random),
        }

    def judged(self, turn: int, proposal: Weights) -> tuple[list[bool], list[Floats]]:
        """Return the exact votes of all but the proposer, and by how much each row's loss fell."""
        votes, differences = [], []
        for place, voter in enumerate(self.voters):
            if place == turn % LEARNERS:
                continue
            before = voter.judge_current().losses
            votes.append(bool(voter.mli_test_weights(proposal).vote))
            voter.mli_accept_weights(proposal)
            differences.append(before - voter.judge_current().losses)
            voter.mli_accept_weights(self.model)
        return votes, differences

    def accept(self, proposal: Weights) -> None:
        self.model = proposal
        for voter in self.voters:
            voter.mli_accept_weights(proposal)

    def _learner(self, rows: Rows, place: int, *, flipped: bool) -> TorchLearner:
        X, y = rows.train[0][place], rows.train[1][place]
        return TorchLearner(
            mlp,
            train=(X, (y + 1) % 10 if flipped else y),
            vote=(rows.vote[0][place], rows.vote[1][place]),
            schema=rows.schema,
            optimizer=partial(torch.optim.SGD, lr=0.03, momentum=0.9),
            batch_size=64,
            steps=8,
            name=f"site{place}",
            seed=self._seed * 1000 + place,
            model_seed=self._seed,
        )


def spoilt(model: Weights, share: float, random: np.random.Generator) -> Weights:
    """Add to each array random numbers of `share` times its length."""
    arrays = {}
    for name, array in model.weights.items():
        noise = random.normal(size=array.shape)
        noise *= share * np.linalg.norm(array) / np.linalg.norm(noise)
        arrays[name] = np.asarray(array + noise, array.dtype)
    return Weights(weights=arrays)


class Mechanism:
    """Private votes of one group by the formula, and in seed 0 by `PrivateVoting` as well."""

    def __init__(self, name: str, vote_rows: int, folder: Path | None) -> None:
        epsilon, clip = VOTES[name]
        config = VotePrivacyConfig(epsilon=epsilon, planned_votes=PLANNED, clip=clip)
        self.terms = vote_terms(config, vote_rows)
        self._voting = None
        if folder is not None:
            self._voting = [
                PrivateVoting(
                    config,
                    PrivacyLedger.open(folder, f"voter{place}-{epsilon}-{clip}"),
                    Partition("0" * 64, "vote"),
                    units_count=vote_rows,
                    purpose="benchmark",
                )
                for place in range(LEARNERS - 1)
            ]

    def approvals(self, differences: Sequence[Floats]) -> list[float]:
        """Return with what chance each voter approves."""
        sums = [float(np.clip(each / self.terms.clip, -1, 1).sum()) for each in differences]
        return [approve_probability(self.terms.e0, s, self.terms.margin) for s in sums]

    def cast(self, question: str, differences: Sequence[Floats]) -> list[bool]:
        """Return real votes; none without records of spends."""
        votes = []
        for voting, own in zip(self._voting or (), differences, strict=False):
            vote = voting.vote(question, partial(np.asarray, own))
            assert vote is not None, "the budget of votes is spent"
            votes.append(vote)
        return votes


def passes(approvals: Sequence[float]) -> float:
    """Return the chance that enough of independent voters approve, each with its own chance."""
    counts = np.ones(1)
    for chance in approvals:
        counts = np.convolve(counts, [1 - chance, chance])
    return float(counts[approvals_needed(RULES, LEARNERS) :].sum())


def measured(case: tuple[str, Any, int], seed: int, rounds: int, folder: Path | None) -> list[Row]:
    """Return a row for each proposal of each round."""
    name, deal, vote_rows = case
    group = Group(deal(vote_rows, seed), seed)
    mechanisms = {each: Mechanism(each, vote_rows, folder) for each in VOTES}
    rows = []
    for turn in range(rounds):
        proposals = group.proposals(turn)
        for kind, proposal in proposals.items():
            votes, differences = group.judged(turn, proposal)
            gains = [float(each.mean()) for each in differences]
            row = {"case": name, "m": vote_rows, "seed": seed, "round": turn, "kind": kind}
            row["gain"] = round(statistics.fmean(gains), 5)
            row["exact"] = Tally(RULES, LEARNERS, sum(votes), LEARNERS - 1 - sum(votes)).accepted
            for how, mechanism in mechanisms.items():
                chances = mechanism.approvals(differences)
                cast = mechanism.cast(f"{turn} {kind}", differences)
                row[f"passes {how}"] = passes(chances)
                if cast:
                    row[f"approvals {how}"] = sum(cast)
                    row[f"expected {how}"] = sum(chances)
                    row[f"variance {how}"] = sum(chance * (1 - chance) for chance in chances)
                    tally = Tally(RULES, LEARNERS, sum(cast), LEARNERS - 1 - sum(cast))
                    row[f"real {how}"] = tally.accepted
            rows.append(row)
        group.accept(proposals["honest"])
    return rows


def summed(rows: list[Row]) -> list[Row]:
    """Return what is kept: the means over the first rounds and over the others of each run."""
    parts: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("case", "m", "seed", "kind"))
        parts.setdefault((*key, row["round"] < EARLY), []).append(row)
    lines = []
    for (case, vote_rows, seed, kind, early), part in parts.items():
        line = {"case": case, "m": vote_rows, "seed": seed, "kind": kind, "early": early}
        line["rounds"] = len(part)
        for name in ("gain", "exact", *(f"passes {how}" for how in VOTES)):
            line[name] = round(statistics.fmean(float(row[name]) for row in part), 5)
        for name in part[0]:
            if name.split()[0] in ("approvals", "expected", "variance", "real"):
                line[name] = round(float(sum(row[name] for row in part)), 3)
        lines.append(line)
    return lines


def rounds_table(rows: list[Row]) -> str:
    names = ("exact", *(f"passes {how}" for how in VOTES))
    lines = []
    for case, _, vote_rows in CASES:
        for kind, early in itertools.product(KINDS, (True, False)):
            key = (case, vote_rows, kind, early)
            own = [r for r in rows if (r["case"], r["m"], r["kind"], r["early"]) == key]
            if own:
                line = [case, f"{vote_rows:,}", kind]
                line += [f"1 to {EARLY}" if early else f"{EARLY + 1} to {ROUNDS}"]
                line += [f"{statistics.fmean(row['gain'] for row in own):+.4f}"]
                line += [f"{statistics.fmean(row[name] for row in own):.1%}" for name in names]
                lines.append(line)
    return table(["data", "vote rows", "proposal", "rounds", "gain", "exact", *VOTES], lines)


def checked_table(rows: list[Row]) -> str:
    """Hold the votes that were cast against the formula."""
    lines = []
    for how in VOTES:
        cast = [row for row in rows if f"approvals {how}" in row]
        count = sum(row["rounds"] for row in cast)
        found = sum(row[f"approvals {how}"] for row in cast)
        expected = sum(row[f"expected {how}"] for row in cast)
        error = math.sqrt(sum(row[f"variance {how}"] for row in cast))
        line = [how, f"{count * (LEARNERS - 1):,}", f"{found:,.0f}"]
        line += [f"{expected:,.1f}", f"{(found - expected) / error:+.1f}", f"{count:,}"]
        line += [f"{sum(row[f'real {how}'] for row in cast):.0f}"]
        line += [f"{sum(row['rounds'] * row[f'passes {how}'] for row in cast):.1f}"]
        lines.append(line)
    columns = ["votes by `PrivateVoting`", "cast", "approved", "expected", "standard errors off"]
    return table([*columns, "proposals", "passed", "expected"], lines)


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="only see that it runs")
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    rows: list[Row] = []
    begin = time.perf_counter()
    for case in CASES[:1] if chosen.smoke else CASES:
        for seed in range(1 if chosen.smoke else SEEDS):
            with tempfile.TemporaryDirectory() as folder:
                real = Path(folder) if seed == 0 else None
                rows += measured(case, seed, 12 if chosen.smoke else ROUNDS, real)
            print(f"{case[0]}, {case[2]}, seed {seed}: {time.perf_counter() - begin:.0f} s")
    kept = summed(rows)
    text = f"{rounds_table(kept)}\n\n{checked_table(kept)}"
    if chosen.smoke:
        print(text)
        return
    write("private_rounds", kept)
    put("private rounds", text)


if __name__ == "__main__":
    main(sys.argv[1:])
