"""One check of a learner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import getdoc
from typing import Any

from colearn.testing.failure import LearnerCheckError
from colearn.testing.subject import MakeLearner, Subject

__all__ = ["LearnerCheck", "check"]


@dataclass(frozen=True, slots=True)
class LearnerCheck:
    """A check that can be called with whatever builds learners.

    Attributes:
        name: What is checked, as a sentence; also the text of the object.
        rule: The number of the rule in the protocol.
        about: Why, and what exactly.
        growing_only: Whether it is about learners whose arrays grow; others pass it.
    """

    name: str
    rule: str
    about: str
    growing_only: bool
    _run: Callable[[Subject], None]

    def __call__(self, make: MakeLearner, **settings: Any) -> None:
        """Check the learners that ``make(place, seed)`` builds; settings are those of `Subject`.

        Raises:
            LearnerCheckError: The check fails, or the learner raises where it should not.
        """
        subject = Subject(make, **settings)
        try:
            if not self.growing_only or subject.is_growing:
                self._run(subject)
        except LearnerCheckError as error:
            told = LearnerCheckError(f"{self} ({self.rule}): {error.args[0]}", hint=error.hint)
            raise told from error.__cause__
        except Exception as error:
            raise LearnerCheckError(
                f"{self} ({self.rule}): expected no exception here, got {type(error).__name__}: "
                f"{error}",
                hint="The cause is chained.",
            ) from error

    def __str__(self) -> str:
        return self.name


def check(
    rule: str, *, growing_only: bool = False
) -> Callable[[Callable[[Subject], None]], LearnerCheck]:
    """Make a check of a function whose name is the sentence and whose docstring says why."""

    def decorate(run: Callable[[Subject], None]) -> LearnerCheck:
        name = run.__name__.replace("_", " ")
        return LearnerCheck(name, rule, getdoc(run) or "", growing_only, run)

    return decorate
