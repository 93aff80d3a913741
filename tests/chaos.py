"""Chaos: seven nodes and a server that are killed, paused, cut off and restarted at random.

``python -m tests.chaos --minutes 30`` runs it for as long as one likes, prints its seed, and ends
with an error if anything is wrong afterwards: rounds that were accepted and are gone, nodes with
different heads or models, a standstill, or an audit with a finding.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from colearn.audit import audit, open_source
from colearn.core import Outcome, Phase
from colearn.core.events import Closed
from colearn.errors import LedgerError
from colearn.network import connect
from tests.nodes import configuration, end, free_port, hosted, joined, log_of, started, until
from tests.tcp_line import PASS, REFUSE, SILENT, TcpLine

MEMBERS = 7
STANDSTILL_S = 120.0
"""Without a closed round for so long the group stands still."""

PHASE_S = 6
SETTLE_S = 150.0


class Watcher(threading.Thread):
    """Reads the ledger all the time, and keeps every accepted round that it has ever seen."""

    def __init__(self, invitation):
        super().__init__(daemon=True)
        self.invitation = invitation
        self.closed, self.failures = [], []
        self.last = time.monotonic()
        self.longest = 0.0
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            with suppress(LedgerError):
                ledger = connect.open_ledger(self.invitation)
                try:
                    ledger.listen(self.hear)
                    while not self.stopping.is_set():
                        self.read(ledger)
                finally:
                    ledger.close()
            self.stopping.wait(0.5)

    def read(self, ledger):
        try:
            ledger.wait(1.0)
        except LedgerError as error:
            if "takes back" in str(error) or "Two histories" in str(error):
                self.failures.append(str(error))
            self.stopping.wait(0.3)

    def hear(self, happening):
        for event in happening.events:
            if isinstance(event, Closed) and event.round_number > len(self.closed):
                now = time.monotonic()
                self.longest = max(self.longest, now - self.last)
                self.last = now
                self.closed.append(event)

    @property
    def accepted(self):
        return [event for event in self.closed if event.result is Outcome.ACCEPTED]


class Chaos:
    """The state of one run."""

    def __init__(self, folder, chance, stack, store="hosted"):
        self.folder, self.chance, self.stack = folder, chance, stack
        self.counts = {}
        self.blobs = store == "hosted"
        self.serving = None
        self.trace = folder / "trace"
        self.trace.mkdir()
        self.port = free_port()
        self.lines = [TcpLine(("127.0.0.1", self.port)) for _ in range(MEMBERS)]
        for line in self.lines:
            stack.callback(line.close)
        self.url, self.server = self.serve()
        config = configuration(
            MEMBERS, rounds=100_000, phases=PHASE_S, settings={"trace": str(self.trace)}
        )
        self.network = joined(
            folder, self.url, store.format(folder=folder), config,
            link_of=lambda place: f"http://127.0.0.1:{self.lines[place].port}",
        )  # fmt: skip
        self.processes = [started(node) for node in self.network.nodes]
        self.paused = {}
        self.cut_until = {}
        self.watcher = Watcher(self.network.invitation)
        self.watcher.start()

    def serve(self):
        names = [f"--public-url=http://127.0.0.1:{line.port}" for line in self.lines]
        self.serving = hosted(
            self.folder, drift_s=1, port=self.port, blobs=self.blobs,
            options=names if self.blobs else (),
        )  # fmt: skip
        return self.serving.__enter__()

    # ------------------------------------------------------------------------ the actions

    def kill_node(self):
        place = self.chance.randrange(MEMBERS)
        if self.processes[place].poll() is None and self.down() < 3:
            self.processes[place].kill()
            self.processes[place].wait()

    def kill_worker(self):
        place = self.chance.randrange(MEMBERS)
        for pid in children(self.processes[place].pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def restart_node(self):
        for place, process in enumerate(self.processes):
            if process.poll() is not None and self.chance.random() < 0.7:
                self.processes[place] = started(self.network.nodes[place])

    def pause_node(self):
        place = self.chance.randrange(MEMBERS)
        if place not in self.paused and self.processes[place].poll() is None and self.down() < 3:
            self.processes[place].send_signal(signal.SIGSTOP)
            self.paused[place] = time.monotonic() + self.chance.uniform(0.5, 15)

    def cut_lines(self):
        for place in self.chance.sample(range(MEMBERS), self.chance.randrange(1, 4)):
            self.lines[place].cut(self.chance.choice((REFUSE, SILENT)))
            self.cut_until[place] = time.monotonic() + self.chance.uniform(0.5, 15)

    def restart_server(self):
        if self.chance.random() < 0.5:
            self.server.kill()
        self.serving.__exit__(None, None, None)
        time.sleep(self.chance.uniform(0, 3))
        _, self.server = self.serve()

    def down(self):
        dead = {place for place, each in enumerate(self.processes) if each.poll() is not None}
        return len(dead | set(self.paused) | set(self.cut_until))

    def heal(self, *, everything=False):
        """Let go on what has been paused or cut off for long enough."""
        now = time.monotonic()
        for place in [p for p, when in self.paused.items() if everything or when < now]:
            del self.paused[place]
            self.processes[place].send_signal(signal.SIGCONT)
        for place in [p for p, when in self.cut_until.items() if everything or when < now]:
            del self.cut_until[place]
            self.lines[place].cut(PASS)

    # ----------------------------------------------------------------------------- the run

    def run(self, seconds):
        actions = [
            (self.kill_node, 3), (self.kill_worker, 3), (self.restart_node, 8),
            (self.pause_node, 3), (self.cut_lines, 2), (self.restart_server, 1),
        ]  # fmt: skip
        until(lambda: self.watcher.closed, 120, "the first round")
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            time.sleep(self.chance.uniform(0.2, 2.5))
            self.heal()
            (action,) = self.chance.choices(
                [each for each, _ in actions], [weight for _, weight in actions]
            )
            self.counts[action.__name__] = self.counts.get(action.__name__, 0) + 1
            action()
            quiet = time.monotonic() - self.watcher.last
            assert quiet < STANDSTILL_S, f"no round has closed for {quiet:.0f} s"

    def settle(self):
        """Heal everything, end the experiment by a motion, and wait for everybody."""
        self.heal(everything=True)
        for place, process in enumerate(self.processes):
            if process.poll() is not None:
                self.processes[place] = started(self.network.nodes[place])
        rounds = len(self.watcher.closed)
        until(lambda: len(self.watcher.closed) >= rounds + MEMBERS, SETTLE_S, "a turn of everybody")
        for node in self.network.nodes[:5]:
            finish(node)
        with self.network.ledger() as ledger:

            def over():
                ledger.sync()
                experiment = ledger.experiment(1)
                return experiment.phase is Phase.OVER and not experiment.round.todo

            until(over, SETTLE_S, "everybody to confirm the last model")
        for process in self.processes:
            process.wait(60)
        self.watcher.stopping.set()
        self.watcher.join(10)

    def check(self):
        """Raise AssertionError for anything that is not as it must be."""
        assert not self.watcher.failures, self.watcher.failures
        ended = []
        with connect.open_ledger(self.network.invitation) as ledger:
            ledger.listen(lambda happening: ended.extend(happening.events))
            ledger.sync()
            model, heads = ledger.experiment(1).model, ledger.replica.heads
            for node in self.network.nodes:
                anchor = json.loads((node.path / "anchor.json").read_text())
                assert heads[anchor["height"]] == anchor["head"], f"{node.name} has another head"
        there = {(e.round_number, e.outcome, e.model) for e in ended if isinstance(e, Closed)}
        lost = [e for e in self.watcher.closed if (e.round_number, e.outcome, e.model) not in there]
        assert not lost, f"rounds that are gone: {lost[:3]}"
        # A learner has the name of its share.
        held = {file.stem: json.loads(file.read_text()) for file in self.trace.glob("*.accepted")}
        assert len(held) == MEMBERS, f"some learner never accepted a model: {held}"
        assert set(held.values()) == {model}, f"{model} is the model, and the learners have {held}"
        codes = [process.returncode for process in self.processes]
        assert codes == [0] * MEMBERS, f"nodes ended with {codes}"
        report = audit(open_source(str(self.folder)))
        assert report.passed, [str(f) for check in report.checks for f in check.findings][:5]


def finish(node):
    subprocess.run(
        [sys.executable, "-c", "from colearn.cli import main; main()", "finish", str(node.path)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def children(pid):
    """Return the processes that a process has started."""
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def chaos(seconds, seed, folder, store="hosted"):
    """Run it; return how many rounds closed and were accepted, and what was done to them."""
    with ExitStack() as stack:
        run = Chaos(folder, random.Random(seed), stack, store)
        try:
            run.run(seconds)
            run.settle()
            run.check()
        except BaseException:
            for node in run.network.nodes:
                print(f"--- {node.name}\n{log_of(node)[-1500:]}", file=sys.stderr)
            raise
        finally:
            run.heal(everything=True)
            for process in run.processes:
                end(process)
            run.serving.__exit__(None, None, None)
    watched = run.watcher
    return len(watched.closed), len(watched.accepted), watched.longest, run.counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--store", default="hosted", help="as in an invitation")
    chosen = parser.parse_args()
    print("seed", chosen.seed, flush=True)
    with tempfile.TemporaryDirectory(prefix="colearn-chaos-") as folder:
        closed, accepted, longest, counts = chaos(
            60 * chosen.minutes, chosen.seed, Path(folder), chosen.store
        )
    print(f"{closed} rounds closed, {accepted} accepted; the longest took {longest:.1f} s")
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))


if __name__ == "__main__":
    main()
