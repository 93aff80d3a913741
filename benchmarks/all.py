"""Run every benchmark, one after the other."""

from __future__ import annotations

from benchmarks import blobs, driver, gas, importing, learners, ledger, results


def main() -> None:
    for benchmark in (driver, importing, ledger, blobs, gas, results, learners):
        print(f"== {benchmark.__name__}")
        benchmark.main()


if __name__ == "__main__":
    main()
