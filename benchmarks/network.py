"""Rounds of real processes on one machine: time, memory, and how often a node wakes up.

``python -m benchmarks.network`` runs five nodes with echo learners, each a node's process and its
worker's, at a hosted ledger that is a process too. Nobody trains, so what is measured is
everything else: keys, signatures, HTTP, blobs, checks. Small weights give the time of a round;
large ones that of moving and checking them, and the memory that they take.
"""

from __future__ import annotations

import itertools
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.nodes import Network, configuration, hosted, joined, running

from benchmarks.page import put, table
from benchmarks.paired import write
from colearn.core.events import Closed
from colearn.network import connect
from colearn.network.folder import NodeFolder

MEMBERS = 5
CASES = (
    (2_500, "hosted", 60, 50.0),
    (2_500, "peers", 60, 50.0),
    (25_000_000, "hosted", 8, None),
    (25_000_000, "peers", 8, 2000.0),
)
"""Numbers (4 bytes each), store, rounds measured, and the most milliseconds a round may take."""

WARM = 3
PHASE_S = 120


class Sampler(threading.Thread):
    """Looks at the memory of processes and of those they have started, ten times a second."""

    def __init__(self, pids: list[int]) -> None:
        super().__init__(daemon=True)
        self.pids = pids
        self.peaks: dict[int, dict[str, int]] = {pid: {} for pid in pids}
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(0.1):
            for pid in self.pids:
                self.look(pid)

    def look(self, pid: int) -> None:
        found = [memory_of(each) for each in family(pid)]
        peak = self.peaks[pid]
        for name in ("anonymous", "proportional"):
            total = sum(each[name] for each in found if each)
            peak[name] = max(peak.get(name, 0), total)


def family(pid: int) -> list[int]:
    """Return a process and those that it has started."""
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = (task / "children").read_text()
            found += [int(child) for child in children.split()]
    return found


def memory_of(pid: int) -> dict[str, int]:
    """Return bytes of memory that is the process's own, and with its part of what is shared."""
    with suppress(OSError, TypeError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        kib = {name: int(re.search(rf"{name}:\s+(\d+)", text)[1]) for name in ("Anonymous", "Pss")}  # type: ignore[index]
        return {"anonymous": 1024 * kib["Anonymous"], "proportional": 1024 * kib["Pss"]}
    return {}


def wakeups(nodes: list[NodeFolder]) -> float:
    """Return how often all nodes together have looked for something to do."""
    total = 0.0
    for node in nodes:
        state = node.state()
        assert state is not None
        assert state.health is not None
        with urlopen(f"{state.health}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(r"^colearn_wakeups ([0-9.e+]+)$", text, re.MULTILINE)
        assert found is not None
        total += float(found[1])
    return total


def closings(network: Network) -> Iterator[float]:
    """Yield the time at which each round was seen to close."""
    times: list[float] = []
    with connect.open_ledger(network.invitation) as ledger:
        ledger.listen(
            lambda happening: times.extend(
                time.perf_counter() for event in happening.events if isinstance(event, Closed)
            )
        )
        seen = 0
        while True:
            ledger.wait(30)
            yield from times[seen:]
            seen = len(times)


def measure(size: int, store: str, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = ["--blob-quota", "64GB"] if store == "hosted" else []
        with hosted(folder, blobs=store == "hosted", options=options) as (url, _):
            config = configuration(
                MEMBERS, rounds=rounds + WARM + 3, phases=PHASE_S, settings={"size": size}
            )
            network = joined(folder, url, store, config)
            with running(network) as processes:
                sampler = Sampler([process.pid for process in processes])
                sampler.start()
                times = closings(network)
                for _ in range(WARM):
                    next(times)
                before = wakeups(network.nodes)
                seen = [next(times) for _ in range(rounds + 1)]
                woken = (wakeups(network.nodes) - before) / (rounds + 1) / MEMBERS
                sampler.stopping.set()
                sampler.join()
                for process in processes:
                    process.wait(120)
    steps = [later - earlier for earlier, later in itertools.pairwise(seen)]
    peak = {
        name: max(each[name] for each in sampler.peaks.values())
        for name in ("anonymous", "proportional")
    }
    return {
        "weights_bytes": 4 * size,
        "store": store,
        "rounds": rounds,
        "round_ms": round(1e3 * statistics.median(steps), 1),
        "round_ms_max": round(1e3 * max(steps), 1),
        "wakeups_a_node_and_round": round(woken, 2),
        "peak_anonymous_bytes": peak["anonymous"],
        "peak_proportional_bytes": peak["proportional"],
    }


def main() -> None:
    rows = []
    for size, store, rounds, target in CASES:
        row = {**measure(size, store, rounds), "target_ms": target}
        idle = next((each for each in rows if each["store"] == store), None)
        if idle is not None:
            for name in ("anonymous", "proportional"):
                more = row[f"peak_{name}_bytes"] - idle[f"peak_{name}_bytes"]
                row[f"{name}_of_weights"] = round(more / row["weights_bytes"], 2)
        rows.append(row)
    write("network", rows)
    put("network", table(COLUMNS, [told(row) for row in rows]))


COLUMNS = (
    "weights", "store", "a round", "slowest", "target", "wake-ups, node and round",
    "memory a node: own", "own and its part of files", "of these for weights",
)  # fmt: skip


def told(row: dict[str, Any]) -> tuple[str, ...]:
    """Return a row as people read it."""
    target = row["target_ms"]
    parts = (row.get("anonymous_of_weights"), row.get("proportional_of_weights"))
    return (
        f"{row['weights_bytes']:,} B",
        row["store"],
        f"{row['round_ms']} ms",
        f"{row['round_ms_max']} ms",
        "" if target is None else f"at most {target:g} ms",
        f"{row['wakeups_a_node_and_round']}",
        f"{row['peak_anonymous_bytes'] / 1e6:.0f} MB",
        f"{row['peak_proportional_bytes'] / 1e6:.0f} MB",
        "" if parts[0] is None else f"{parts[0]} W, {parts[1]} W",
    )


if __name__ == "__main__":
    main()
