"""Checks for learners, to be run by whoever writes one: ``check_learner(make)``.

They are those that Colearn's own learners pass. Any test runner can call them; nothing but the
base package is needed.
"""

from colearn.testing.check import LearnerCheck
from colearn.testing.failure import LearnerCheckError
from colearn.testing.malformed import malformed_arrays
from colearn.testing.suite import check_learner, learner_checks

__all__ = [
    "LearnerCheck",
    "LearnerCheckError",
    "check_learner",
    "learner_checks",
    "malformed_arrays",
]
