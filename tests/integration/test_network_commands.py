"""The commands of a network, as people and scripts run them: real processes, a real server."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from tests.evm import anvil, require_web3
from typer.testing import CliRunner

from colearn.cli.app import app
from colearn.core import calls
from colearn.core.bindings import ZERO
from colearn.identity import load
from colearn.network import connect
from colearn.network.folder import NodeFolder
from colearn.network.invitation import read_invitation

PROGRAM = [sys.executable, "-c", "from colearn.cli import main; main()"]
EXPERIMENT = """
name = "flowers"
rounds = {rounds}
[task]
use = "colearn.tasks:iris"
split = {{ learners = 3 }}
[learner]
use = "colearn.learners:RandomForestLearner"
with = {{ trees_per_proposal = 5 }}
[phases]
propose_s = 60
vote_s = 60
early_close = false
"""


class Desk:
    """Where commands are run: a folder with keys and an experiment file."""

    def __init__(self, folder, rounds=4):
        self.folder = folder
        (folder / "experiment.toml").write_text(EXPERIMENT.format(rounds=rounds))
        self.own = {
            "COLUMNS": "200", "NO_COLOR": "1", "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }  # fmt: skip
        self.environment = {**os.environ, **self.own}

    def run(self, *words, code=0):
        """Run a command in this process: what it does is the same, and starts at once."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "path", list(sys.path))
            for name, value in self.own.items():
                patch.setenv(name, value)
            done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
        assert done.exit_code == code, done.stdout + done.stderr
        return done

    def json(self, *words, **settings):
        return json.loads(self.run(*words, "--json", **settings).stdout)

    def background(self, *words):
        return subprocess.Popen(
            [*PROGRAM, *map(str, words)],
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def keys(self, *names):
        return [self.json("key", "new", f"{name}.json")["address"] for name in names]

    def create(self, *words):
        document = self.json("create", "experiment.toml", "--key", "ada.json", *words)
        return document["invitation"]


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@contextmanager
def serving(desk):
    process = desk.background(
        "ledger", "serve", "ledger.db", "--create", "--port", "0", "--blobs", "blobs", "--json"
    )
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextmanager
def stopping(*processes):
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate(timeout=30)


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.slow
def test_three_learners_and_a_hosted_ledger_from_create_to_export(desk):
    ada, ben, cleo = desk.keys("ada", "ben", "cleo")
    with serving(desk) as url:
        created = desk.run(
            "create", "experiment.toml", "--ledger", url, "--key", "ada.json", "--invite", ben
        )
        link = created.stdout.splitlines()[-1]
        assert "warning: one silent member stops everything." in created.stdout
        assert link.startswith("colearn://join?ledger=http://127.0.0.1:")
        assert desk.json("invite", link, cleo, "--key", "ada.json")["invited"] == [cleo]
        for share, name in enumerate(("ada", "ben", "cleo"), start=1):
            joined = desk.run("join", link, "--key", f"{name}.json", "--share", share, "--yes")
        for said in (
            "more than 1/2 stand behind it",
            f"{ada} joined",
            f"{cleo} invited (you)",
            "3 classes: 0, 1, 2",
            "With 3 members",
        ):
            assert said in joined.stdout
        nodes = [
            desk.background("start", f"nodes/{name}", "--json") for name in ("ada", "ben", "cleo")
        ]
        with stopping(*nodes):
            watched = desk.run("watch", link, "--json")
            for node in nodes:
                out, err = node.communicate(timeout=60)
                assert (node.returncode, err) == (0, "")
        events = [json.loads(line) for line in watched.stdout.splitlines()]
        rounds = [event for event in events if event["event"] == "round"]
        assert [event["round"] for event in rounds] == [1, 2, 3, 4]
        assert {"outcome": "accepted", "members": 3}.items() <= rounds[-1].items()
        assert events[0] == json.loads(out.splitlines()[0])
        assert rounds == [
            json.loads(line)
            for line in out.splitlines()
            if '"round"' in line and '"outcome"' in line
        ]
        status = desk.json("status", "nodes/ben")
        assert (status["running"], status["phase"], status["counted"]) == (False, "over", 4)
        audit = desk.run("audit", "nodes/cleo", "--bytecode")
        assert "Nothing was found" in audit.stdout
        assert "given head  passed" in audit.stdout
        assert desk.json("export", "nodes/cleo", "model.onnx")["metadata"]["colearn.round"] == str(
            rounds[-1]["round"]
        )
        card = (desk.folder / "model.md").read_text()
        assert cleo in card
        assert "SIMULATED" not in card
    assert "Traceback" not in desk.run("audit", "nodes/cleo", code=7).stderr


@pytest.mark.slow
def test_a_node_is_stopped_and_goes_on_and_its_health_is_seen(tmp_path):
    desk = Desk(tmp_path, rounds=100000)
    _, ben = desk.keys("ada", "ben")
    link = desk.create("--ledger", "ledger.db", "--invite", ben)
    for share, name in ((1, "ada"), (2, "ben")):
        desk.run("join", link, "--key", f"{name}.json", "--share", share, "--yes", "--name", name)
    nodes = [desk.background("start", f"nodes/{name}") for name in ("ada", "ben")]
    with stopping(*nodes):
        folder = NodeFolder.open(tmp_path / "nodes" / "ada")
        wait_for(lambda: folder.state() is not None)
        wait_for(lambda: desk.json("status", "nodes/ada").get("round", 0) > 1)
        status = desk.json("status", "nodes/ada")
        assert (status["running"], status["state"], status["ok"]) == (True, "running", True)
        again = desk.run("start", "nodes/ada", code=2)
        assert "Another process runs the node" in again.stderr
        assert (
            "Another process"
            in desk.run(
                "join", link, "--key", "ada.json", "--yes", "-d", "nodes/ada", code=2
            ).stderr
        )
        assert desk.json("stop", "nodes/ada") == {"node": "nodes/ada", "stopped": True}
        out, err = nodes[0].communicate(timeout=30)
        assert (nodes[0].returncode, err) == (0, "")
        assert "Started with 2 members." in out
        assert desk.json("stop", "nodes/ada")["stopped"] is False
        assert folder.state() is None
        number = folder.invitation.experiment
        with folder.ledger() as ledger:
            ledger.sync()
            before = ledger.experiment(number).round.number
        nodes.append(desk.background("start", "nodes/ada"))
        wait_for(lambda: desk.json("status", "nodes/ben")["round"] > before + 1)
        assert "more members must" in desk.run("finish", "nodes/ada").stdout
        assert "ends after the open round" in desk.run("finish", "nodes/ben").stdout
        for node in nodes[1:]:
            node.communicate(timeout=60)
            assert node.returncode == 0
    assert desk.json("status", "nodes/ben")["phase"] == "over"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_members_that_keep_the_weights_themselves(desk):
    _, ben = desk.keys("ada", "ben")
    places = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    words = ("--ledger", "ledger.db", "--store", "peers", "--invite", ben)
    link = desk.create(*words, "--peer", f"http://{places[0]}")
    assert link.endswith(f"&store=peers&peer=http://{places[0]}")
    silent = desk.run("join", link, "--key", "ada.json", "--yes", code=2)
    assert "--listen HOST:PORT" in silent.stderr
    join = ("join", link, "--yes", "--key")
    desk.run(*join, "ada.json", "--share", "1", "--name", "ada", "--listen", places[0])
    (desk.folder / "cache" / "colearn" / "founded").rename(desk.folder / "taken-away")
    serving_ben = ("--share", "2", "--name", "ben", "--listen", places[1])
    alone = desk.run(*join, "ben.json", *serving_ben, code=8)
    assert not (desk.folder / "nodes" / "ben").exists()
    assert places[0] in alone.stderr
    nodes = [desk.background("start", "nodes/ada")]
    with stopping(*nodes):
        folder = NodeFolder.open(desk.folder / "nodes" / "ada")
        wait_for(lambda: folder.state() is not None)
        wait_for(lambda: _is_open(places[0]))
        desk.run(*join, "ben.json", *serving_ben)
        nodes.append(desk.background("start", "nodes/ben", "--json"))
        for node in nodes:
            out, err = node.communicate(timeout=60)
            assert (node.returncode, err) == (0, "")
    rounds = [json.loads(line) for line in out.splitlines() if '"outcome"' in line]
    assert next(each["outcome"] for each in rounds) == "accepted"


def _is_open(place):
    host, _, port = place.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def answer(desk, text, *words):
    """Run a command on a terminal of its own, and type one line."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *words], cwd=desk.folder, env=desk.environment, stdin=slave,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(slave)
    os.write(master, text.encode())
    try:
        out, err = process.communicate(timeout=60)
    finally:
        os.close(master)
    return process.returncode, out, err


def test_joining_asks_before_it_signs_and_a_no_leaves_nothing(desk):
    _, ben = desk.keys("ada", "ben")
    link = desk.create("--ledger", "ledger.db", "--invite", ben)
    words = ("join", link, "--key", "ben.json", "--name", "ben")
    refused = desk.run(*words, code=2)
    assert "nothing was signed" in refused.stderr
    assert "privacy" in refused.stdout
    assert "--json asks no question" in desk.run(*words, "--json", code=2).stderr
    for said in ("n\n", "\n"):
        code, out, _ = answer(desk, said, *words)
        assert code == 1
        assert "Sign and join?" in out
        assert "Nothing was signed." in out
    assert not (desk.folder / "nodes").exists()
    view = connect.open_ledger(read_invitation(link))
    view.sync()
    assert view.experiment(1).roster.addresses == ()
    code, out, err = answer(desk, "y\n", *words)
    assert code == 0, err
    assert "Joined." in out
    view.sync()
    assert view.experiment(1).roster.addresses == (ben.lower(),)
    view.close()
    assert "You had joined before." in desk.run(*words, "--yes").stdout


def test_refusals_name_what_is_wrong_and_leave_no_folder(desk):
    _, ben = desk.keys("ada", "ben")
    desk.json("key", "new", "eve.json")
    link = desk.create("--ledger", "ledger.db", "--invite", ben)
    (desk.folder / "mine.py").write_text(
        "from colearn.schema import Schema\nfrom colearn.tasks import Task, iris\n"
        "def wide():\n    return Task('w', iris().X[:, :3], iris().y, Schema.of(3, [0, 1, 2]))\n"
        "def renamed():\n    return Task('r', iris().X, iris().y, Schema.of(['a', 'b', 'c', 'd'], [0, 1, 2]))\n"
    )
    by_ben = ("join", link, "--key", "ben.json", "--yes")
    for words, said in (
        (("join", link, "--key", "eve.json", "--yes"), "is not invited"),
        (("join", link.replace("&model=", "&model=0"), "--key", "ben.json"), "'model' must be a digest"),
        ((*by_ben, "-o", "vote.threshold=1"), "[vote.threshold] was agreed by all members"),
        ((*by_ben, "-o", "task.use=mine:renamed"), "expected column 'sepal length (cm)' at position 0, got 'a'"),
        ((*by_ben, "-o", "task.use=mine:wide"), "expected 4 features, got 3"),
        ((*by_ben, "--learner", "mine:none"), "[learner.use] cannot find 'mine:none'"),
        ((*by_ben, "--share", "9"), "shares 1 to 3"),
        ((*by_ben, "--name", "../x"), "A node's name"),
        ((*by_ben, "--listen", "nowhere"), "[listen]"),
        ((*by_ben, "--key", "none.json"), "There is no key file"),
        (("create", "--key", "ada.json"), "--ledger"),
        (("create", "--key", "ada.json", "--ledger", "ftp://x"), "not the address of a ledger"),
        (("create", "--key", "ada.json", "--ledger", "ledger.db", "--invite", "0x12"), "An address is 0x"),
        (("create", "--key", "ada.json", "--ledger", "ledger.db", "-o", "phases.vote_s=3"), "[phases.vote_s] must be at least 20 s"),
        (("create", "--key", "ada.json", "--ledger", "ledger.db", "--store", "peers"), "--peer"),
        (("create", "--key", "eve.json", "--ledger", "ledger.db", "--experiment", "1"), "was created by"),
        (("invite", link, ben, "--key", "eve.json"), "can invite"),
        (("start",), "There is no node in nodes/"),
        (("start", "nowhere"), "There is no node in nowhere"),
        (("start", link, "--key", "ben.json"), "Another key created"),
        (("start", "x", "--now", "--wait", "3"), "not both"),
        (("status", "."), "There is no node in ."),
        (("watch", "colearn://x"), "An invitation begins with"),
    ):  # fmt: skip
        refused = desk.run(*words, code=2)
        assert said in refused.stderr, refused.stderr
    assert not (desk.folder / "nodes").exists()
    view = connect.open_ledger(read_invitation(link))
    assert view.sync() == 2
    view.close()


def test_a_creator_without_a_seat_starts_with_who_has_joined(desk):
    _, ben = desk.keys("ada", "ben")
    cleo, dan = desk.keys("cleo", "dan")
    link = desk.create(
        "--ledger", "ledger.db", "--no-seat", "--invite", ben, "--invite", cleo, "--invite", dan
    )
    again = desk.create("--ledger", "ledger.db", "--no-seat", "--experiment", "1")
    assert again == link
    waiting = desk.background("start", link, "--key", "ada.json", "--wait", "2", "--json")
    with stopping(waiting):
        for name in ("ben", "cleo"):
            desk.run("join", link, "--key", f"{name}.json", "--yes", "--name", name)
        out, _ = waiting.communicate(timeout=60)
    assert json.loads(out) == {"experiment": 1, "members": 2}
    late = desk.run("join", link, "--key", "dan.json", "--yes", code=2)
    assert "has started without" in late.stderr


def test_own_rows_are_joined_with_and_the_summary_is_one_document(desk):
    _, ben = desk.keys("ada", "ben")
    link = desk.create("--ledger", "ledger.db", "--invite", ben)
    document = desk.json(
        "join", link, "--key", "ben.json", "--yes", "-o", "vote.share=0.2", "-o", "seed=5"
    )
    assert document["node"] == f"nodes/learner-{ben[2:8].lower()}"
    assert (document["seat"], document["joined"], document["joined_before"]) == (0, [], False)
    folder = NodeFolder.open(desk.folder / document["node"])
    prepared = folder.plan()
    assert prepared.own_seed == 5
    assert len(prepared.division.sites[0].vote) == 21
    assert folder.make_learner().mli_get_current_weights().weights is not None


def test_a_ledger_in_the_place_of_another_is_noticed(desk):
    _, ben = desk.keys("ada", "ben")
    link = desk.create("--ledger", "ledger.db", "--invite", ben)
    desk.run("join", link, "--key", "ben.json", "--yes", "--name", "ben")
    (desk.folder / "ledger.db").unlink()
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (desk.folder / name).unlink(missing_ok=True)
    desk.create("--ledger", "ledger.db", "--invite", ben)
    for words, code in (
        (("status",), 7),
        (("watch",), 7),
        (("finish",), 7),
        (("audit", "nodes/ben"), 2),
    ):
        assert "genesis" in desk.run(*words, code=code).stderr


def test_ctrl_c_ends_watching(desk):
    _, ben = desk.keys("ada", "ben")
    link = desk.create("--ledger", "ledger.db", "--invite", ben)
    process = desk.background("watch", link)
    with stopping(process):
        assert process.stdout.readline().endswith("created the experiment\n")
        key = load(desk.folder / "ben.json")
        invitation = read_invitation(link)
        with connect.open_ledger(invitation) as view:
            view.sync()
            view.submit(key, calls.Join(1, invitation.specification, invitation.model, ZERO))
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[-1].endswith("joined, seat 0\n")
        process.send_signal(signal.SIGINT)
        process.wait(20)
        assert process.returncode == 130


@pytest.mark.slow
def test_everybody_shows_a_certificate_where_the_ledger_asks_for_one(desk, tmp_path):
    _, ben = desk.keys("ada", "ben")
    certificates(tmp_path)
    own = ("--ca-file", "ca.pem", "--tls-cert", "one.pem", "--tls-key", "one.key")
    server = desk.background(
        "ledger", "serve", "ledger.db", "--create", "--port", "0", "--blobs", "blobs", "--json",
        "--certfile", "one.pem", "--keyfile", "one.key", "--client-ca", "ca.pem",
    )  # fmt: skip
    with stopping(server):
        url = json.loads(server.stdout.readline())["url"]
        words = ("create", "experiment.toml", "--key", "ada.json", "--ledger", url, "--invite", ben)
        desk.run(*words, "--ca-file", "ca.pem", code=7)
        link = json.loads(desk.run(*words, *own, "--json").stdout)["invitation"]
        for share, name in enumerate(("ada", "ben"), start=1):
            join = ("join", link, "--yes", "--key", f"{name}.json", "--share", share)
            desk.run(*join, "--name", name, *own)
        nodes = [desk.background("start", f"nodes/{name}") for name in ("ada", "ben")]
        with stopping(*nodes):
            for node in nodes:
                _, err = node.communicate(timeout=60)
                assert (node.returncode, err) == (0, "")
        assert desk.json("status", "nodes/ben")["phase"] == "over"
        assert "Nothing was found" in desk.run("audit", "nodes/ben").stdout
        assert "is over" in desk.run("watch", link, *own).stdout
        desk.run("watch", link, code=7)


def certificates(folder):
    """An authority, and a certificate by it that serves for a server and for clients."""

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca"
    )
    openssl("req", *new, "-keyout", "one.key", "-out", "one.csr", "-subj", "/CN=one")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(
        "x509", "-req", "-in", "one.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
        "-out", "one.pem", "-extfile", "names", "-CAcreateserial",
    )  # fmt: skip


@pytest.mark.slow
def test_a_contract_on_a_chain_and_one_member_with_a_chain_node_of_its_own(desk):
    require_web3()
    from colearn.ledger.evm import deploy

    _, ben = desk.keys("ada", "ben")
    keys = [load(desk.folder / f"{name}.json") for name in ("ada", "ben")]
    with anvil() as chain:
        chain.fund(*keys)
        url = f"{chain.url}/{deploy(chain.url, keys[0], 5)}"
        words = ("create", "experiment.toml", "--key", "ada.json", "--ledger", url)
        assert "A contract keeps no weights" in desk.run(*words, code=2).stderr
        link = desk.create("--ledger", url, "--store", "directory:blobs", "--invite", ben)
        assert "&genesis=" not in link
        other = url.replace("127.0.0.1", "localhost")
        wrong = other.replace("/0x", "/0x" + "1" * 40 + "?/0x")
        joining = ("join", link, "--yes", "--key")
        desk.run(*joining, "ada.json", "--share", "1", "--name", "ada")
        assert "contract" in desk.run(*joining, "ben.json", "--node-url", wrong, code=2).stderr
        desk.run(*joining, "ben.json", "--share", "2", "--name", "ben", "--node-url", other)
        nodes = [desk.background("start", f"nodes/{name}") for name in ("ada", "ben")]
        with stopping(*nodes):
            for node in nodes:
                _, err = node.communicate(timeout=90)
                assert (node.returncode, err) == (0, "")
        assert "Nothing was found" in desk.run("audit", "nodes/ben").stdout
        facts = desk.json("export", "nodes/ben", "model.onnx")["metadata"]
        assert facts["colearn.experiment_id"].startswith("eip155:31337:0x")


@pytest.mark.slow
def test_the_demo_of_processes_ends_with_the_model_of_the_demo_in_one_process(desk):
    apart = desk.json("demo", "--task", "iris", "--processes", "--directory", "apart")
    together = desk.json("demo", "--task", "iris", "--directory", "together")
    assert apart["model"] == together["model"]
    assert apart["comparison"] == together["comparison"]
    assert (apart["rounds"], apart["processes"]) == (20, 11)
    folder = desk.folder / "apart"
    assert {each.name for each in folder.iterdir()} == {
        "blobs", "comparison.json", "keys", "ledger.db", "logs", "nodes",
    }  # fmt: skip
    assert "Nothing was found" in desk.run("audit", "apart", "--head", apart["head"]).stdout
    for node in folder.glob("nodes/*"):
        assert not NodeFolder.open(node).is_running()
    refused = desk.run("demo", "--processes", "--directory", "apart", code=2)
    assert "apart is not empty" in refused.stderr
