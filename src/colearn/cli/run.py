"""Run an experiment and show it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import typer

from colearn.cli.screen import Screen
from colearn.errors import ColearnWarning, ConfigError, MissingExtraError
from colearn.experiment import (
    Collective,
    Comparison,
    ExperimentConfig,
    Plan,
    RunFolder,
    compare,
    load_config,
    plan,
)
from colearn.experiment.plan import proposal_privacy_of
from colearn.experiment.statement import private_statement_of

__all__ = ["draw", "fresh_folder", "resume_experiment", "run_experiment"]

_RUNS_MAX = 100_000


def run_experiment(
    config: ExperimentConfig, directory: Path | None, *, as_json: bool, prefix: str
) -> None:
    """Run a new experiment, compare, write the folder, draw, and print.

    Raises:
        ColearnError: Anything that keeps the run from its end; what was written stays, and
            `resume_experiment` goes on with it.
    """
    path = directory or fresh_folder(prefix)
    _run(config, path, as_json=as_json, resume=False)


def resume_experiment(path: Path, *, as_json: bool) -> None:
    """Go on with a run that was stopped or killed, at any moment.

    Raises:
        ColearnError: There is no such run, or as `run_experiment`.
    """
    file = path / "experiment.toml"
    if not file.is_file():
        raise ConfigError(
            f"There is no run to go on with in {path}.", hint="Name a folder under runs/."
        )
    _run(load_config(file), path, as_json=as_json, resume=True)


def _run(config: ExperimentConfig, path: Path, *, as_json: bool, resume: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ColearnWarning)
        if not resume:
            RunFolder.describe(path, config.to_toml())
        prepared = plan(config, path / "privacy")
        run = Collective(
            prepared.group(),
            threshold=config.vote.threshold,
            directory=path,
            rounds=config.rounds,
            patience=config.patience,
            target=config.target,
            seed=config.seed,
            synchronous=config.ledger.synchronous,
            terms=config.terms(),
            resume=resume,
            privacy=proposal_privacy_of(config),
        )
    notes = sorted(
        {str(note.message) for note in caught if issubclass(note.category, ColearnWarning)}
    )
    assert run.folder is not None
    screen = None if as_json else Screen(prepared, run, path)
    _rounds(run, config.rounds, screen, notes)
    comparison = compare(prepared, run)
    run.folder.write_text("comparison.json", json.dumps(comparison.to_dict(), sort_keys=True))
    picture = _picture(run.folder)
    if screen is not None:
        screen.end(comparison, picture)
    else:
        typer.echo(json.dumps(_summary(prepared, run, comparison, path, notes), sort_keys=True))


def draw(folder: RunFolder, output: Path | None = None) -> Path:
    """Draw a run as a PNG and return where it is.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ColearnError: The run has no rounds, or the file cannot be written.
    """
    try:
        from colearn.plots import draw_run  # noqa: PLC0415  (needs its extra)
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", extra="plot") from error
    document = folder.document("comparison.json")
    comparison = None if document is None else Comparison.from_dict(document)
    path = output or folder.path / "plot.png"
    draw_run(folder.records(), comparison, folder.path.name, path)
    return path


def _rounds(run: Collective, count: int, screen: Screen | None, notes: list[str]) -> None:
    if screen is None:
        for _ in run.rounds():
            pass
        return
    with screen.live(count, notes):
        for record in run.rounds():
            screen.show(record)


def _picture(folder: RunFolder) -> Path | None:
    try:
        return draw(folder)
    except MissingExtraError:
        return None


def fresh_folder(prefix: str) -> Path:
    """Return the first folder of this name under ``runs/`` that is not there.

    Raises:
        ConfigError: There are too many.
    """
    for number in range(1, _RUNS_MAX):
        path = Path("runs") / f"{prefix}-{number}"
        if not path.exists():
            return path
    raise ConfigError("There are too many runs in runs/.", hint="Name one with --directory.")


def _summary(
    prepared: Plan, run: Collective, comparison: Comparison, path: Path, notes: list[str]
) -> dict[str, object]:
    records = run.records_
    # Of the global model, so of the last proposal that was accepted.
    monitored = [each.monitored_medians for each in records if each.outcome == "accepted"][-1:]
    return {
        "run": str(path),
        "name": prepared.config.name,
        "seed": prepared.config.seed,
        "rounds": len(records),
        "accepted": sum(record.outcome == "accepted" for record in records),
        "accepted_of_liars": sum(
            record.outcome == "accepted" and record.proposer in prepared.liars for record in records
        ),
        "stopped": run.stopped_,
        "comparison": comparison.to_dict(),
        "best_alone": comparison.best_alone,
        "mean_alone": comparison.mean_alone,
        "model": run.weights_.cid,
        "head": str(run.head_),
        "warnings": notes,
        **({"privacy": said} if (said := private_statement_of(prepared.config)) else {}),
        **({"monitored": monitored[0]} if any(monitored) else {}),
    }
