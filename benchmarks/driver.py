"""`run_one_round` against a bare dataclass loop, in pairs: what all checks of P3.5 and P3.7 cost.

Echo learners: a proposal is a fresh copy of 20 float32 arrays, a vote is a constant. Both sides
copy, ask, count and accept; only Colearn's side checks, copies into immutable memory and guards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.paired import paired, write
from colearn.driver import run_one_round
from colearn.interface import ProposedWeights, Weights

ARRAYS_COUNT = 20
CASES = [(5, 10_000, 1 / 5), (20, 10_000, 1 / 4), (100, 10_000, 1 / 3), (5, 1_000_000, 1 / 4)]


class EchoLearner:
    """A learner written against the interface's names alone."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.current = Weights(weights=arrays)

    def mli_propose_weights(self) -> Weights:
        return Weights(weights={name: array.copy() for name, array in self.current.weights.items()})

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        return ProposedWeights(weights=weights, vote_score=0.5, test_score=0.5, vote=True)

    def mli_accept_weights(self, weights: Weights) -> None:
        self.current = weights

    def mli_get_current_weights(self) -> Weights:
        return self.current


@dataclass(frozen=True)
class BareWeights:
    weights: Any
    training_summary: Any = None


@dataclass(frozen=True)
class BareEntry:
    weights: BareWeights
    vote_score: float
    test_score: float | None = None
    vote: bool | None = None


class BareLearner:
    def __init__(self, arrays: dict[str, Any]) -> None:
        self.current = BareWeights(arrays)

    def propose(self) -> BareWeights:
        return BareWeights(
            weights={name: array.copy() for name, array in self.current.weights.items()}
        )

    def test(self, weights: BareWeights) -> BareEntry:
        return BareEntry(weights=weights, vote_score=0.5, test_score=0.5, vote=True)

    def accept(self, weights: BareWeights) -> None:
        self.current = weights


def bare_round(round_index: int, learners: list[BareLearner]) -> tuple[list[BareEntry], bool]:
    proposer = round_index % len(learners)
    weights = learners[proposer].propose()
    entries = []
    for learner in learners:
        entries.append(learner.test(weights))  # noqa: PERF401  (the plainest loop is the measure)
    entries[proposer] = replace(entries[proposer], vote=None)
    approvals = sum(1 for entry in entries if entry.vote)
    accepted = approvals + 1 > len(learners) / 2
    if accepted:
        for learner in learners:
            learner.accept(weights)
    return entries, accepted


def main() -> None:
    rows = []
    for learners_count, weights_bytes, target in CASES:
        items = weights_bytes // 4 // ARRAYS_COUNT
        arrays = {f"layer{i}": np.ones(items, np.float32) for i in range(ARRAYS_COUNT)}
        bare = [BareLearner(arrays) for _ in range(learners_count)]
        ours = [EchoLearner(arrays) for _ in range(learners_count)]
        assert run_one_round(0, ours)[1]
        times = 100 if learners_count * weights_bytes > 500_000 else 400
        result = paired(
            lambda group=ours: run_one_round(0, group),
            lambda group=bare: bare_round(0, group),
            times=times,
        )
        rows.append(
            {
                "learners": learners_count,
                "weights_bytes": weights_bytes,
                "colearn_rounds_per_s": round(1 / result["first_s"]),
                "bare_rounds_per_s": round(1 / result["second_s"]),
                "share_of_bare": round(result["ratio"], 3),
                "target": round(target, 3),
            }
        )
    write("driver", rows)


if __name__ == "__main__":
    main()
