import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import colearn

SRC = Path(colearn.__file__).parent
PURE = {
    "__future__", "collections", "dataclasses", "decimal", "enum", "fractions", "functools",
    "hashlib", "itertools", "json", "math", "operator", "types", "typing",
}  # fmt: skip


def imported_by(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize(
    "path", [*sorted((SRC / "core").glob("*.py")), SRC / "errors.py", SRC / "shallow.py"]
)
def test_core_and_errors_stand_on_plain_values_alone(path):
    for name in imported_by(path):
        assert name.split(".")[0] in PURE or name.startswith(
            ("colearn.core", "colearn.errors", "colearn.crypto", "colearn.shallow")
        )


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("import colearn", {"numpy", "pydantic", "sklearn", "rich", "typer", "matplotlib"}),
        (
            "import colearn.driver, colearn.experiment, colearn.tasks, colearn.learners",
            {
                "sklearn",
                "scipy",
                "rich",
                "typer",
                "matplotlib",
                "onnx",
                "onnxruntime",
                "torch",
                "keras",
                "xgboost",
                "lightgbm",
                "transformers",
                "peft",
            },
        ),
        ("import colearn.cli.app", {"numpy", "pydantic", "sklearn", "matplotlib"}),
    ],
)
def test_no_framework_is_loaded_by_importing(code, forbidden):
    script = f"{code}; import sys; print(*[m for m in {sorted(forbidden)!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_public_names_exist_and_are_few():
    assert len(colearn.__all__) <= 25
    assert sorted(colearn.__all__, key=str.lower) == sorted(colearn.__all__, key=str.lower)
    for name in colearn.__all__:
        assert getattr(colearn, name) is not None
    assert colearn.__version__
    with pytest.raises(AttributeError, match="nothing"):
        _ = colearn.nothing


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: path.name)
def test_files_are_short_and_open_nothing_that_runs_code(path):
    text = path.read_text()
    assert text.count("\n") <= 400
    assert not re.search(r"^\s*(import|from) (pickle|joblib|dill|marshal)\b", text, re.MULTILINE)
    assert not re.search(r"(?<![.\w])(eval|exec)\(|torch\.load", text)
    assert not re.search(r"(?<!\w)print\(", text) or path.parent.name == "cli"
