"""The demo's experiments: settings that a newcomer can run without choosing any."""

from __future__ import annotations

from typing import Any

from colearn.errors import ConfigError
from colearn.experiment import ExperimentConfig, parse_config

__all__ = ["DEMOS", "demo_config"]

_SGD = {
    "estimator": "sklearn.linear_model:SGDClassifier",
    "loss": "log_loss",
    "learning_rate": "constant",
}
_FOREST = {"use": "colearn.learners:RandomForestLearner", "with": {"trees_per_proposal": 5}}

DEMOS: dict[str, dict[str, Any]] = {
    "digits": {
        "task": {
            "use": "colearn.tasks:digits",
            "split": {"by": "dirichlet", "alpha": 0.5, "learners": 5},
        },
        "learner": {
            "use": "colearn.learners:SklearnLearner",
            "with": {**_SGD, "eta0": 0.3, "damping": 0.25},
        },
        "hostile": {"learners": 1, "damping": 1.0},
    },
    "iris": {
        "task": {"use": "colearn.tasks:iris", "split": {"by": "iid", "learners": 5}},
        "learner": _FOREST,
    },
    "breast_cancer": {
        "task": {"use": "colearn.tasks:breast_cancer", "split": {"by": "iid", "learners": 5}},
        "learner": {"use": "colearn.learners:SklearnLearner", "with": {**_SGD, "eta0": 0.1}},
        "preprocess": {"use": "shared"},
    },
    "diabetes": {
        "task": {"use": "colearn.tasks:diabetes", "split": {"by": "iid", "learners": 5}},
        "learner": _FOREST,
    },
}


_PRIVATE: dict[str, dict[str, Any]] = {
    "digits": {
        **DEMOS["digits"],
        "task": {"use": "colearn.tasks:digits", "split": {"by": "iid", "learners": 5}},
        "learner": {
            "use": "colearn.learners:SklearnLearner",
            "with": {**_SGD, "eta0": 1.0, "damping": 1.0},
        },
        "privacy": {
            "proposals": {
                "target_epsilon": 8.0,
                "expected_batch_size": 64,
                "steps_per_proposal": 20,
            },
            "votes": {"epsilon": 8.0},
        },
    },
}
"""What ``--private`` runs. 250 rows a learner are few for privacy, so its budgets are wide, and
every learner has rows of all classes."""


def demo_config(task: str, seed: int | None, *, private: bool = False) -> ExperimentConfig:
    """Return the demo's experiment on a task.

    Raises:
        ConfigError: There is no demo on this task.
    """
    if task not in DEMOS:
        raise ConfigError(f"There is no demo on {task!r}.", hint=f"Use one of {', '.join(DEMOS)}.")
    demos = _PRIVATE if private else DEMOS
    if task not in demos:
        raise ConfigError(
            f"There is no private demo on {task!r}: it has too few rows for privacy.",
            hint=f"Use one of {', '.join(demos)}.",
        )
    document = {"name": f"demo-{task}", "rounds": 20, "seed": seed or 0, **demos[task]}
    return parse_config(document)
