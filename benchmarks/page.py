"""Tables of docs/results.md, written by the benchmarks whose numbers they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

DOC = Path(__file__).parents[1] / "docs" / "results.md"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in markdown; None is an empty cell."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for row in rows:
        cells = ["" if cell is None else str(cell) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def put(name: str, text: str) -> None:
    """Replace what stands between the page's marks of this name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = DOC.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{DOC.name} has no marks {begin} and {end}.")
    DOC.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
