"""Three members by the commands alone: a chain with peers, and a hosted ledger with a bucket.

The README's own three shells, at a hosted ledger with its blobs, are in tests/docs.
"""

import json
import re
import signal
import subprocess
from contextlib import ExitStack
from importlib.util import find_spec

import pytest
from tests import s3
from tests.evm import FREE, anvil, require_web3
from tests.nodes import PROGRAM, ROOT, end, free_port, hosted, listens, until

from colearn.core import Phase
from colearn.identity import load
from colearn.network.connect import open_ledger
from colearn.network.invitation import read_invitation

NAMES = ("ada", "ben", "cleo")
ROUNDS = 24
EXPERIMENT = ROOT / "examples" / "three.toml"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


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
        addresses: By name.
        link: The invitation, once there is one.
        doors: The addresses at which they serve weights to each other.
    """

    def __init__(self, folder):
        """Make the keys."""
        self.folder = folder
        self.addresses = {
            name: colearn(folder, "key", "new", f"{name}.json")["address"] for name in NAMES
        }
        self.doors = {name: f"127.0.0.1:{free_port()}" for name in NAMES}
        self.link = ""

    def create(self, ledger, *options):
        """Create the experiment as ada, and invite the others."""
        invited = [word for name in NAMES[1:] for word in ("--invite", self.addresses[name])]
        found = colearn(
            self.folder, "create", str(EXPERIMENT), "--ledger", ledger, "--key", "ada.json",
            "-o", f"rounds={ROUNDS}", *invited, *options,
        )  # fmt: skip
        assert found["warnings"] == []
        assert found["members"] == 3
        self.link = found["invitation"]

    def join(self, name, *options):
        """Join with the share of this name."""
        share = str(NAMES.index(name) + 1)
        found = colearn(
            self.folder, "join", self.link, "--key", f"{name}.json", "--name", name,
            "--share", share, "--yes", *options,
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
        assert 1 < status["round"] < ROUNDS
        return self.start(name, stack)

    def check_end(self, processes):
        """Wait for the end, and see that all agree, that an audit passes, and that it has learned."""
        for name, process in processes.items():
            assert process.wait(240) == 0, self.said(name)[-2000:]
            assert "The experiment is over." in self.said(name)
        states = [colearn(self.folder, "status", f"nodes/{name}") for name in NAMES]
        assert {state["phase"] for state in states} == {"over"}
        assert {state["counted"] for state in states} == {ROUNDS}
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
            (score,) = re.findall(r"\| score \| ([0-9.]+)", (self.folder / "model.md").read_text())
            assert float(score) > 0.85


def test_three_members_on_a_chain_serve_each_other_the_weights(tmp_path):
    require_web3()
    from colearn.ledger.evm import deploy

    group = Group(tmp_path)
    with anvil(*FREE) as chain, ExitStack() as stack:
        contract = deploy(chain.url, load(tmp_path / "ada.json", None), drift_s=2)
        first = f"http://{group.doors['ada']}"
        group.create(f"{chain.url}/{contract}", "--store", "peers", "--peer", first)
        group.join("ada", *group.serving("ada"))
        processes = {"ada": group.start("ada", stack)}
        # The others have the specification and model 0 from her node alone.
        port = int(group.doors["ada"].rpartition(":")[2])
        until(lambda: listens(port), 60, "ada serves")
        for name in NAMES[1:]:
            group.join(name, *group.serving(name))
            processes[name] = group.start(name, stack)
        processes["cleo"] = group.killed_and_restarted("cleo", processes["cleo"], stack)
        group.check_end(processes)


def test_three_members_leave_the_weights_in_a_bucket(tmp_path):
    group = Group(tmp_path)
    settings = {
        "AWS_ACCESS_KEY_ID": s3.KEY, "AWS_SECRET_ACCESS_KEY": s3.SECRET, "AWS_ALLOW_HTTP": "true",
    }  # fmt: skip
    with s3.s3_server() as server, ExitStack() as stack:
        stack.enter_context(s3.environment(**settings, AWS_ENDPOINT_URL_S3=server.endpoint))
        url, _ = stack.enter_context(hosted(tmp_path, drift_s=5, blobs=False))
        group.create(url, "--store", f"s3://{s3.BUCKET}/three")
        processes = {}
        for name in NAMES:
            group.join(name)
            processes[name] = group.start(name, stack)
        processes["ben"] = group.killed_and_restarted("ben", processes["ben"], stack)
        group.check_end(processes)
        invitation = read_invitation(group.link)
        assert server.file(f"{s3.BUCKET}/three/{invitation.model}")
        # No secret is in what is written down or said.
        for path in [*tmp_path.glob("*.log"), *tmp_path.glob("nodes/*/*.*")]:
            assert s3.SECRET not in path.read_text()
        with open_ledger(invitation) as view:
            view.sync()
            assert view.experiment(1).phase is Phase.OVER
            assert server.file(f"{s3.BUCKET}/three/{view.experiment(1).model}")
