"""What a run looks like while it runs, and at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from colearn.core import Outcome
from colearn.experiment import Collective, Comparison, Plan, RoundRecord
from colearn.experiment.statement import private_statement_of

__all__ = ["Screen", "comparison_table"]

_OUTCOMES = {
    Outcome.ACCEPTED: Text("accepted", "green"),
    Outcome.REJECTED: Text("REJECTED", "bold red"),
    Outcome.NO_PROPOSAL: Text("no proposal", "yellow"),
}
_LIVE_ROWS = 30
"""Rounds shown while running; the whole table is printed when the run ends."""


class Screen:
    """Prints one run."""

    def __init__(self, plan: Plan, run: Collective, path: Path) -> None:
        """Prepare to show `run` of `plan`, which writes to `path`."""
        self._plan, self._run, self._path = plan, run, path
        self._console = Console(highlight=False)
        self._progress = Progress(
            TextColumn("rounds"), BarColumn(), MofNCompleteColumn(), console=self._console
        )
        self._live: Live | None = None

    @contextmanager
    def live(self, rounds: int, notes: Sequence[str]) -> Iterator[None]:
        """Show a table that grows while the block runs, above it what the run is."""
        self._head(notes)
        self._task = self._progress.add_task("rounds", total=rounds)
        try:
            if self._console.is_terminal:
                with Live(self._view(), console=self._console, transient=True) as self._live:
                    yield
            else:
                yield
        finally:
            self._live = None
            if self._run.records_:
                self._console.print(self._table(self._run.records_))

    def show(self, record: RoundRecord) -> None:
        """Show the round that has just ended."""
        self._progress.update(self._task, completed=record.round_number)
        if self._live is not None:
            self._live.update(self._view())

    def end(self, comparison: Comparison, picture: Path | None) -> None:
        """Print alone against together, and where everything is."""
        self._console.print(comparison_table(comparison))
        accepted = sum(record.outcome is Outcome.ACCEPTED for record in self._run.records_)
        alone = [each.alone for each in comparison.learners]
        worst = comparison.worst
        self._say(
            f"{len(self._run.records_)} rounds, {accepted} accepted. "
            f"Alone {min(alone):.3f} to {max(alone):.3f}; pooled data {comparison.pooled:.3f}; "
            f"together [bold]{comparison.together:.3f}[/bold]."
        )
        self._say(f"Gains least by joining: {worst.name} ({worst.gain:+.3f}).")
        if self._run.stopped_ not in ("", "rounds"):
            self._say(f"Stopped early: {self._run.stopped_}.")
        self._say(f"model    {self._run.weights_.cid}")
        self._say(f"head     {self._run.head_}")
        self._say(f"run      {self._path}")
        if picture is not None:
            self._say(f"picture  {picture}")
        else:
            self._say('no picture: pip install "colearn[plot]"')
        export = f"colearn export {self._path} model.onnx"
        self._say(f"Next: colearn audit {self._path} · {export} · colearn new my-experiment")

    def _head(self, notes: Sequence[str]) -> None:
        config, survives = self._plan.config, self._run.tolerance
        approvals = "approval" if survives.needed == 1 else "approvals"
        liars = f" · {len(self._plan.liars)} lies: {', '.join(sorted(self._plan.liars))}"
        self._say(
            f"[bold]{len(self._run.names)} learners · {self._plan.task.name} · "
            f"{config.task.split.by} split · seed {config.seed}[/bold]"
            + (liars if self._plan.liars else "")
        )
        self._say(
            f"A proposal needs {survives.needed} {approvals} of {survives.members - 1} others. It "
            f"still passes with {survives.obstructing} of them silent or hostile; "
            f"{survives.colluding} hostile cannot pass one alone."
        )
        if survives.obstructing < 1:
            self._say("[yellow]warning: one silent member stops everything.[/yellow]")
        if self._run.rules.threshold < Fraction(1, 2):
            self._say("[yellow]warning: a minority decides at this threshold.[/yellow]")
        for line in private_statement_of(config):
            self._say(f"[cyan]privacy: {line}[/cyan]")
        for note in notes:
            self._say(f"[yellow]warning: {note}[/yellow]")

    def _view(self) -> Group:
        return Group(self._table(self._run.records_[-_LIVE_ROWS:]), self._progress)

    def _table(self, records: Sequence[RoundRecord]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading, justify in (
            ("round", "right"),
            ("proposer", "left"),
            ("score", "right"),
            ("votes", "right"),
            ("outcome", "left"),
            ("global", "right"),
            ("", "left"),
        ):
            table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for record in records:
            table.add_row(*self._cells(record))
        return table

    def _cells(self, record: RoundRecord) -> list[str | Text]:
        shown = record.test_scores if any(record.test_scores.values()) else record.vote_scores
        note = "<- poisoned" if record.proposer in self._plan.liars else record.reason[:24]
        return [
            str(record.round_number),
            record.proposer,
            _number(shown.get(record.proposer)),
            f"{record.approvals}/{record.members - 1}",
            _OUTCOMES[record.outcome],
            _number(record.score),
            Text(note, "dim"),
        ]

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def comparison_table(comparison: Comparison) -> Table:
    """Return alone against together, a row for each learner."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("learner")
    for heading in ("rows", "alone", "early stop", "together", "gain"):
        table.add_column(heading, justify="right")
    for each in comparison.learners:
        table.add_row(
            each.name,
            str(each.rows),
            _number(each.alone),
            _number(each.early),
            _number(comparison.together),
            Text(f"{each.gain:+.3f}", "green" if each.gain > 0 else "red"),
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
