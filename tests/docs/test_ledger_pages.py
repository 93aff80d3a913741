"""What docs/ledger.md and docs/audit.md say is what the code does."""

import json
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer
from tests.evm import FREE, anvil, require_web3
from tests.integration.member import MODEL, SPECIFICATION, TERMS, Echo
from tests.logs import make_log, served

from colearn.audit import CHECKS, audit, open_source
from colearn.cli.app import app
from colearn.core import Phase, Rules, calls
from colearn.core.calls import CALLS
from colearn.core.events import EVENTS
from colearn.core.transitions import FOLLOWS, POSSIBLE
from colearn.identity import Key, save
from colearn.ledger.hosted import HostedLedger
from colearn.node import Node, Origin
from colearn.store import Archive, MemoryStore
from colearn.worker import LocalWorker

ROOT = Path(__file__).parents[2]
LEDGER = (ROOT / "docs" / "ledger.md").read_text()
AUDIT = (ROOT / "docs" / "audit.md").read_text()
RUNNING = {Phase.CONTRIBUTE, Phase.PROPOSE, Phase.VOTE, Phase.REVEAL}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def table(text, heading):
    """Return the rows of the table with this heading, each a list of its cells."""
    lines = text.partition(heading)[2].splitlines()[1:]
    rows = [line.strip("|").split("|") for line in lines[: lines.index("")]]
    return [[cell.strip() for cell in row] for row in rows]


def block(text, language, word):
    (found,) = [
        each for each in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if word in each
    ]
    return found


def test_the_table_of_phases_is_the_transition_table():
    rows = table(LEDGER, "| Phase | Calls | What may follow |\n")
    assert [row[0] for row in rows] == [phase.name for phase in Phase]
    everywhere = {name for name, kind in CALLS.items() if POSSIBLE[kind] >= RUNNING}
    for name, own, follows in rows:
        phase = Phase[name]
        possible = {call for call, kind in CALLS.items() if phase in POSSIBLE[kind]}
        assert set(re.findall(r"`(\w+)`", own)) == {
            call for call in possible if call not in everywhere or phase is Phase.SETUP
        }
        assert {Phase[each] for each in follows.split()} == FOLLOWS[phase]
    told = re.search(r"In the four phases between SETUP and OVER (.*?) are\npossible too", LEDGER)
    assert set(re.findall(r"`(\w+)`", told[1])) == everywhere
    assert POSSIBLE[calls.Wake] == RUNNING | {Phase.OVER}


def test_every_call_and_every_event_is_in_the_table():
    rows = table(LEDGER, "| Call | Who | What it makes known |\n")
    assert [row[0].strip("`") for row in rows] == list(CALLS)
    named = {name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row[2])}
    assert named | {"Opened", "Closed"} == set(EVENTS)


def test_every_check_has_its_row():
    rows = table(AUDIT, "| | Check | What it proves | What it cannot |\n")
    assert [(int(row[0]), row[1]) for row in rows] == [
        (number, name) for number, (name, _) in CHECKS.items()
    ]


def test_the_gas_is_what_the_benchmark_wrote():
    found = json.loads((ROOT / "benchmarks" / "results" / "gas.json").read_text())["rows"]
    gas = {(row["what"], row["members"], row.get("candidates")): row["gas"] for row in found}
    names = {
        "open votes": ("round", None),
        "open votes, relayed": ("relayed round", None),
        "blind votes": ("blind round", None),
        "a council, 1 candidate": ("council round", 1),
        "a council, 8 candidates": ("council round", 8),
    }
    rows = table(LEDGER, "| a round of | 5 | 20 | 100 |\n")
    assert [row[0] for row in rows] == list(names)
    for name, *cells in rows:
        what, candidates = names[name]
        for size, cell in zip((5, 20, 100), cells, strict=True):
            expected = gas.get((what, size, candidates))
            assert cell == ("" if expected is None else f"{round(expected / 1000):,}"), name
    said = re.search(
        r"One open vote of 5 costs (\d+) thousand, the one that closes the round (\d+), `propose` "
        r"(\d+), `advance` (\d+)\..*?deployment costs ([\d,]+),",
        LEDGER,
        re.DOTALL,
    )
    each = [("vote", 5), ("closing vote", 5), ("propose", 5), ("advance", 5), ("deployment", 0)]
    thousands = [int(number.replace(",", "")) for number in said.groups()]
    assert thousands == [round(gas[(*key, None)] / 1000) for key in each]
    example = block(LEDGER, "python", "GWEI")
    assert f"{gas['round', 5, None]:_}" in example
    assert f"{gas['relayed round', 20, None]:_}" in example


