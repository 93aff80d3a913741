"""The embedded ledger and the group on it: a call, a replay, a round without training.

Echo learners: a proposal is a fresh copy of 20 float32 arrays that differs from the model in one
number, a vote is a constant. Everything else is what a run does: keys, signatures, the log in a
file, blobs in a folder, records and observations.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.page import put, table
from benchmarks.paired import write
from colearn.core import Rules, calls
from colearn.experiment import Collective
from colearn.identity import Key
from colearn.interface import ProposedWeights, Weights
from colearn.ledger import EmbeddedLedger

ARRAYS_COUNT = 20
GROUPS = [
    (5, 10_000, 200, 8.0),
    (20, 10_000, 60, None),
    (100, 10_000, 15, 60.0),
    (5, 100_000_000, 4, None),
]
"""Learners, bytes of the weights, rounds measured, and the most milliseconds a round may take."""

ROUNDS, MEMBERS = 400, 5
REPEATS = 3
ZERO = "00" * 32


class EchoLearner:
    def __init__(self, name: str, arrays: dict[str, Any]) -> None:
        self.name = name
        self.current = Weights(weights=arrays)
        self.count = 0

    def mli_propose_weights(self) -> Weights:
        proposed = {name: array.copy() for name, array in self.current.weights.items()}
        proposed["layer0"][0] += 1.0
        return Weights(weights=proposed)

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        return ProposedWeights(weights=weights, vote_score=0.5, test_score=0.5, vote=True)

    def mli_accept_weights(self, weights: Weights) -> None:
        self.current = weights

    def mli_get_current_weights(self) -> Weights:
        return self.current


def fill(path: Path, synchronous: str, rounds: int) -> list[float]:
    """Write a log of classic rounds and return the seconds of each call in a round."""
    keys = [Key.from_seed(1, f"member-{place}") for place in range(MEMBERS)]
    EmbeddedLedger.create(path, keys[0].address)
    times = []
    with EmbeddedLedger(path, synchronous=synchronous) as ledger:  # type: ignore[arg-type]
        ledger.submit(keys[0], calls.Create("11" * 32, "22" * 32, Rules().to_word(), ""))
        ledger.submit(keys[0], calls.Invite(1, tuple(key.address for key in keys)))
        for key in keys:
            ledger.submit(key, calls.Join(1, "11" * 32, "22" * 32, ZERO))
        ledger.submit(keys[0], calls.Start(1, ledger.experiment(1).roster.digest))
        for number in range(1, rounds + 1):
            experiment = ledger.experiment(1)
            front = experiment.front
            digest = hashlib.sha256(str(number).encode()).hexdigest()
            proposal = calls.Propose(1, number, experiment.model, 0, (digest,), "")
            times.append(timed(ledger, keys[front], proposal))
            key = ledger.experiment(1).round.key
            for place in range(MEMBERS):
                if place != front:
                    vote = calls.Vote(1, number, key, 1, 0, ZERO)
                    times.append(timed(ledger, keys[place], vote))
    return times


def timed(ledger: EmbeddedLedger, key: Key, call: calls.Call) -> float:
    begin = time.perf_counter()
    ledger.submit(key, call)
    return time.perf_counter() - begin


def replay(path: Path) -> float:
    """Return how many entries a second a new view verifies and applies."""
    begin = time.perf_counter()
    with EmbeddedLedger(path) as ledger:
        count = ledger.sync()
    return count / (time.perf_counter() - begin)


def round_ms(learners_count: int, weights_bytes: int, rounds: int) -> float:
    """Return the median milliseconds of a round of a group, in a run folder."""
    items = weights_bytes // 4 // ARRAYS_COUNT
    arrays = {f"layer{i}": np.ones(items, np.float32) for i in range(ARRAYS_COUNT)}
    group = [EchoLearner(f"echo-{place}", arrays) for place in range(learners_count)]
    with tempfile.TemporaryDirectory() as folder:
        run = Collective(group, directory=Path(folder) / "run")
        times = []
        rounds_left = run.rounds(rounds + 2)
        for _ in range(rounds + 2):
            begin = time.perf_counter()
            record = next(rounds_left)
            times.append(time.perf_counter() - begin)
            assert record.outcome == "accepted"
        run.close()
    return 1e3 * statistics.median(times[2:])


def main() -> None:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for synchronous, rounds in (("NORMAL", ROUNDS), ("FULL", ROUNDS // 8)):
            runs = []
            for repeat in range(REPEATS):
                path = Path(folder) / f"{synchronous}-{repeat}.db"
                runs.append(statistics.median(fill(path, synchronous, rounds)))
            us = round(1e6 * statistics.median(runs), 1)
            rows.append({"what": "call", "synchronous": synchronous, "us": us})
        path = Path(folder) / "NORMAL-0.db"
        speeds = [replay(path) for _ in range(REPEATS)]
        rows.append({"what": "replay", "entries_per_s": round(statistics.median(speeds))})
    for learners_count, weights_bytes, rounds, target in GROUPS:
        medians = [round_ms(learners_count, weights_bytes, rounds) for _ in range(REPEATS)]
        rows.append(
            {
                "what": "round",
                "learners": learners_count,
                "weights_bytes": weights_bytes,
                "ms": round(statistics.median(medians), 2),
                "target_ms": target,
            }
        )
    write("ledger", rows)
    put("ledger", table(("what", "measured", "target"), [told(row) for row in rows]))


def told(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return a row as people read it."""
    if row["what"] == "call":
        target = "at most 150 us" if row["synchronous"] == "NORMAL" else ""
        return (f"a call, synchronous = {row['synchronous']}", f"{row['us']} us", target)
    if row["what"] == "replay":
        speed = f"{row['entries_per_s']:,} entries/s"
        return ("replay, every signature checked", speed, "at least 7,000 entries/s")
    what = f"a round of {row['learners']} x {row['weights_bytes']:,} bytes"
    target = row["target_ms"]
    return (what, f"{row['ms']} ms", "" if target is None else f"at most {target:g} ms")


if __name__ == "__main__":
    main()
