"""Paired timing: A B A B ..., so that a drifting machine drifts for both."""

from __future__ import annotations

import gc
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def seconds(work: Callable[[], object], times: int) -> float:
    """Return the wall seconds of one call of `work`, as the mean of `times` calls in a row."""
    gc.collect()
    gc.disable()
    begin = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - begin) / times


def paired(
    first: Callable[[], object], second: Callable[[], object], *, times: int, pairs: int = 9
) -> dict[str, float]:
    """Return the median seconds of both, and the median over pairs of second / first."""
    first(), second()
    runs = [(seconds(first, times), seconds(second, times)) for _ in range(pairs)]
    return {
        "first_s": statistics.median(run[0] for run in runs),
        "second_s": statistics.median(run[1] for run in runs),
        "ratio": statistics.median(run[1] / run[0] for run in runs),
        "ratio_min": min(run[1] / run[0] for run in runs),
        "ratio_max": max(run[1] / run[0] for run in runs),
    }


def write(name: str, rows: Any) -> None:
    """Keep a benchmark's rows beside the benchmarks, and print them."""
    RESULTS.mkdir(exist_ok=True)
    document = {"python": platform.python_version(), "machine": platform.machine(), "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    for row in rows:
        print(json.dumps(row))
