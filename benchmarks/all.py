"""Run every benchmark, one after the other."""

from __future__ import annotations

from benchmarks import (
    blobs,
    driver,
    gas,
    importing,
    learners,
    ledger,
    private_learning,
    private_rounds,
    private_training,
    private_votes,
    proposal_attacks,
    results,
)

TIMED = (driver, importing, ledger, blobs, private_training)
LEARNED = (
    gas,
    results,
    learners,
    private_votes,
    private_rounds,
    private_learning,
    proposal_attacks,
)


def main() -> None:
    for benchmark in (*TIMED, *LEARNED):
        print(f"== {benchmark.__name__}")
        benchmark.main()


if __name__ == "__main__":
    main()
