"""Settings of learners that train networks, checked before anything is built from them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from colearn.errors import ConfigError
from colearn.learners._importable import imported
from colearn.learners._rows import block_name
from colearn.schema import Schema

__all__ = [
    "checked_bool",
    "checked_count",
    "checked_length",
    "checked_norm",
    "checked_schema",
    "private_length",
    "read_settings",
    "refuse_clip_norm",
]


def checked_schema(
    schema: Schema | None,
    classes: Iterable[object] | None,
    features: Sequence[str] | None,
    row_shape: tuple[int, ...],
) -> Schema:
    """Return the schema that is given, or that classes, features and the shape of a row make.

    Raises:
        ConfigError: Both are given.
    """
    if schema is not None:
        if classes is not None or features is not None:
            raise ConfigError("Give either schema, or classes and features.")
        return schema
    if features is not None:
        return Schema.of(features, classes)
    return Schema.of(row_shape[0] if len(row_shape) == 1 else [block_name(row_shape)], classes)


def checked_length(epochs: int | None, steps: int | None) -> dict[str, int | None]:
    """Return how long a proposal is, as epochs or as steps; one epoch where neither is said.

    Raises:
        ConfigError: Both are given, or one that is no count.
    """
    if epochs is not None and steps is not None:
        raise ConfigError(f"Give epochs or steps, not both; got {epochs!r} and {steps!r}.")
    if steps is not None:
        return {"epochs": None, "steps": checked_count(steps, "steps")}
    return {"epochs": checked_count(1 if epochs is None else epochs, "epochs"), "steps": None}


def checked_count(value: object, name: str) -> int:
    """Return a whole number of at least 1.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return value


def checked_norm(value: object) -> float | None:
    """Return the largest norm of a gradient, or None.

    Raises:
        ConfigError: It is no finite number above 0.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"clip_norm must be a number above 0, got {value!r}.")
    return float(value)


def private_length(
    units_count: int, batch_size: int, epochs: int | None, steps: int | None
) -> tuple[int, int, None]:
    """Return batch size and steps of a private proposal; its sampling rate follows from them.

    Args:
        units_count: Units to train on.
        batch_size: How many a step draws on average.
        epochs: Passes over the units; None where `steps` says how long.
        steps: Steps, instead of `epochs`.
    """
    passes = -(-units_count // batch_size) * (epochs or 1)
    return batch_size, passes if steps is None else steps, None


def refuse_clip_norm(clip_norm: float | None) -> None:
    """Refuse a second way to clip gradients in private training.

    Raises:
        ConfigError: There is one.
    """
    if clip_norm is not None:
        raise ConfigError(
            "clip_norm does not go with private training, which clips each row.",
            hint="Leave it out; max_grad_norm is the bound.",
        )


def checked_bool(value: object, name: str) -> bool:
    """Return True or False.

    Raises:
        ConfigError: It is neither.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, got {value!r}.")
    return value


def read_settings(
    settings: Mapping[str, Any], known: Collection[str], key: str, default: Callable[..., Any]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the factory that an experiment file names, and the learner's keyword arguments.

    Args:
        settings: What the file says in ``[learner.with]``.
        known: The learner's own settings; the others are the optimizer's.
        key: Which of them names the factory; ``<key>_with`` holds its arguments.
        default: Makes the optimizer where the file names none.

    Raises:
        ConfigError: No factory, or a name that cannot be imported.
    """
    mine = {name: value for name, value in settings.items() if name in known}
    others = {name: value for name, value in settings.items() if name not in known}
    factory = imported(mine.pop(key, None), f"learner.with.{key}")
    arguments = others.pop(f"{key}_with", {})
    if not isinstance(arguments, Mapping):
        raise ConfigError(f"[learner.with.{key}_with] must be a table, got {arguments!r}.")
    loss, named = mine.pop("loss", None), mine.pop("optimizer", None)
    if isinstance(loss, str) and ":" in loss:
        loss = imported(loss, "learner.with.loss")
        loss = loss() if inspect.isclass(loss) else loss
    make = default if named is None else imported(named, "learner.with.optimizer")
    optimizer = partial(make, **others)
    return partial(factory, **arguments), {**mine, "loss": loss, "optimizer": optimizer}
