"""The page's certificates, experiment file and own data, over TLS, by the commands alone."""

import csv
import re
import shutil
import subprocess
from contextlib import ExitStack

import pytest
from tests.evm import FREE, anvil, require_web3
from tests.nodes import ROOT, hosted, listens, until
from tests.shells import NAMES, Group, colearn

from colearn.identity import load

PAGE = (ROOT / "docs" / "network.md").read_text()
ROUNDS = 9
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def block(language, word):
    (found,) = [
        each
        for each in re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
        if word in each
    ]
    return found


@pytest.fixture
def group(tmp_path):
    """Three members with files of their own, certificates as the page makes them, and learner.py."""
    if not (shutil.which("openssl") and shutil.which("bash")):
        pytest.skip("needs openssl: apt install openssl")
    (tmp_path / "wards.toml").write_text(block("toml", "wards"))
    commands = block("text", "openssl").replace("DNS:north.example.org", "IP:127.0.0.1")
    authority, *each = commands.strip().replace("\\\n", " ").split("\n")
    script = [authority, *(line.replace("north", name) for name in NAMES for line in each)]
    subprocess.run(
        ["bash", "-ec", "\n".join(script)], cwd=tmp_path, check=True, capture_output=True
    )
    with (ROOT / "tests" / "data" / "clinic.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    for place, name in enumerate(NAMES):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows[place::3]])
    colearn(tmp_path, "new", "template", "--learner", "forest")
    shutil.copy(tmp_path / "template" / "learner.py", tmp_path)
    return Group(tmp_path, ROUNDS)


def own(name):
    """Return the options of a member's own rows; one has a learner of its own too."""
    settings = ("-o", f"task.with.path={name}.csv")
    if name == "ben":
        settings += ("--learner", "learner:make", "-o", "learner.with.trees_per_proposal=2")
    return settings


def test_own_rows_at_a_hosted_ledger_with_a_private_authority(group):
    certificate = ("--certfile", group.folder / "ada.pem", "--keyfile", group.folder / "ada.key")
    trust = ("--ca-file", "ca.pem")
    with ExitStack() as stack:
        url, _ = stack.enter_context(
            hosted(group.folder, drift_s=5, options=[*map(str, certificate)])
        )
        assert url.startswith("https://")
        group.create("wards.toml", url, "-o", "task.with.path=ada.csv", *trust)
        for name in NAMES:
            group.join(name, *own(name), *trust)
        processes = {name: group.start(name, stack) for name in NAMES}
        group.check_end(processes)


def test_own_rows_on_a_chain_among_peers_with_mutual_tls(group):
    require_web3()
    from colearn.ledger.evm import deploy

    def secured(name):
        door = group.doors[name]
        return (
            "--listen", door, "--public-url", f"https://{door}", "--tls-cert", f"{name}.pem",
            "--tls-key", f"{name}.key", "--client-ca", "ca.pem", "--ca-file", "ca.pem",
        )  # fmt: skip

    with anvil(*FREE) as chain, ExitStack() as stack:
        contract = deploy(chain.url, load(group.folder / "ada.json", None), drift_s=2)
        place = f"{chain.url}/{contract}"
        first = ("--store", "peers", "--peer", f"https://{group.doors['ada']}")
        group.create("wards.toml", place, "-o", "task.with.path=ada.csv", *first)
        group.join("ada", *own("ada"), *secured("ada"))
        processes = {"ada": group.start("ada", stack)}
        port = int(group.doors["ada"].rpartition(":")[2])
        until(lambda: listens(port), 60, "ada serves")
        for name in NAMES[1:]:
            group.join(name, *own(name), *secured(name), "--node-url", place)
            processes[name] = group.start(name, stack)
        group.check_end(processes)
