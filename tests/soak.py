"""Fifty nodes in a few processes for many rounds: does anything grow that should not?

``python -m tests.soak --members 50 --rounds 200`` prints what each process has after a quarter of
the rounds and towards their end: memory of its own, open files, threads.
"""

import argparse
import gc
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from colearn.core import Phase, calls
from colearn.network.folder import NodeFolder
from colearn.network.follower import Follower
from colearn.node import Node
from colearn.store import Archive
from colearn.worker import LocalWorker
from tests.nodes import ROOT, configuration, hosted, joined


def belongings():
    """Return what this process has."""
    gc.collect()
    text = Path("/proc/self/smaps_rollup").read_text()
    return {
        "kb": int(re.search(r"Anonymous:\s+(\d+)", text)[1]),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
    }


def take_part(folder, note):
    """Run one node, with its learner in this process."""
    with ExitStack() as stack:
        ledger = folder.ledger()
        stack.callback(ledger.close)
        ledger.sync()
        key, origin = folder.load_key(), folder.agreed()
        store = folder.store(key, ledger)
        stack.callback(store.close)
        archive = Archive(store.held)
        worker = LocalWorker(folder.make_learner(), archive, origin.model, name=folder.name)
        node = Node(worker, key, ledger, origin, name=folder.name, carrier=store)
        Follower(node, ledger, worker, listener=note).run(threading.Event())


def share(folders):
    """Run some nodes as threads of this process; print what it has, twice."""
    numbers = dict.fromkeys((folder.name for folder in folders), 0)

    def noting(name):
        def note(snapshot):
            numbers[name] = snapshot.experiment.round.number

        return note

    threads = [
        threading.Thread(target=take_part, args=(folder, noting(folder.name))) for folder in folders
    ]
    for thread in threads:
        thread.start()
    total = folders[0].terms().rules.rounds
    marks = [total // 4, total * 9 // 10]
    while any(thread.is_alive() for thread in threads):
        if marks and min(numbers.values()) > marks[0]:
            marks.pop(0)
            print(json.dumps(belongings()), flush=True)
        time.sleep(0.2)


def soak(folder, *, members, processes, rounds):
    """Run it; return what each process had after a quarter of the rounds and towards the end."""
    with hosted(folder, drift_s=5) as (url, _):
        config = configuration(members, rounds=rounds, phases=120, task="digits")
        network = joined(folder, url, "hosted", config)
        with network.ledger() as ledger:
            roster = ledger.experiment(1).roster.digest
            ledger.submit(network.keys[0], calls.Start(1, roster))
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.soak", "--nodes", *map(str, paths)],
                cwd=ROOT, stdout=subprocess.PIPE, text=True,
            )
            for paths in ([n.path for n in network.nodes[k::processes]] for k in range(processes))
        ]  # fmt: skip
        try:
            said = [process.communicate(timeout=3600)[0].splitlines() for process in running]
        finally:
            for process in running:
                process.kill()
                process.communicate()
        with network.ledger() as ledger:
            assert ledger.experiment(1).phase is Phase.OVER
            assert ledger.experiment(1).counted == rounds
    return [[json.loads(line) for line in lines] for lines in said]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=50)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--nodes", nargs="*", help="what one of the processes runs")
    chosen = parser.parse_args()
    if chosen.nodes:
        share([NodeFolder.open(Path(path)) for path in chosen.nodes])
        return
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="colearn-soak-") as folder:
        found = soak(
            Path(folder), members=chosen.members, processes=chosen.processes, rounds=chosen.rounds
        )  # fmt: skip
    for quarter, end in found:
        print(f"after a quarter {quarter}, towards the end {end}")
    print(f"{chosen.rounds} rounds in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
