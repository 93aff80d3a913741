"""The blocks of the tutorials run in order, and print what the page shows below them."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NEEDS = {"boosting.md": "xgboost", "pytorch.md": "torch", "keras.md": "keras"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_tutorial_runs_and_prints_what_it_shows(page, tmp_path, monkeypatch, capsys):
    needed = NEEDS.get(page.name)
    if needed and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed: pip install -c constraints.txt '.[{needed}]'")
    monkeypatch.chdir(tmp_path)
    place = {"__name__": "tutorial"}
    blocks = BLOCK.findall(page.read_text())
    assert blocks
    for language, text in blocks:
        if language == "python":
            exec(compile(text, page.name, "exec"), place)
        elif language == "text":
            assert capsys.readouterr().out == text
