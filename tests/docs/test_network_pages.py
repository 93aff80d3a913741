"""What the pages about several machines say is what the commands do."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.nodes import end, free_port, until

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


def answers(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


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
        until(lambda: answers(port), 30, said.read_text())
        with shell(rest, tmp_path, "ada") as (ada, told):
            until((tmp_path / "nodes/ada/node.toml").exists, 60, told.read_text())
            with (
                shell(second, tmp_path, "ben") as (ben, _),
                shell(third, tmp_path, "cleo") as (cleo, restarted),
            ):
                for process, name in ((cleo, "cleo"), (ben, "ben"), (ada, "ada")):
                    assert process.wait(300) == 0, (tmp_path / f"{name}.log").read_text()[-2000:]
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
    (score,) = re.findall(r"\| score \| ([0-9.]+) \|", (tmp_path / "model.md").read_text())
    assert float(score) > 0.93
