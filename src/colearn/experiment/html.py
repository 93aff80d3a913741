"""A run as a notebook shows it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from colearn.experiment.records import RoundRecord

__all__ = ["run_as_html"]

_ROWS_MAX = 50
"""Rounds shown; a notebook page holds no more."""


def run_as_html(names: Sequence[str], records: Sequence[RoundRecord]) -> str:
    """Return a table of the last rounds; every name and reason is escaped.

    Args:
        names: The learners.
        records: The rounds so far; of monitored metrics their median over the learners is shown.
    """
    accepted = sum(record.outcome == "accepted" for record in records)
    head = (
        f"<p>{len(names)} learners ({escape(', '.join(names[:10]))}), {len(records)} rounds, "
        f"{accepted} accepted</p>"
    )
    shown = records[-_ROWS_MAX:]
    monitored = list(dict.fromkeys(name for each in shown for name in each.monitored_medians))
    headings = ("round", "proposer", "votes", "outcome", "global", *monitored)
    columns = "".join(f"<th>{escape(name)}</th>" for name in headings)
    rows = "".join(_row(record, monitored) for record in shown)
    return f"{head}<table><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table>"


def _row(record: RoundRecord, monitored: Sequence[str]) -> str:
    medians = record.monitored_medians
    cells = (
        str(record.round_number),
        record.proposer,
        f"{record.approvals}/{record.members - 1}",
        f"{record.outcome} {record.reason[:80]}".strip(),
        _number(record.score),
        *(_number(medians.get(name)) for name in monitored),
    )
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
