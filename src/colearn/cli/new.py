"""A new experiment: a folder with an experiment file and a learner file to edit."""

from __future__ import annotations

import json
import tempfile
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import typer

from colearn.errors import ConfigError
from colearn.experiment import parse_config

__all__ = ["LEARNERS", "new_experiment"]

LEARNERS = {
    "sklearn": ("sklearn",),
    "forest": ("sklearn",),
    "torch": ("sklearn", "torch"),
    "keras": ("sklearn", "keras"),
    "xgboost": ("sklearn", "xgboost"),
}
"""The learners there are templates for, and the packages each needs; each is an extra's name.

All need scikit-learn, since the data set a new experiment begins with comes with it.
"""


def new_experiment(name: str, learner: str, *, as_json: bool) -> None:
    """Write the folder `name` in the current directory, and print what to do next.

    A missing package is no error: the files are written, and the install line is printed.

    Raises:
        ConfigError: `name` is no name of an experiment or is taken, there is no such learner, or
            the folder cannot be written; nothing is left behind then.
    """
    _check_name(name)
    if learner not in LEARNERS:
        raise ConfigError(
            f"There is no template for the learner {learner!r}.",
            hint=f"Use one of {', '.join(LEARNERS)}.",
        )
    install = _install_line(learner)
    written = _written(Path(name), _texts(name, learner))
    commands = [f"cd {name}", "colearn run", f"colearn audit runs/{name}-1"]
    if as_json:
        document = {"folder": name, "learner": learner, "files": written}
        typer.echo(json.dumps({**document, "install": install, "next": commands}, sort_keys=True))
        return
    typer.echo(f"{name}/  {'  '.join(written)}")
    if install is not None:
        typer.echo(f"Missing here: {install}")
    typer.echo(f"Edit {name}/learner.py. Next: {' · '.join(commands)}")


def _check_name(name: str) -> None:
    try:
        parse_config({"name": name})
    except ConfigError as error:
        raise ConfigError(
            f"NAME must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit, "
            f"got {name[:80]!r}.",
            hint="It names a folder in the current directory.",
        ) from error


def _install_line(learner: str) -> str | None:
    packages = LEARNERS[learner]
    if all(find_spec(package) is not None for package in packages):
        return None
    return f'pip install "colearn[{",".join(packages)}]"'


def _texts(name: str, learner: str) -> dict[str, str]:
    """Return the text of each file."""
    templates = files("colearn.cli") / "templates"
    sources = {
        "experiment.toml": "experiment.toml.txt",
        "learner.py": f"{learner}.py.txt",
        "README.md": "README.md.txt",
    }
    needs = f'It needs `pip install "colearn[{",".join(LEARNERS[learner])}]"`.'
    words = {"NAME": name, "LEARNER": learner, "INSTALL": needs}
    texts = {}
    for file, source in sources.items():
        text = templates.joinpath(source).read_text(encoding="utf-8")
        if file != "learner.py":
            # INSTALL first: what is put in is not looked at again.
            for word in ("INSTALL", "LEARNER", "NAME"):
                text = text.replace(word, words[word])
        texts[file] = text
    return texts


def _written(folder: Path, texts: dict[str, str]) -> list[str]:
    """Write the folder as a whole: beside its place, and moved there when complete."""
    try:
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise ConfigError(f"{folder} is there and is no folder.", hint="Choose another NAME.")
        if folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(
                f"The folder {folder} is there and is not empty.",
                hint="Choose another NAME; nothing was changed.",
            )
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as beside:
            made = Path(beside, folder.name)
            made.mkdir()
            for file, text in texts.items():
                (made / file).write_text(text, encoding="utf-8")
            if folder.is_dir():
                folder.rmdir()
            made.rename(folder)
    except OSError as error:
        raise ConfigError(f"Cannot write the folder {folder}: {error.strerror}.") from error
    return list(texts)
