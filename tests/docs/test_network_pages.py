"""What the pages about several machines say is what the commands do."""

import ast
import configparser
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from tests.logs import CREATE, ME, make_log
from tests.nodes import end, free_port, listens, until
from tests.shells import colearn

from colearn.cli.app import app
from colearn.core import Duty
from colearn.ledger import EmbeddedLedger
from colearn.network.follower import Snapshot
from colearn.network.logs import JsonLines, NodeContext
from colearn.network.metrics import Metrics
from colearn.network.web import health_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
KILLED = 137


def shells_of(text, heading):
    """Return the commands of each block of a section, as a reader would type them."""
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```console\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return [re.findall(r"^\$ (.*)$", block, re.MULTILINE) for block in blocks]


def program(folder):
    """Write the command `colearn` into a folder for the path."""
    folder.mkdir()
    script = folder / "colearn"
    script.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from colearn.cli import main; main()" "$@"\n'
    )
    script.chmod(0o755)
    return folder


def typed(line):
    """Return a command as a script has it: it answers yes, and knows what is killed on purpose."""
    line = line.partition("   #")[0]
    if " join " in line:
        line += " --yes"
    if line.startswith("timeout -s KILL"):
        line += f" || [ $? = {KILLED} ]"
    return line


@contextmanager
def shell(lines, folder, name):
    """Run lines in a bash of its own; what it leaves behind ends with the block."""
    script = "set -e -o pipefail\n" + "\n".join(map(typed, lines)) + "\n"
    environment = {
        **os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100",
    }  # fmt: skip
    log = folder / f"{name}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            ["bash", "-c", script], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process, log
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        end(process)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_three_shells_of_the_readme_learn_the_digits(tmp_path):
    if not (shutil.which("bash") and shutil.which("timeout")):
        pytest.skip("the README's shells need bash and timeout")
    if find_spec("skl2onnx") is None:
        pytest.skip("no onnx here: pip install 'colearn[onnx]'")
    port = free_port()
    program(tmp_path / "bin")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    first, second, third, last = shells_of(README, "Several machines")
    serve, *rest = [line.replace("8463", str(port)) for line in first]
    assert serve.endswith(" &")
    serve = serve.replace(" &", f" --port {port}")
    assert any("kill" in line.lower() for line in third)
    with shell([serve], tmp_path, "server") as (server, said):
        until(lambda: listens(port), 30, said.read_text())
        with shell(rest, tmp_path, "ada") as (ada, told):
            until((tmp_path / "nodes/ada/node.toml").exists, 60, told.read_text())
            with shell(second, tmp_path, "ben") as (ben, heard):
                # Turns go by the order of joining (P3.1), so a model is the run's only in that.
                until((tmp_path / "nodes/ben/node.toml").exists, 60, heard.read_text())
                with shell(third, tmp_path, "cleo") as (cleo, restarted):
                    for process, name in ((cleo, "cleo"), (ben, "ben"), (ada, "ada")):
                        wrote = (tmp_path / f"{name}.log").read_text
                        assert process.wait(300) == 0, wrote()[-2000:]
        text = restarted.read_text()
        assert text.count("cleo takes part") == 2
        before, _, after = text.rpartition("cleo takes part")
        assert "The experiment is over." in after
        assert "The experiment is over." not in before
        with shell(last, tmp_path, "last") as (looked, seen):
            assert looked.wait(120) == 0, seen.read_text()
        assert server.poll() is None
    shown = seen.read_text()
    assert re.search(r"^phase +over$", shown, re.MULTILINE)
    assert "round 300: " in shown
    assert "Nothing was found against this ledger." in shown
    assert "9  blobs       passed" in shown
    assert "checked" in shown
    assert (tmp_path / "model.onnx").stat().st_size > 1000
    card = (tmp_path / "model.md").read_text()
    (score,) = re.findall(r"\| score \| ([0-9.]+) \|", card)
    assert float(score) > 0.93
    together = colearn(tmp_path, "run", "examples/three.toml")
    if " missed the " not in shown:
        assert f"`{together['model']}`" in card


OPERATE = (ROOT / "docs" / "operate.md").read_text()
DEPLOY = ROOT / "examples" / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))


def cells(heading):
    """Return the first cells of the table below a heading, without its own first row."""
    part = OPERATE.partition(f"\n### {heading}\n")[2] or OPERATE.partition(f"\n## {heading}\n")[2]
    lines = re.split(r"\n##", part)[0].splitlines()
    return [line.split("|")[1].strip() for line in lines if line.startswith("| ")][1:]


def names(heading):
    return {name for cell in cells(heading) for name in re.findall(r"`(\w+)", cell)}