def commands():
    for page in PAGES:
        for line in re.findall(r"^\$ (colearn .*)$", page.read_text(), re.MULTILINE):
            yield pytest.param(line, id=f"{page.name}: {line[:40]}")


@pytest.mark.parametrize("line", [*commands()])
def test_every_command_of_the_docs_is_one(line):
    _, *words = shlex.split(line, comments=True)
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known


def test_nodes_take_part_as_the_page_says(tmp_path):
    """Four members, each with a view of its own of a hosted ledger, and one store."""
    place = {}
    exec(block(LEDGER, "python", "def take_part"), place)
    rules = Rules(propose_s=20, vote_s=20, rounds=4)
    keys = [Key.from_seed(7, f"member-{number}") for number in range(4)]
    store = MemoryStore()
    Archive(store).put(MODEL)
    store.put(TERMS)
    origin = Origin(SPECIFICATION, MODEL.digest)
    path = make_log(tmp_path / "ledger.db", drift_s=5)
    with served(path) as serving:

        def view():
            return HostedLedger(serving.url, expected_genesis=serving.genesis.digest)

        def member(number):
            with view() as ledger:
                node = Node(
                    LocalWorker(Echo(number), Archive(store), origin.model),
                    keys[number],
                    ledger,
                    origin,
                )
                return place["take_part"](node, ledger)

        with view() as ledger:
            addresses = tuple(key.address for key in keys)
            ledger.submit(keys[0], calls.Create(SPECIFICATION, MODEL.digest, rules.to_word(), ""))
            ledger.submit(keys[0], calls.Invite(1, addresses))
            with ThreadPoolExecutor(len(keys)) as pool:
                models = [pool.submit(member, number) for number in range(len(keys))]
                while len(ledger.experiment(1).roster.addresses) < len(keys):
                    ledger.wait(5)
                ledger.submit(keys[0], calls.Start(1, ledger.experiment(1).roster.digest))
                ended = {each.result(60) for each in models}
            ledger.sync()
            assert ended == {ledger.experiment(1).model}
            assert ledger.experiment(1).counted == 4


def test_the_contract_is_deployed_as_the_page_says(tmp_path, capsys):
    require_web3()
    code = block(LEDGER, "py", "deploy(")
    save(Key.generate(), tmp_path / "key.json", None)
    with anvil(*FREE) as chain:
        code = code.replace("http://127.0.0.1:8545", chain.rpc)
        exec(code.replace("key.json", str(tmp_path / "key.json")), {})
    assert re.fullmatch(
        r"evm\+http://127.0.0.1:\d+/0x[0-9A-Fa-f]{40}@1 2\n", capsys.readouterr().out
    )


def shown_numbers(page):
    """Return the details of the checks in an example of the audit page."""
    return re.findall(r"^[ \d]\d  (\w+) +(?:passed|failed)  (.*)$", page, re.MULTILINE)


def test_the_audits_of_the_page_are_those_of_the_demo(tmp_path, monkeypatch):
    """The same run, the same bit, and all but the hashes is what the page shows."""
    monkeypatch.chdir(tmp_path)
    colearn = [sys.executable, "-c", "from colearn.cli import main; main()"]
    subprocess.run(
        [*colearn, "demo", "-d", "runs/flipped", "--json"], check=True, capture_output=True
    )
    whole = audit(open_source("runs/flipped"))
    assert whole.passed
    assert [(each.name, each.detail) for each in whole.checks] == shown_numbers(
        block(AUDIT, "text", "runs/demo-1 · embedded")
    )
    exec(block(AUDIT, "py", "sqlite3"), {})
    flipped = audit(open_source("runs/flipped"))
    page = block(AUDIT, "text", "runs/flipped · embedded")
    assert [(each.name, each.detail) for each in flipped.checks] == shown_numbers(page)
    findings = [(check.number, each) for check in flipped.checks for each in check.findings]
    assert [(number, each.entry) for number, each in findings] == [(1, 60), (2, 60)]
    for number, each in findings:
        said = f"check {number} ({CHECKS[number][0]}), entry {each.entry}, rule {each.rule}: "
        assert said in page
        assert f"it proves that {CHECKS[number][1]}\n" in page
    done = subprocess.run([*colearn, "audit", "runs/flipped"], check=False, capture_output=True)
    assert done.returncode == 9
