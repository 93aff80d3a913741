"""The picture of a run: scores, votes, and alone against together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from colearn.core import Ballot, Outcome
from colearn.errors import ColearnError
from colearn.experiment import Comparison, RoundRecord

__all__ = ["draw_privacy", "draw_run"]

_ACCEPTED, _REJECTED, _PLAIN = "#2a9d55", "#d1495b", "#4c78a8"
_CELLS = {
    None: (0, "proposes", "#3a3a3a"),
    Ballot.APPROVE: (1, "approves", _ACCEPTED),
    Ballot.REJECT: (2, "rejects", _REJECTED),
    Ballot.ABSTAIN: (3, "abstains", "#e3b505"),
    Ballot.SILENT: (4, "silent", "#c9c9c9"),
}


def draw_run(
    records: Sequence[RoundRecord], comparison: Comparison | None, title: str, path: Path
) -> None:
    """Draw a run as a PNG.

    Args:
        records: Its rounds, at least one.
        comparison: Alone, pooled and together; None leaves that panel out.
        title: The line above the picture.
        path: Where to write it.

    Raises:
        ColearnError: There are no rounds, or the file cannot be written.
    """
    if not records:
        raise ColearnError("There is nothing to draw: the run has no rounds.")
    names = sorted({*records[0].vote_scores, *(record.proposer for record in records)})
    figure = Figure(figsize=(13, 9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    figure.suptitle(title)
    _draw_scores(axes[0, 0], records, names, "vote")
    _draw_scores(axes[0, 1], records, names, "test")
    _draw_votes(axes[1, 0], records, names)
    if comparison is None:
        axes[1, 1].set_axis_off()
    else:
        _draw_comparison(axes[1, 1], comparison)
    _save(figure, path)


def draw_privacy(
    epsilons: Sequence[tuple[int, float]], target: float, e0: float, units: int, path: Path
) -> None:
    """Draw what votes are worth, and what proposals spend, as a PNG.

    Args:
        epsilons: Number of a learner's proposals, and epsilon after them.
        target: Of all of them.
        e0: Of one vote; the margin is ln 3 / e0.
        units: Of the vote set.
        path: Where to write it.

    Raises:
        ColearnError: The file cannot be written.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    reach = 6 / (e0 * units)
    improvements = np.linspace(-reach / 2, reach, 301)
    left.plot(improvements, 1 / (1 + 3 * np.exp(-e0 * units * improvements)), color=_PLAIN)
    left.axvline(0, color="#c9c9c9", linewidth=1)
    left.set(
        title=f"votes: {units} units, e0 {e0:.3g}",
        xlabel="mean clipped improvement, in clips",
        ylabel="chance that a voter approves",
        ylim=(0, 1),
    )
    right.plot(*zip(*epsilons, strict=True), marker=".", color=_PLAIN)
    right.axhline(target, color=_REJECTED, linestyle="--", label=f"target {target:g}")
    right.set(title="proposals", xlabel="proposals of a learner", ylabel="epsilon", ylim=(0, None))
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.25)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    try:
        figure.savefig(path, dpi=110, format="png", metadata={"Software": None})
    except OSError as error:
        raise ColearnError(f"Cannot write {path}: {error.strerror or error}.") from error


def _draw_scores(
    axes: Axes, records: Sequence[RoundRecord], names: Sequence[str], which: str
) -> None:
    rounds = [record.round_number for record in records]
    best = []
    for name in names:
        scores = [
            (record.vote_scores if which == "vote" else record.test_scores).get(name)
            for record in records
        ]
        values = [np.nan if score is None else score for score in scores]
        best.append(values)
        axes.plot(rounds, values, marker=".", linewidth=1, alpha=0.8, label=name)
    known = ~np.isnan(np.array(best))
    top = np.where(known, best, -np.inf).max(axis=0)
    for record, height in zip(records, top, strict=True):
        accepted = record.outcome is Outcome.ACCEPTED
        if np.isfinite(height):
            axes.plot(
                record.round_number,
                height,
                marker="^" if accepted else "X",
                color=_ACCEPTED if accepted else _REJECTED,
                markersize=8,
                linestyle="none",
            )
    axes.set_title(f"{which} score of each proposal (triangle accepted, cross rejected)")
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, ncols=2, loc="lower right")


def _draw_votes(axes: Axes, records: Sequence[RoundRecord], names: Sequence[str]) -> None:
    grid = np.full((len(names), len(records)), np.nan)
    for column, record in enumerate(records):
        for row, name in enumerate(names):
            if name in record.votes:
                grid[row, column] = _CELLS[record.votes[name]][0]
            elif name == record.proposer:
                grid[row, column] = 0
    colours = ListedColormap([colour for _, _, colour in _CELLS.values()])
    first, last = records[0].round_number, records[-1].round_number
    axes.imshow(
        np.ma.masked_invalid(grid),
        cmap=colours,
        vmin=-0.5,
        vmax=len(_CELLS) - 0.5,
        aspect="auto",
        extent=(first - 0.5, last + 0.5, len(names) - 0.5, -0.5),
        interpolation="nearest",
    )
    axes.set_yticks(range(len(names)), names)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("round")
    axes.set_title("votes")
    handles = [Patch(color=colour, label=label) for _, label, colour in _CELLS.values()]
    axes.legend(
        handles=handles, fontsize=8, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.12)
    )


def _draw_comparison(axes: Axes, comparison: Comparison) -> None:
    names = [each.name + (" (lies)" if each.lies else "") for each in comparison.learners]
    places = np.arange(len(names))
    axes.bar(
        places - 0.2, [each.alone for each in comparison.learners], 0.4, label="alone", color=_PLAIN
    )
    axes.bar(
        places + 0.2,
        [each.early for each in comparison.learners],
        0.4,
        label="alone, early stopping",
        color="#a9bcd0",
    )
    axes.axhline(comparison.together, color=_ACCEPTED, label=f"together {comparison.together:.3f}")
    axes.axhline(
        comparison.pooled, color="#777777", linestyle="--", label=f"pooled {comparison.pooled:.3f}"
    )
    axes.set_xticks(places, names)
    axes.set_title(f"alone and together, on {comparison.test_rows} common test rows")
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(axis="y", alpha=0.25)
