"""What the commands about privacy print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from colearn.audit.privacy_report import LIMITS, PrivacyReport
from colearn.audit.report import Verdict
from colearn.cli.privacy_plan import HARM, Plan
from colearn.cli.privacy_status import DatasetStatus

__all__ = ["show_audit", "show_plan", "show_status"]

_STYLES = {Verdict.PASSED: "green", Verdict.FAILED: "bold red", Verdict.NOT_DONE: "yellow"}


def show_plan(plan: Plan, picture: Path | None) -> None:
    """Print what privacy will cost."""
    console = Console(highlight=False)
    asked = plan.asked
    console.print(
        Text(f"{asked.learners} learners, {asked.rounds} rounds; of each learner:", "bold")
    )
    console.print(_pairs(_of_training(plan)))
    console.print(_pairs(_of_votes(plan)))
    for warning in plan.warnings:
        console.print(Text(f"warning: {warning}", "yellow"), soft_wrap=True)
    if picture is not None:
        console.print(f"picture  {picture}", soft_wrap=True)


def show_status(directory: Path, found: Sequence[DatasetStatus]) -> None:
    """Print what has been spent."""
    console = Console(highlight=False)
    console.print(Text(str(directory), "bold"), soft_wrap=True)
    table = _table("dataset", "split", "part", "spends", "epsilon", "delta", "votes kept")
    for each in found:
        for part in each.parts:
            votes = str(each.votes) if part.name == "vote" else ""
            table.add_row(
                _short(each.dataset), _short(part.split), part.name, str(part.spends),
                f"{part.epsilon:.4g}", f"{part.delta:g}", votes,
            )  # fmt: skip
        if not each.parts and not each.fault:
            table.add_row(_short(each.dataset), "", "nothing spent", "0", "0", "", str(each.votes))
    if not found:
        console.print("No record of spends: nothing was spent, or it was written elsewhere.")
    else:
        console.print(table)
    for each in found:
        text = Text(f"DAMAGED: {each.fault}", "bold red") if each.fault else Text("whole", "green")
        console.print(Text(f"{each.path}  ").append(text), soft_wrap=True)


def show_audit(report: PrivacyReport) -> None:
    """Print an audit, and what it cannot know."""
    console = Console(highlight=False)
    console.print(Text(report.source, "bold"), soft_wrap=True)
    table = _table("check", "", "")
    for check in report.checks:
        table.add_row(check.name, Text(check.verdict, _STYLES[check.verdict]), check.detail)
    console.print(table)
    for check in report.checks:
        for finding in check.findings:
            console.print(Text(f"{check.name}: {finding}", "red"), soft_wrap=True)
            console.print(Text(f"  it is to show that {check.proves}", "dim"), soft_wrap=True)
    if report.passed:
        console.print(Text("Nothing was found against the claims.", "green"))
    else:
        console.print(Text("What is claimed is not kept.", "bold red"))
    console.print(LIMITS)


def _of_training(plan: Plan) -> Iterable[tuple[str, str]]:
    training, cost = plan.training, plan.training.cost
    rate = training.sampling_rate
    yield "proposals", f"{training.proposals} of {training.steps} steps, sampling rate {rate:.3g}"
    yield "noise multiplier", f"{training.noise_multiplier:.4g}"
    ends = f"{training.epsilons[0][1]:.3g} after the first, {training.epsilons[-1][1]:.3g}"
    target = f"at delta {training.delta:.3g}; target {plan.asked.epsilon:g}"
    yield "epsilon", f"{ends} after all proposals, {target}"
    noise = f"{training.noise_to_signal:.3g} times the longest its gradients can be"
    yield "noise to signal", f"a proposal's noise is {noise}, for the stand-in's model"
    if cost is None:
        yield "accuracy", "not tried: it would take more than seconds"
        return
    told = f"{cost.plain:.3f} without privacy, {cost.private:.3f} with it (+- {cost.error:.3f})"
    yield "accuracy", f"{told}, on a made-up stand-in of {cost.rows} rows: your data will differ"


def _of_votes(plan: Plan) -> Iterable[tuple[str, str]]:
    voting, harm = plan.voting, f"what is worse by {HARM:g} clips"
    budget = f"{voting.votes} within epsilon {plan.asked.vote_epsilon:g}"
    each = f"e0 {voting.e0:.4g}, margin {voting.margin:.4g}, clip {voting.clip:g}"
    yield "votes", f"{budget} at delta {voting.delta:.3g}: {each}"
    null = f"what changes nothing with {voting.approve_null:.2f}"
    yield "a voter approves", f"{null}, {harm} with {voting.approve_harm:.2f}"
    needed = [f"{gain:.3g} clips for {chance}" for chance, gain in voting.needed.items()]
    yield "it needs", f"a mean improvement of {', '.join(needed)}"
    null = f"what changes nothing with {voting.pass_null:.3f}"
    approvals = f"{voting.approvals} approvals needed"
    yield "the group passes", f"{null}, {harm} with {voting.pass_harm:.3f} ({approvals})"


def _pairs(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for row in rows:
        table.add_row(*row)
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading)
    return table


def _short(digest: str) -> str:
    return digest if len(digest) <= 20 else f"{digest[:16]}..."
