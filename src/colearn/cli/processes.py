"""The demo as a network on one machine: a server with the ledger, and a process for each learner.

Everything goes through what `colearn create`, `join` and `start` use; the keys are real ones.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer
from rich.console import Console

from colearn.cli.group import Members, create_group, join_group, running
from colearn.cli.run import fresh_folder
from colearn.cli.screen import comparison_table
from colearn.core import Outcome, Phase
from colearn.core.events import Closed
from colearn.errors import ColearnError, ColearnWarning, ConfigError
from colearn.experiment import Comparison, ExperimentConfig, Plan, plan
from colearn.experiment.comparison import compare_model
from colearn.experiment.config import parse_config
from colearn.experiment.statement import private_statement_of
from colearn.ledger import Happening, Ledger
from colearn.network.connect import open_ledger, open_ledger_at
from colearn.network.invitation import HOSTED, Invitation
from colearn.network.telling import Narrator
from colearn.network.words import tolerance_lines
from colearn.store import Archive, DirectoryStore
from colearn.weights import NamedArrays

__all__ = ["run_processes"]

_PHASE_S = 30
"""As long as the clocks of several processes need it, and for two frameworks to be loaded in."""

_READY_S = 30.0
_WAIT_S = 1.0
_SILENCE_S = 180.0
"""Seconds without news after which a demonstration has failed."""

_LOG_BYTES = 400


@dataclass(eq=False)
class _Show:
    """What is shown, and what was seen.

    Attributes:
        config: The experiment.
        prepared: Its rows and names.
        folder: Where everything is written.
        as_json: Whether only a summary is printed.
        accepted: Rounds that accepted a proposal, and by whom.
        rounds: How many rounds have closed.
    """

    config: ExperimentConfig
    prepared: Plan
    folder: Path
    as_json: bool
    accepted: list[str] = field(default_factory=list)
    rounds: int = 0
    console: Console = field(default_factory=lambda: Console(highlight=False))

    def say(self, text: str) -> None:
        """Print a line for people."""
        if not self.as_json:
            self.console.print(text, soft_wrap=True, markup=False)


def run_processes(config: ExperimentConfig, directory: Path | None, *, as_json: bool) -> None:
    """Run an experiment as processes, compare alone with together, and print.

    Raises:
        ConfigError: There is something in the folder already.
        ColearnError: A process ended before the experiment did; its log says why.
    """
    folder = directory or fresh_folder("demo")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty.", hint="Name another folder.")
    phases = {"propose_s": _PHASE_S, "vote_s": _PHASE_S}
    config = parse_config({**config.model_dump(by_alias=True), "phases": phases})
    with warnings.catch_warnings():
        # The learners' own processes say them into their logs.
        warnings.simplefilter("ignore", ColearnWarning)
        show = _Show(config, plan(config), folder, as_json)
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            # The run's own record of spends, and not this machine's: its members are simulated.
            stack.enter_context(_set("COLEARN_PRIVACY", str(folder.absolute() / "privacy")))
            model, head = _run(show, stack)
        comparison = compare_model(show.prepared, show.rounds, model if show.accepted else None)
    document = json.dumps(comparison.to_dict(), sort_keys=True)
    (folder / "comparison.json").write_text(document, encoding="utf-8")
    _tell(show, comparison, model, head)


def _run(show: _Show, stack: ExitStack) -> tuple[NamedArrays, str]:
    """Train, and return the group's model and the ledger's head."""
    url = stack.enter_context(_server(show.folder))
    members = Members.new(show.folder, show.prepared.names)
    with open_ledger_at(url) as ledger, TemporaryDirectory(prefix="colearn-") as place:
        held = DirectoryStore(place)
        invitation = create_group(show.config, members, ledger, held, url=url, store=HOSTED)
        _introduce(show, ledger, invitation)
        nodes = join_group(members, invitation, ledger, held)
    called = {key.address: name for key, name in zip(members.keys, members.names, strict=True)}
    narrator = Narrator(invitation.experiment, names=called)
    # A view of its own: it tells everything from the first row on.
    ledger = stack.enter_context(open_ledger(invitation))
    ledger.listen(lambda happening: _hear(show, narrator, called, happening))
    ledger.sync()
    processes = {
        name: stack.enter_context(_node(show.folder, name, path)) for name, path in nodes.items()
    }
    _watch(ledger, invitation.experiment, processes, show.folder)
    experiment = ledger.experiment(invitation.experiment)
    blobs = DirectoryStore(show.folder / "blobs")
    return Archive(blobs).get(experiment.model), str(ledger.head)


@contextmanager
def _set(name: str, value: str) -> Iterator[None]:
    """Give a variable to the processes that are started meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """Serve a new ledger and the blobs, and yield the address."""
    words = ("ledger", "serve", str(folder / "ledger.db"), "--create", "--port", "0", "--json")
    with (
        (folder / "logs" / "ledger.log").open("w", encoding="utf-8") as log,
        running([*words, "--blobs", str(folder / "blobs")], log) as process,
    ):
        line = _first_line(process)
        try:
            yield str(json.loads(line)["url"])
        except (ValueError, KeyError, TypeError) as error:
            raise _ended(folder, "ledger") from error


