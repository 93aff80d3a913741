"""Objects that an experiment file names as ``module:name``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from colearn.errors import ColearnError, ConfigError

__all__ = ["imported"]


def imported(use: object, key: str) -> Any:
    """Return the object that ``module:name`` names.

    Raises:
        ConfigError: `use` is no such text, or there is no such module or object, or it cannot be
            called; names the `key` of the experiment file.
    """
    module, _, name = use.partition(":") if isinstance(use, str) else ("", "", "")
    if not module or not name:
        raise ConfigError(f"[{key}] must be text of the form module:name, got {use!r}.")
    try:
        found = getattr(import_module(module), name)
    except ColearnError:
        raise
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"[{key}] cannot find {use!r}: {error}.") from error
    if not callable(found):
        raise ConfigError(f"[{key}] {use!r} cannot be called.")
    return found
