import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from colearn import errors
from colearn.cli.exits import AUDIT_FINDINGS, INTERRUPTED, exit_code
from colearn.experiment import ExperimentConfig, load_config, parse_config, plan

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    for page in PAGES:
        found = re.findall(
            rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE
        )
        for number, block in enumerate(found):
            yield pytest.param(block, id=f"{page.name}-{number}")


@pytest.mark.parametrize("block", [*blocks("python")])
def test_python_examples_run(block):
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


def test_the_readme_example_learns():
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(run.stdout.splitlines()[-1].split()[-1]) > 0.85


def test_the_guide_shows_every_key_with_its_default():
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/guide.md").read_text(), re.DOTALL)
    document = tomllib.loads(block)
    shown = parse_config(document)
    expected = ExperimentConfig().model_dump(by_alias=True)
    got = shown.model_dump(by_alias=True)
    got["learner"]["with"] = {}
    assert got == expected
    assert set(document) | {"patience", "target"} == set(ExperimentConfig.model_fields)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda p: p.name)
def test_example_experiments_are_valid(path):
    assert plan(load_config(path)).group()


def test_every_error_and_its_exit_code_is_documented():
    text = (ROOT / "docs" / "errors.md").read_text()
    for name in errors.__all__:
        assert name in text
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, AUDIT_FINDINGS, INTERRUPTED):
        assert re.search(rf"\|\s*`?{code}`?\s*\|", text), code
    assert exit_code(errors.ConfigError("x")) == 2
    assert exit_code(errors.MissingExtraError("x", extra="y")) == 3
    assert exit_code(errors.LearnerError("x", learner="y")) == 4
    assert exit_code(errors.WeightsError("x")) == 5
    assert exit_code(errors.LocalProtocolError("x")) == 6
    assert exit_code(errors.LedgerUnavailableError("x")) == 7
    assert exit_code(errors.BlobNotFoundError("x")) == 8
    assert exit_code(errors.PrivacyError("x")) == 10
    assert exit_code(errors.ColearnError("x")) == 1


PUBLIC = [
    "audit", "core", "core.calls", "core.events", "crypto", "driver", "errors", "experiment",
    "identity", "interface", "learners", "ledger", "ledger.contract", "ledger.evm",
    "ledger.hosted", "ledger.serving", "network", "network.folder", "network.invitation",
    "network.service", "node", "preprocess", "privacy", "relay", "schema", "store", "store.holding", "store.hosted",
    "store.objects", "store.peers", "tasks", "testing", "weights", "worker",
]  # fmt: skip


def test_public_modules_are_documented():
    shown = re.findall(
        r"^::: colearn\.(.*)$", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE
    )
    assert set(PUBLIC) <= set(shown)
    packages = {path.parent.name for path in (ROOT / "src" / "colearn").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "src" / "colearn").glob("[a-z]*.py")}
    assert packages | modules == {name.partition(".")[0] for name in PUBLIC} | {
        "cli", "asking", "plots", "shallow", "web",
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "adr").glob("*.md")), ids=lambda p: p.name)
def test_decisions_follow_the_template(path):
    text = path.read_text()
    number = int(path.name[:4])
    assert text.startswith(f"# ADR {number}: ")
    assert text.count("\n") < 80
    sections = [
        each for each in re.findall(r"^## (.*)$", text, re.MULTILINE) if each != "Not taken"
    ]
    assert sections == ["Status", "Context", "Decision", "Consequences", "Evidence"]
