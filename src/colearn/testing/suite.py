"""All checks together."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from colearn.errors import ConfigError
from colearn.testing import accepting, answering, keeping, refusing, training
from colearn.testing.check import LearnerCheck
from colearn.testing.failure import LearnerCheckError
from colearn.testing.subject import MakeLearner, Sabotage

__all__ = ["check_learner", "learner_checks"]

_CHECKS = (
    *keeping.CHECKS,
    *accepting.CHECKS,
    *refusing.CHECKS,
    *training.CHECKS,
    *answering.CHECKS,
)


def learner_checks(
    *, grows: bool | None = None, leave_out: Collection[str] = ()
) -> tuple[LearnerCheck, ...]:
    """Return the checks, for a test runner to call one by one.

    With pytest::

        @pytest.mark.parametrize("check", learner_checks(), ids=str)
        def test_my_learner(check):
            check(make)

    Args:
        grows: False leaves out the checks of learners whose arrays grow.
        leave_out: Names of checks that are not wanted.

    Raises:
        ConfigError: There is no check of such a name.
    """
    unknown = set(leave_out) - {check.name for check in _CHECKS}
    if unknown:
        raise ConfigError(
            f"There is no check called {min(unknown)!r}.",
            hint=f"The checks are: {', '.join(check.name for check in _CHECKS)}.",
        )
    return tuple(
        check
        for check in _CHECKS
        if check.name not in leave_out and not (check.growing_only and grows is False)
    )


def check_learner(
    make: MakeLearner,
    *,
    grows: bool | None = None,
    members: int = 3,
    rounds: int = 5,
    seed: int = 1,
    rows: Collection[Any] = (),
    sabotage: Sabotage | None = None,
    leave_out: Collection[str] = (),
) -> None:
    """Check that learners do what the protocol asks of them, all checks one after the other.

    Args:
        make: ``make(place, seed)`` builds a fresh learner of one group: `place` counts from 0 and
            has rows of its own, `seed` is the learner's. It is called often, so the rows should
            be few.
        grows: Whether proposals add to the arrays (P3.5); None asks the learner's `grows`.
        members: How many places there are, at least 2.
        rounds: In how many accepted proposals a learner's score must improve.
        seed: Seed of the first learner.
        rows: The arrays that `make` builds learners of, checked to stay as they are.
        sabotage: ``sabotage(point)`` returns a context inside which the learner raises while it
            proposes or tests, for points from 0; None raises at several Python calls.
        leave_out: Names of checks that are not wanted.

    Raises:
        LearnerCheckError: One or more checks failed; says which, what was expected, what came
            and what to do.
        ConfigError: Fewer than 2 members, or a check to leave out that does not exist.
    """
    if members < 2:
        raise ConfigError(f"A group has at least 2 members, got {members}.")
    failures = []
    for check in learner_checks(grows=grows, leave_out=leave_out):
        try:
            check(
                make,
                grows=grows,
                members=members,
                rounds=rounds,
                seed=seed,
                rows=tuple(rows),
                sabotage=sabotage,
            )
        except LearnerCheckError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        told = "\n".join(f"- {error}" for error in failures)
        raise LearnerCheckError(f"{len(failures)} checks failed:\n{told}") from failures[0]
