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
        records: The rounds so far.
    """
    accepted = sum(record.outcome == "accepted" for record in records)
    head = (
        f"<p>{len(names)} learners ({escape(', '.join(names[:10]))}), {len(records)} rounds, "
        f"{accepted} accepted</p>"
    )
    columns = "".join(
        f"<th>{name}</th>" for name in ("round", "proposer", "votes", "outcome", "global")
    )
    rows = "".join(_row(record) for record in records[-_ROWS_MAX:])
    return f"{head}<table><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table>"


def _row(record: RoundRecord) -> str:
    score = "-" if record.score is None else f"{record.score:.3f}"
    cells = (
        str(record.round_number),
        record.proposer,
        f"{record.approvals}/{record.members - 1}",
        f"{record.outcome} {record.reason[:80]}".strip(),
        score,
    )
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
