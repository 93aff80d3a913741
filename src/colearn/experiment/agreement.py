"""What a group must agree on before anybody trains: names, schema, model 0 (6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from colearn.errors import ConfigError, WeightsError
from colearn.interface import MachineLearningInterface
from colearn.schema import Schema
from colearn.weights import NamedArrays, freeze, require_like

__all__ = ["check_newcomer", "check_schemas", "common_model", "names_of", "weights_of"]


def names_of(learners: Sequence[MachineLearningInterface]) -> tuple[str, ...]:
    """Return the learners' names.

    Raises:
        ConfigError: Fewer than two learners, or an object or a name twice.
    """
    if len(learners) < 2:
        raise ConfigError(f"Collective learning needs at least 2 learners, got {len(learners)}.")
    if len({id(learner) for learner in learners}) != len(learners):
        raise ConfigError("The same learner object is in the group twice.")
    names = tuple(
        str(getattr(learner, "name", f"learner-{place}"))
        for place, learner in enumerate(learners, start=1)
    )
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"Two learners are called {name!r}.", hint="Give each its own name.")
    return names


def check_schemas(learners: Sequence[MachineLearningInterface], names: Sequence[str]) -> None:
    """Refuse a learner whose columns or classes differ from the first one's (6.1).

    Raises:
        ConfigError: Names the learner, and the column or class.
    """
    first: Any = getattr(learners[0], "schema", None)
    for name, learner in zip(names, learners, strict=True):
        schema: Any = getattr(learner, "schema", None)
        if first is None or schema is None:
            continue
        difference = first.difference(schema)
        if difference is not None:
            raise ConfigError(
                f"Learner {name!r} has another schema than {names[0]!r}: {difference}."
            )


def common_model(learners: Sequence[MachineLearningInterface], names: Sequence[str]) -> NamedArrays:
    """Return the model all learners start from; refuse one whose model differs (6.1).

    Raises:
        ConfigError: Names the learner and the array.
    """
    model = weights_of(learners[0], names[0])
    for name, learner in zip(names[1:], learners[1:], strict=True):
        _require_same(weights_of(learner, name), model, name, repr(names[0]))
    return model


def check_newcomer(
    learner: MachineLearningInterface, name: str, schema: Schema | None, model: NamedArrays
) -> None:
    """Refuse a learner that does not fit an experiment which others have agreed on (6.1).

    Args:
        learner: As it is before any round.
        name: What errors call it.
        schema: The experiment's; None where it has none.
        model: The experiment's model 0.

    Raises:
        ConfigError: Names the column, the class or the array.
    """
    own: Any = getattr(learner, "schema", None)
    if schema is not None and own is not None:
        difference = schema.difference(own)
        if difference is not None:
            raise ConfigError(
                f"Learner {name!r} has another schema than the experiment: {difference}."
            )
    _require_same(weights_of(learner, name), model, name, "the experiment")


def weights_of(learner: MachineLearningInterface, name: str) -> NamedArrays:
    """Return a learner's current weights, which nobody can change.

    Raises:
        ConfigError: They are no dict of numpy arrays.
    """
    weights = learner.mli_get_current_weights().weights
    if not isinstance(weights, dict):
        raise ConfigError(
            f"Learner {name!r}: expected a dict of numpy arrays, got {type(weights).__name__}.",
            hint="Only run_one_round takes other weights.",
        )
    return freeze(weights)


def _require_same(own: NamedArrays, model: NamedArrays, name: str, whose: str) -> None:
    try:
        require_like(own.layout, model.layout)
    except WeightsError as error:
        raise ConfigError(
            f"Learner {name!r} starts from another model than {whose}: {error}"
        ) from error
    for array in model:
        if not np.array_equal(model[array], own[array]):
            raise ConfigError(
                f"Learner {name!r} starts from another model than {whose}: array {array!r} "
                "differs.",
                hint="Give every learner the same model 0 (the same model_seed).",
            )
