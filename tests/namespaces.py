"""Four members, each in a network of its own, one of them cut off: ``unshare --net python -m ...``.

The process itself is the place in the middle: it has the bridge that all are plugged into, and the
server. A member is cut off by pulling its plug, so nothing at all comes through, not even a refusal.
"""

import json
import secrets
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from colearn.audit import audit, open_source
from colearn.core import Outcome, Phase
from colearn.core.events import Closed
from tests.nodes import PROGRAM, ROOT, configuration, end, hosted, joined, log_of, until

MEMBERS, CUT = 4, 3
ROUNDS = 60
MIDDLE = "10.77.0.1"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Wires:
    """The bridge, and a network for each member."""

    def __init__(self, stack):
        self.mark = secrets.token_hex(3)
        ip("link", "set", "lo", "up")
        ip("link", "add", "name", "middle", "type", "bridge")
        ip("address", "add", f"{MIDDLE}/24", "dev", "middle")
        ip("link", "set", "middle", "up")
        for place in range(MEMBERS):
            self.add(place, stack)

    def name(self, place):
        return f"colearn-{self.mark}-{place}"

    def add(self, place, stack):
        ip("netns", "add", self.name(place))
        stack.callback(ip, "netns", "delete", self.name(place))
        ip("link", "add", "name", f"plug{place}", "type", "veth", "peer", "name", f"far{place}")
        ip("link", "set", f"plug{place}", "master", "middle")
        ip("link", "set", f"plug{place}", "up")
        ip("link", "set", f"far{place}", "netns", self.name(place))
        inside = ("-n", self.name(place))
        ip(*inside, "address", "add", f"10.77.0.{10 + place}/24", "dev", f"far{place}")
        ip(*inside, "link", "set", f"far{place}", "up")
        ip(*inside, "link", "set", "lo", "up")

    def plug(self, place, state):
        ip("link", "set", f"plug{place}", state)


def started(wires, place, node):
    log = (node.path / "log.txt").open("ab")
    with log:
        command = ["ip", "netns", "exec", wires.name(place), *PROGRAM, "start", str(node.path)]
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


def main(folder):
    with ExitStack() as stack:
        wires = Wires(stack)
        url, _ = stack.enter_context(hosted(folder, options=["--host", MIDDLE]))
        network = joined(
            folder, url, "hosted",
            configuration(MEMBERS, rounds=ROUNDS, phases=4, settings={"train_s": 0.2}),
        )  # fmt: skip
        processes = [started(wires, place, node) for place, node in enumerate(network.nodes)]
        for process in processes:
            stack.callback(end, process)
        ledger = stack.enter_context(network.ledger())
        closed = []
        ledger.listen(
            lambda happening: closed.extend(e for e in happening.events if isinstance(e, Closed))
        )

        def rounds(count):
            ledger.sync()
            return len(closed) >= count

        until(lambda: rounds(4), 60, "the first rounds")
        wires.plug(CUT, "down")
        before = len(closed)
        until(lambda: rounds(before + 8), 90, "rounds without one member")
        wires.plug(CUT, "up")
        until(
            lambda: rounds(0) and ledger.experiment(1).phase is Phase.OVER
            and not ledger.experiment(1).round.todo, 180, "the end, which all confirm",
        )  # fmt: skip
        codes = [process.wait(60) for process in processes]
        report = audit(open_source(str(folder)))
        accepted = [event for event in closed if event.result is Outcome.ACCEPTED]
        late = [e.round_number for e in accepted if e.proposer == CUT]
        print(json.dumps({
            "codes": codes, "passed": report.passed, "accepted": len(accepted),
            "of_the_cut_one_at_last": bool(late) and max(late) > before + 8,
            "said": log_of(network.nodes[CUT])[-500:], "time": time.time(),
        }))  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