@contextmanager
def _node(folder: Path, name: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a learner's node."""
    with (
        (folder / "logs" / f"{name}.log").open("w", encoding="utf-8") as log,
        running(["start", str(path)], log, stdout=log) as process,
    ):
        yield process


def _first_line(process: subprocess.Popen[str]) -> str:
    """Return what a process says when it is ready; empty when it says nothing in time."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    assert process.stdout is not None
    reading = process.stdout.readline
    threading.Thread(target=lambda: lines.put(reading()), daemon=True).start()
    try:
        return lines.get(timeout=_READY_S)
    except queue.Empty:
        return ""


def _watch(
    ledger: Ledger, number: int, processes: Mapping[str, subprocess.Popen[str]], folder: Path
) -> None:
    """Wait until the experiment is over and everybody has confirmed the model.

    Raises:
        ColearnError: A process ended before, or nothing happens any more.
    """
    since = time.monotonic()
    while ledger.experiment(number).phase is not Phase.OVER or ledger.experiment(number).round.todo:
        if ledger.wait(_WAIT_S):
            since = time.monotonic()
        over = ledger.experiment(number).phase is Phase.OVER
        for name, process in processes.items():
            if process.poll() is not None and not over:
                raise _ended(folder, name)
        if time.monotonic() - since > _SILENCE_S:
            raise ColearnError(
                f"Nothing has happened for {_SILENCE_S:.0f} s.", hint=f"Look into {folder}/logs."
            )


def _hear(show: _Show, narrator: Narrator, names: Mapping[str, str], happening: Happening) -> None:
    for line in narrator.hear(happening):
        if line.document["event"] == "round":
            show.rounds += 1
            show.say(f"  {line.text}")
        elif line.document["event"] in ("missed", "over", "started"):
            show.say(f"  {line.text}")
    for event in happening.events:
        if isinstance(event, Closed) and event.result is Outcome.ACCEPTED:
            show.accepted.append(list(names.values())[event.proposer])


def _introduce(show: _Show, ledger: Ledger, invitation: Invitation) -> None:
    names, liars = show.prepared.names, show.prepared.liars
    lies = f" · {len(liars)} lies: {', '.join(sorted(liars))}" if liars else ""
    show.say(f"{len(names)} learners, each a process of its own · {show.prepared.task.name}{lies}")
    show.say(f"ledger   {invitation.ledger}, a server on this machine")
    for line in tolerance_lines(ledger.experiment(invitation.experiment).rules, len(names)):
        show.say(line)
    for line in private_statement_of(show.config):
        show.say(f"privacy  {line}")


def _tell(show: _Show, comparison: Comparison, model: NamedArrays, head: str) -> None:
    of_liars = sum(name in show.prepared.liars for name in show.accepted)
    if show.as_json:
        document: dict[str, Any] = {
            "run": str(show.folder),
            "name": show.config.name,
            "seed": show.config.seed,
            "rounds": show.rounds,
            "accepted": len(show.accepted),
            "accepted_of_liars": of_liars,
            "comparison": comparison.to_dict(),
            "best_alone": comparison.best_alone,
            "mean_alone": comparison.mean_alone,
            "model": model.cid,
            "head": head,
            "processes": 2 * len(show.prepared.names) + 1,
        }
        typer.echo(json.dumps(document, sort_keys=True))
        return
    show.console.print(comparison_table(comparison))
    alone = [each.alone for each in comparison.learners]
    show.say(
        f"{show.rounds} rounds, {len(show.accepted)} accepted. Alone {min(alone):.3f} to "
        f"{max(alone):.3f}; pooled data {comparison.pooled:.3f}; together "
        f"{comparison.together:.3f}."
    )
    worst = comparison.worst
    show.say(f"Gains least by joining: {worst.name} ({worst.gain:+.3f}).")
    show.say(f"model    {model.cid}")
    show.say(f"head     {head}")
    show.say(f"run      {show.folder}")
    export = f"colearn export {show.folder / 'nodes' / show.prepared.names[0]} model.onnx"
    show.say(f"Next: colearn audit {show.folder} · {export} · colearn create --help")


def _ended(folder: Path, name: str) -> ColearnError:
    """Return the error for a process that ended too early, with the end of its log."""
    file = folder / "logs" / f"{name}.log"
    with suppress(OSError):
        said = file.read_bytes()[-_LOG_BYTES:].decode("utf-8", "replace").strip()
        if said:
            return ColearnError(f"The process of {name} ended: {said}", hint=f"See {file}.")
    return ColearnError(f"The process of {name} ended.", hint=f"See {file}.")
