import json
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from colearn.cli import new
from colearn.cli.app import app
from colearn.errors import ConfigError

ROOT = Path(__file__).parents[2]
COLEARN = [sys.executable, "-c", "from colearn.cli import main; main()"]
ADAPTERS = {"sklearn": "sklearn", "forest": "sklearn", "torch": "torch", "xgboost": "xgboost"}


def colearn(*words, cwd):
    done = subprocess.run(
        [*COLEARN, *map(str, words)], cwd=cwd, check=False, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def require(learner):
    package = ADAPTERS.get(learner, learner)
    if find_spec(package) is None:
        pytest.skip(f'{package} is not here: pip install "colearn[{package}]"')


@pytest.mark.parametrize("learner", new.LEARNERS)
def test_a_new_experiment_runs_at_once_and_gains_by_joining(learner, tmp_path):
    require(learner)
    said = json.loads(colearn("new", "mine", "--learner", learner, "--json", cwd=tmp_path))
    assert said["install"] is None
    assert said["next"][:2] == ["cd mine", "colearn run"]
    folder = tmp_path / "mine"
    assert sorted(path.name for path in folder.iterdir()) == sorted(said["files"])
    assert len((folder / "learner.py").read_text().splitlines()) <= 40
    run = json.loads(colearn("run", "--json", cwd=folder))
    assert run["name"] == "mine"
    assert run["comparison"]["together"] > run["mean_alone"]
    assert run["comparison"]["together"] > 0.75
    assert not run["warnings"]


def test_it_runs_and_goes_on_from_another_folder(tmp_path):
    colearn("new", "mine", cwd=tmp_path)
    file = tmp_path / "mine" / "experiment.toml"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    colearn("run", file, "-o", "rounds=3", "-d", "whole", "--json", cwd=elsewhere)
    colearn("run", file, "--resume", "whole", "--json", cwd=elsewhere)
    assert "Nothing was found" in colearn("audit", "whole", cwd=elsewhere)
    assert "plot.png" in colearn("plot", "whole", cwd=elsewhere)
    colearn("export", "whole", "one.onnx", "--experiment", file, cwd=elsewhere)
    assert "# Model card: mine" in (elsewhere / "one.md").read_text()
    # Beside the experiment file nothing has to be named.
    colearn("export", elsewhere / "whole", "two.onnx", cwd=file.parent)
    colearn("run", "--resume", elsewhere / "whole", "--json", cwd=file.parent)
    alone = subprocess.run(
        [*COLEARN, "run", "--resume", "whole"], cwd=elsewhere, check=False, capture_output=True
    )
    assert alone.returncode == 2
    assert b"learner:make" in alone.stderr


def test_the_commented_lines_run_on_rows_of_ones_own(tmp_path):
    colearn("new", "mine", cwd=tmp_path)
    file = tmp_path / "mine" / "experiment.toml"
    text = file.read_text().replace('use = "colearn.tasks:digits"\n', "").replace("# use", "use")
    text = text.replace("# with", "with").replace('use = "public"', 'use = "shared"')
    file.write_text(text.replace("alpha = 0.5, learners = 5", "alpha = 5, learners = 2"))
    (tmp_path / "mine" / "clinic.csv").write_bytes((ROOT / "tests/data/clinic.csv").read_bytes())
    assert tomllib.loads(file.read_text())["task"]["with"]["target"] == "relapse"
    run = json.loads(colearn("run", "-o", "rounds=4", "--json", cwd=file.parent))
    assert np.isfinite(run["comparison"]["together"])


def test_the_settings_of_the_file_reach_make(tmp_path):
    colearn("new", "mine", cwd=tmp_path)
    words = ("-o", "rounds=2", "-o", "learner.with.eta0=0.001", "--json")
    slow = json.loads(colearn("run", *words, cwd=tmp_path / "mine"))
    fast = json.loads(colearn("run", *words[:2], "--json", cwd=tmp_path / "mine"))
    assert slow["model"] != fast["model"]


@pytest.mark.parametrize("name", ["", "-x", ".x", "a/b", "..", "a b", "x" * 65, "a\n", 'a"'])
def test_a_bad_name_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="NAME must be"):
        new.new_experiment(name, "sklearn", as_json=False)
    assert not list(tmp_path.iterdir())


def test_an_unknown_learner_gets_the_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["new", "mine", "--learner", "bayes"])
    assert done.exit_code == 2
    assert "sklearn, forest, torch, keras, xgboost" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("kept")
    (tmp_path / "file").write_text("kept")
    for name in ("mine", "file"):
        with pytest.raises(ConfigError, match="is there"):
            new.new_experiment(name, "sklearn", as_json=False)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "mine", "precious"]


def test_an_empty_folder_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    new.new_experiment("mine", "sklearn", as_json=False)
    assert (tmp_path / "mine" / "learner.py").is_file()


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ConfigError, match="No space left"):
        new.new_experiment("mine", "sklearn", as_json=False)
    assert not list(tmp_path.iterdir())


def test_without_the_package_the_files_are_there_and_the_install_line_is_shown(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(new, "find_spec", lambda name: None)
    new.new_experiment("mine", "torch", as_json=False)
    assert (tmp_path / "mine" / "learner.py").is_file()
    assert 'pip install "colearn[sklearn,torch]"' in capsys.readouterr().out


@pytest.mark.parametrize("learner", new.LEARNERS)
def test_the_readme_names_the_experiment_and_is_short(learner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new.new_experiment("MY-LEARNER", learner, as_json=False)
    text = (tmp_path / "MY-LEARNER" / "README.md").read_text()
    assert text.startswith("# MY-LEARNER\n")
    assert len(text.splitlines()) <= 15
    assert "runs/MY-LEARNER-1" in text
    assert not re.search(r"\b(NAME|INSTALL)\b", text)
    compile((tmp_path / "MY-LEARNER" / "learner.py").read_text(), "learner.py", "exec")
