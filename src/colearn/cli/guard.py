"""What every command does with an error: one line on standard error, and an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from colearn.cli.exits import INTERRUPTED, exit_code
from colearn.errors import ColearnError

__all__ = ["guarded"]


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with its errors turned into exit codes (docs/errors.md).

    A command with the setting ``as_json`` prints the error as a JSON document as well.
    """

    @wraps(command)
    def guarded_command(*args: Any, **settings: Any) -> None:
        try:
            command(*args, **settings)
        except ColearnError as error:
            if settings.get("as_json"):
                typer.echo(json.dumps({"error": type(error).__name__, "message": str(error)}))
            typer.echo(f"colearn: {error}", err=True)
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt as error:
            typer.echo("colearn: stopped; what was written stays.", err=True)
            raise typer.Exit(INTERRUPTED) from error
        except BrokenPipeError as error:
            # The reader of a pipe left, as `head` does: nobody is there to be told.
            sys.stderr.close()
            raise typer.Exit(1) from error

    return guarded_command
