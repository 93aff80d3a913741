"""The command line: the only place that prints, exits and reads arguments."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; the console script calls this."""
    from colearn.cli.app import run_app  # noqa: PLC0415  (so that importing is cheap)

    run_app()
