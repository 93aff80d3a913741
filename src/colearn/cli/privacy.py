"""The commands about privacy: what it will cost, what is spent, and whether the code keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from colearn.cli.guard import guarded
from colearn.errors import ConfigError, MissingExtraError

__all__ = ["app"]

app = typer.Typer(
    help="What privacy costs, what has been spent, and whether the code keeps its promises.",
    no_args_is_help=True,
)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
_Delta = Annotated[
    float | None,
    typer.Option("--delta", min=1e-30, max=0.5, help="Of epsilon; the run's, or 1e-6."),
]


@app.command(epilog="Example: colearn privacy plan --rows 2000 --vote-rows 1000 --epsilon 4")
@guarded
def plan(  # noqa: PLR0917  (a command's options)
    rows: Annotated[int, typer.Option("--rows", min=1, help="Training rows of a learner.")] = 1000,
    vote_rows: Annotated[int, typer.Option("--vote-rows", min=1, help="Its vote rows.")] = 1000,
    epsilon: Annotated[
        float, typer.Option("--epsilon", min=1e-3, max=1000, help="Of all proposals of a learner.")
    ] = 8.0,
    delta: Annotated[
        float | None,
        typer.Option("--delta", min=1e-30, max=0.5, help="Likewise; 1e-5 or 1 / (10 rows)."),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, max=100_000, help="Rounds of the experiment.")
    ] = 20,
    learners: Annotated[
        int, typer.Option("--learners", min=2, max=1000, help="Members of the group.")
    ] = 5,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Rows a step; a tenth of the rows.")
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", min=1, max=100_000, help="Steps of a proposal.")
    ] = 20,
    vote_epsilon: Annotated[
        float, typer.Option("--vote-epsilon", min=1e-3, max=1000, help="Of all votes of a learner.")
    ] = 2.0,
    votes: Annotated[
        int | None, typer.Option("--votes", min=1, help="Votes planned; one a round.")
    ] = None,
    threshold: Annotated[
        str, typer.Option("--threshold", help="More than this share must be for a proposal.")
    ] = "1/2",
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw it as well.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Say what privacy will cost, before anything is spent."""
    from colearn.cli.privacy_plan import Asked, made_plan  # noqa: PLC0415
    from colearn.cli.privacy_screen import show_plan  # noqa: PLC0415

    asked = Asked(
        rows=rows,
        vote_rows=vote_rows,
        epsilon=epsilon,
        delta=delta,
        rounds=rounds,
        learners=learners,
        batch_size=batch_size,
        steps=steps,
        vote_epsilon=vote_epsilon,
        votes=votes,
        threshold=threshold,
    )
    made = made_plan(asked)
    if plot is not None:
        try:
            from colearn.plots import draw_privacy  # noqa: PLC0415  (needs its extra)
        except ModuleNotFoundError as error:
            raise MissingExtraError("matplotlib", extra="plot") from error
        draw_privacy(made.training.epsilons, epsilon, made.voting.e0, vote_rows, plot)
    if as_json:
        typer.echo(json.dumps(made.to_dict(), sort_keys=True))
    else:
        show_plan(made, plot)


@app.command(epilog="Example: colearn privacy status runs/private-1")
@guarded
def status(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIRECTORY", help="A folder of records, or a run; yours."),
    ] = None,
    delta: _Delta = None,
    as_json: _Json = False,
) -> None:
    """Say what has been spent of each dataset, by the records in a folder."""
    from colearn.cli.exits import exit_code  # noqa: PLC0415
    from colearn.cli.privacy_run import PARTS, deltas_of  # noqa: PLC0415
    from colearn.cli.privacy_screen import show_status  # noqa: PLC0415
    from colearn.cli.privacy_status import read_status  # noqa: PLC0415
    from colearn.errors import SpendsCorruptError  # noqa: PLC0415
    from colearn.privacy import default_directory  # noqa: PLC0415

    where = directory or default_directory()
    deltas = dict.fromkeys(PARTS, delta) if delta is not None else deltas_of(where)
    found = read_status(where, deltas)
    if as_json:
        document = {"directory": str(where), "datasets": [each.to_dict() for each in found]}
        typer.echo(json.dumps(document, sort_keys=True))
    else:
        show_status(where, found)
    if any(each.fault for each in found):
        raise typer.Exit(exit_code(SpendsCorruptError("")))


@app.command(epilog="Example: colearn privacy audit runs/private-1")
@guarded
def audit(
    where: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN|NODE|EXPERIMENT.toml", help="What is looked at beside the code."
        ),
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Ten times the canaries and trials; minutes.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Hold the installed code against its own claims of privacy, and a run against its targets."""
    from colearn.audit.privacy import audit_privacy  # noqa: PLC0415
    from colearn.cli.exits import AUDIT_FINDINGS  # noqa: PLC0415
    from colearn.cli.privacy_run import audited_run  # noqa: PLC0415
    from colearn.cli.privacy_screen import show_audit  # noqa: PLC0415

    if where is not None and not where.exists():
        raise ConfigError(
            f"There is no {where}.", hint="Name a folder of a run or a node, or an experiment file."
        )
    report = audit_privacy(audited_run(where), thorough=thorough)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), sort_keys=True))
    else:
        show_audit(report)
    if not report.passed:
        raise typer.Exit(AUDIT_FINDINGS)
