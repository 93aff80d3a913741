"""Settings that would reveal what privacy is to hide, refused before a round begins."""

from __future__ import annotations

from collections.abc import Sequence

from colearn.errors import ConfigError
from colearn.learners._judging import Choice
from colearn.learners._rows import LabelledRows
from colearn.privacy import Privacy
from colearn.schema import Schema

__all__ = ["check_private"]


def check_private(
    privacy: Privacy,
    name: str,
    choice: Choice,
    schema: Schema,
    sets: Sequence[LabelledRows],
    *,
    weighs_classes: bool,
) -> None:
    """Refuse what cannot be private.

    Args:
        privacy: What is to be private.
        name: The learner, for the error.
        choice: What it judges by.
        schema: Columns and classes.
        sets: Its training and its vote rows.
        weighs_classes: Whether class_weight is set.

    Raises:
        ConfigError: Names the setting.
    """
    if not isinstance(privacy, Privacy):
        raise ConfigError(
            f"Learner {name!r}: privacy must be a colearn.privacy.Privacy, got {privacy!r:.80}."
        )
    if weighs_classes:
        # "balanced" counts the private classes, and any weight breaks the bound of a row's share.
        _refuse(name, "class_weight", "it weighs private rows")
    if any(rows.weights is not None for rows in sets):
        _refuse(name, "the rows' weights", "a row's share must have one bound")
    if privacy.votes is None:
        return
    if choice.mode != "paired":
        _refuse(name, f'mode "{choice.mode}"', "a score decides there", 'Write mode = "paired".')
    if choice.monitor:
        _refuse(name, "monitor", "no score is published")
    noised = privacy.votes.test_scores == "noised"
    if noised and (schema.classes is None or choice.metric not in (None, "accuracy")):
        _refuse(name, 'test_scores "noised"', "only accuracy can be noised", 'Write "off" instead.')


def _refuse(name: str, what: str, why: str, hint: str = "") -> None:
    raise ConfigError(
        f"Learner {name!r}: {what} does not go with privacy, since {why}.",
        hint=hint or "Leave it out.",
    )
