"""The commands and their options."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from colearn.cli.create import app as create_app
from colearn.cli.guard import guarded
from colearn.cli.join import app as join_app
from colearn.cli.key import app as key_app
from colearn.cli.ledger import app as ledger_app
from colearn.cli.nodes import app as nodes_app
from colearn.cli.privacy import app as privacy_app
from colearn.cli.tls import CaFile, TlsCert, TlsKey, tls_of
from colearn.errors import ConfigError, MissingExtraError

__all__ = ["app", "run_app"]

app = typer.Typer(
    name="colearn",
    help="Collective learning: learners with private data train one model; no server is trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(create_app)
app.add_typer(join_app)
app.add_typer(nodes_app)
app.add_typer(key_app, name="key")
app.add_typer(ledger_app, name="ledger")
app.add_typer(privacy_app, name="privacy")

_Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Decides everything random.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
_Directory = Annotated[
    Path | None, typer.Option("--directory", "-d", help="The run folder; must hold no run yet.")
]


def run_app() -> None:
    """Run the command line and exit."""
    app()


@app.command(epilog="Example: colearn demo --task iris --seed 3")
@guarded
def demo(  # noqa: PLR0917  (a command's options)
    task: Annotated[
        str, typer.Option("--task", "-t", help="digits, iris, breast_cancer or diabetes.")
    ] = "digits",
    seed: _Seed = None,
    directory: _Directory = None,
    processes: Annotated[
        bool,
        typer.Option("--processes", help="Run each learner as a process, with a small server."),
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Differential privacy for proposals and votes.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Five learners train one model on real data; on digits one of them poisons its proposals."""
    from colearn.cli.demo import demo_config  # noqa: PLC0415
    from colearn.cli.run import run_experiment  # noqa: PLC0415

    config = demo_config(task, seed, private=private)
    if processes:
        from colearn.cli.processes import run_processes  # noqa: PLC0415

        run_processes(config, directory, as_json=as_json)
        return
    run_experiment(config, directory, as_json=as_json, prefix="demo")


@app.command(epilog="Example: colearn new my-experiment --learner torch")
@guarded
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The folder to write.")],
    learner: Annotated[
        str, typer.Option("--learner", "-l", help="sklearn, forest, torch, keras or xgboost.")
    ] = "sklearn",
    as_json: _Json = False,
) -> None:
    """Write a working experiment to edit: a folder with experiment.toml and learner.py."""
    from colearn.cli.new import new_experiment  # noqa: PLC0415

    new_experiment(name, learner, as_json=as_json)


@app.command(epilog="Example: colearn run experiment.toml -o vote.threshold=0.6")
@guarded
def run(  # noqa: PLR0917  (a command's options)
    experiment: Annotated[Path, typer.Argument(help="The experiment file.")] = Path(
        "experiment.toml"
    ),
    override: Annotated[
        list[str] | None, typer.Option("-o", help="KEY=VALUE, replaces what the file says.")
    ] = None,
    seed: _Seed = None,
    directory: _Directory = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Run the experiment that a TOML file describes, or go on with one.

    Modules beside the experiment file can be named in `use`: its folder is searched first.
    """
    from colearn.cli.run import resume_experiment, run_experiment  # noqa: PLC0415
    from colearn.experiment import load_config  # noqa: PLC0415

    # It holds for --resume too, so the learner is the experiment's and no copy inside the run.
    _search_beside(experiment)
    if resume is not None:
        if override or seed is not None or directory is not None:
            raise ConfigError(
                "--resume goes on with the run's own settings.", hint="Leave out -o, --seed and -d."
            )
        resume_experiment(resume, as_json=as_json)
        return
    overrides = [*(override or []), *([] if seed is None else [f"seed={seed}"])]
    config = load_config(experiment, overrides)
    run_experiment(config, directory, as_json=as_json, prefix=config.name)


@app.command(epilog="Example: colearn plot runs/demo-1 --output picture.png")
@guarded
def plot(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The PNG; RUN/plot.png by default.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Draw scores, votes, and alone against together."""
    from colearn.cli.run import draw  # noqa: PLC0415
    from colearn.experiment import RunFolder  # noqa: PLC0415

    path = draw(RunFolder.open(directory), output)
    typer.echo(json.dumps({"plot": str(path)}) if as_json else f"picture  {path}")


@app.command(epilog="Example: colearn audit runs/demo-1 --bytecode")
@guarded
def audit(  # noqa: PLR0917  (a command's options)
    where: Annotated[
        str,
        typer.Argument(
            metavar="RUN|NODE|URL",
            help="A run's or a node's folder, a ledger.db, http://..., or evm+http://.../0x...",
        ),
    ],
    bytecode: Annotated[
        bool, typer.Option("--bytecode", help="Run the contract's bytecode on the same calls too.")
    ] = False,
    head: Annotated[
        str | None, typer.Option("--head", help="HEIGHT:HASH that the ledger must contain.")
    ] = None,
    blobs: Annotated[
        Path | None, typer.Option("--blobs", help="The folder of the weights, for an address.")
    ] = None,
    ca_file: CaFile = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: _Json = False,
) -> None:
    """Replay a ledger and check every rule, trusting nobody."""
    from colearn.cli.audit import audit_ledger  # noqa: PLC0415

    audit_ledger(
        where,
        bytecode=bytecode,
        head=head,
        blobs=blobs,
        credentials=tls_of(ca_file, tls_cert, tls_key),
        as_json=as_json,
    )


@app.command(epilog="Example: colearn export runs/demo-1 model.onnx")
@guarded
def export(  # noqa: PLR0917  (a command's options)
    directory: Annotated[
        Path, typer.Argument(metavar="RUN|NODE", help="A run's or a node's folder.")
    ],
    output: Annotated[Path, typer.Argument(metavar="FILE", help="The ONNX file to write.")],
    round_number: Annotated[
        int | None, typer.Option("--round", min=1, help="The round; the last certified model's.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="The largest difference allowed.")
    ] = 1e-4,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    experiment: Annotated[
        Path, typer.Option("--experiment", help="The experiment file the learner's file is beside.")
    ] = Path("experiment.toml"),
    as_json: _Json = False,
) -> None:
    """Take the model away as ONNX, once it says in onnxruntime what the original says."""
    from colearn.cli.export import export_to_onnx  # noqa: PLC0415

    _search_beside(experiment)
    export_to_onnx(
        directory,
        output,
        round_number=round_number,
        tolerance=tolerance,
        force=force,
        as_json=as_json,
    )


@app.command(epilog="Example: colearn prove")
@guarded
def prove(as_json: _Json = False) -> None:
    """Five minutes for a sceptic: a real chain, five processes, one killed, one byte changed."""
    try:
        from colearn.cli.prove import prove as run_proof  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "web3", extra="all") from error

    run_proof(as_json=as_json)


def _search_beside(experiment: Path) -> None:
    """Let `use = "learner:make"` be learner.py beside the experiment file; nothing else does."""
    sys.path.insert(0, str(experiment.resolve().parent))


@app.callback()
def _program() -> None:
    """Keep the commands under one name."""
