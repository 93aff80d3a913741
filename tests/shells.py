"""Members who take part by the commands alone, as people would: keys, an invitation, nodes."""

import json
import re
import signal
import subprocess
from importlib.util import find_spec

from colearn.network.invitation import read_invitation
from tests.nodes import PROGRAM, end, free_port, until

NAMES = ("ada", "ben", "cleo")


def colearn(folder, *words):
    """Run a command in a folder, and return what it printed as JSON."""
    done = subprocess.run(
        [*PROGRAM, *words, "--json"], cwd=folder, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stdout[-500:], done.stderr[-1500:])
    return json.loads(done.stdout)


class Group:
    """Three members in one folder, each with a key and, when it has joined, a node.

    Attributes:
        folder: Where they are.
        rounds: Of the experiment.
        addresses: By name.
        link: The invitation, once there is one.
        doors: The addresses at which they serve weights to each other.
    """

    def __init__(self, folder, rounds):
        """Make the keys."""
        self.folder = folder
        self.rounds = rounds
        self.addresses = {
            name: colearn(folder, "key", "new", f"{name}.json")["address"] for name in NAMES
        }
        self.doors = {name: f"127.0.0.1:{free_port()}" for name in NAMES}
        self.link = ""

    def create(self, experiment, ledger, *options):
        """Create the experiment as ada, and invite the others."""
        invited = [word for name in NAMES[1:] for word in ("--invite", self.addresses[name])]
        found = colearn(
            self.folder, "create", str(experiment), "--ledger", ledger, "--key", "ada.json",
            "-o", f"rounds={self.rounds}", *invited, *options,
        )  # fmt: skip
        assert found["warnings"] == []
        assert found["members"] == 3
        self.link = found["invitation"]

    def join(self, name, *options):
        """Join under a name."""
        found = colearn(
            self.folder, "join", self.link, "--key", f"{name}.json", "--name", name, "--yes",
            *options,
        )  # fmt: skip
        assert found["node"] == f"nodes/{name}"

    def serving(self, name):
        """Return the options of a member that serves its weights."""
        return "--listen", self.doors[name], "--public-url", f"http://{self.doors[name]}"

    def start(self, name, stack):
        """Start a node; it is ended with the stack."""
        log = stack.enter_context((self.folder / f"{name}.log").open("ab"))
        process = subprocess.Popen(
            [*PROGRAM, "start", f"nodes/{name}"], cwd=self.folder, stdout=log, stderr=log
        )
        stack.callback(end, process)
        return process

    def said(self, name):
        return (self.folder / f"{name}.log").read_text()

    def killed_and_restarted(self, name, process, stack):
        """Kill a node in the middle, and start it again once the others have gone on."""
        until(lambda: "round 3:" in self.said(name), 120, "three rounds")
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        assert "The experiment is over." not in self.said(name)
        status = colearn(self.folder, "status", f"nodes/{name}")
        assert not status["running"]
        assert 1 < status["round"] < self.rounds
        return self.start(name, stack)

    def check_end(self, processes, *, score=0.0):
        """Wait for the end, and see that all agree, that an audit passes, and that it has learned."""
        for name, process in processes.items():
            assert process.wait(240) == 0, self.said(name)[-2000:]
            assert "The experiment is over." in self.said(name)
        states = [colearn(self.folder, "status", f"nodes/{name}") for name in NAMES]
        assert {state["phase"] for state in states} == {"over"}
        assert {state["counted"] for state in states} == {self.rounds}
        (model,) = {state["model"] for state in states}
        assert model != read_invitation(self.link).model
        for name in NAMES:
            assert (self.folder / "nodes" / name / "blobs" / model).exists()
            assert not (self.folder / "nodes" / name / "forks.jsonl").exists()
            assert not (self.folder / "nodes" / name / "evidence.json").exists()
        report = colearn(self.folder, "audit", "nodes/ben")
        assert report["passed"]
        assert not [each for each in report["checks"] if each["verdict"] == "failed"]
        if find_spec("skl2onnx") is not None:
            colearn(self.folder, "export", "nodes/cleo", "model.onnx")
            (found,) = re.findall(r"\| score \| ([0-9.]+)", (self.folder / "model.md").read_text())
            assert float(found) > score