def test_every_field_of_health_is_told(tmp_path):
    with EmbeddedLedger(make_log(tmp_path / "ledger.db")) as ledger:
        ledger.submit(ME, CREATE)
        head, experiment = ledger.head, ledger.experiment(1)
    snapshot = Snapshot(experiment, head, 0, Duty.WAIT, False, "", 0, 0, 0.0)
    known = health_of("ada", ME.address, snapshot)
    assert names("Health") == set(known) > set(health_of("ada", ME.address, None))


def test_every_metric_is_told():
    known = re.findall(r"^# TYPE (\w+) ", Metrics(1).text().decode(), re.MULTILINE)
    assert names("Metrics") == {name for name in known if not name.endswith("_created")}


def test_every_field_of_a_log_is_told():
    record = logging.LogRecord("colearn.x", logging.WARNING, "x.py", 1, "said", (), None)
    record.peer = "0x" + "11" * 20
    context = NodeContext("ada")
    context.round_number, context.phase = 3, "vote"
    assert context.filter(record)
    assert names("Logs") == set(json.loads(JsonLines().format(record)))


def texts_of_the_program():
    """Return every piece of text that the program has, those of f-strings piece by piece."""
    for path in sorted((ROOT / "src" / "colearn").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_message_by_symptom_is_one_of_the_program():
    known = "\n".join(texts_of_the_program())
    quoted = [text for cell in cells("By symptom") for text in re.findall(r"`([^`]+)`", cell)]
    assert len(quoted) > 25
    for text in quoted:
        pieces = re.split(r"\b(?:HOST|DIGEST|KEY|N|M)\b|0x\.\.\.|\.\.\.|\(|404: |lost: |\)", text)
        for piece in (each.strip(" ,.:[]") for each in pieces):
            assert piece in known or piece in OTHERS, (text, piece)


OTHERS = {"CERTIFICATE_VERIFY_FAILED", "Not Found", "No space left on device", "create", "join"}
"""What others say, or what is no message."""


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_one_that_systemd_takes(unit, tmp_path):
    sections = configparser.ConfigParser(strict=False, interpolation=None)
    sections.optionxform = str
    sections.read_string(unit.read_text())
    assert sections.sections() == ["Unit", "Service", "Install"]
    service = sections["Service"]
    words = shlex.split(service["ExecStart"].replace("\\\n", " "))
    assert words[0] == "/opt/colearn/bin/colearn"
    command = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known
    never = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert {2, 3} <= never <= {2, 3, 4, 5, 6, 7, 8}
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here: the sections were read all the same")
    there = program(tmp_path / "bin") / "colearn"
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(words[0], str(there)))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_units_are_all_that_the_page_names():
    assert [path.name for path in UNITS] == ["colearn-ledger.service", "colearn-node.service"]
    for path in DEPLOY.iterdir():
        assert path.name in OPERATE


def test_the_container_file_has_what_a_container_needs():
    lines = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.partition(" ") for line in lines if line and line[0] not in "# "]
    order = [step for step, _, _ in steps]
    assert order[0] == "FROM"
    assert set(order) <= {
        "FROM", "COPY", "RUN", "USER", "WORKDIR", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL",
        "HEALTHCHECK", "ENTRYPOINT", "CMD",
    }  # fmt: skip
    said = {step: rest for step, _, rest in steps}
    assert json.loads(said["ENTRYPOINT"]) == ["colearn"]
    assert json.loads(said["CMD"]) == ["start"]
    assert said["USER"] == "colearn"
    (code,) = re.findall(r'python -c "(.*)"$', said["HEALTHCHECK"])
    for document, expected in (({"ok": True}, 0), ({"ok": False}, 1), ({}, 1)):
        done = subprocess.run(
            [sys.executable, "-c", code], input=json.dumps(document), text=True, check=False
        )
        assert done.returncode == expected
