"""The guards that refuse what cannot be private, tried out."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from colearn.audit.privacy_report import PrivacyCheck
from colearn.errors import ConfigError, MissingExtraError
from colearn.interface import DiffPrivConfig, VotePrivacyConfig
from colearn.privacy.settings import Privacy
from colearn.schema import Schema

__all__ = ["check_guards"]

_ROWS = 8

_LEAKING: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "a layer that mixes the rows of a batch",
        {"module": "torch.nn:BatchNorm1d", "module_with": {"num_features": 2}},
    ),
    (
        "a loss that counts the private classes",
        {
            "module": "torch.nn:Linear",
            "module_with": {"in_features": 2, "out_features": 2},
            "label_prior": "uniform",
        },
    ),
    (
        "weights by private classes",
        {
            "module": "torch.nn:Linear",
            "module_with": {"in_features": 2, "out_features": 2},
            "class_weight": "balanced",
        },
    ),
    (
        "a vote by score",
        {
            "module": "torch.nn:Linear",
            "module_with": {"in_features": 2, "out_features": 2},
            "mode": "classic",
        },
    ),
)


def check_guards() -> PrivacyCheck:
    """Try to build private learners that would leak; each must be refused."""
    check = PrivacyCheck("guards", "models and settings that would leak are refused")
    try:
        for what, settings in _LEAKING:
            if not _is_refused(settings):
                check.findings.append(f"a private learner was built with {what}")
    except MissingExtraError as error:
        check.done = False
        check.detail = str(error)
        return check
    check.detail = f"{len(_LEAKING)} tried: " + ", ".join(what for what, _ in _LEAKING)
    return check


def _is_refused(settings: dict[str, Any]) -> bool:
    from colearn.learners import TorchLearner  # noqa: PLC0415  (needs its extra)

    X, y = np.arange(4.0 * _ROWS).reshape(-1, 2), np.arange(2 * _ROWS) % 2
    proposals = DiffPrivConfig(
        target_epsilon=8.0, target_delta=1e-5, max_grad_norm=1.0, planned_proposals=1
    )
    with TemporaryDirectory(prefix="colearn-audit-") as folder:
        privacy = Privacy(
            proposals=proposals, votes=VotePrivacyConfig(), directory=Path(folder), dataset="guards"
        )
        try:
            TorchLearner.from_settings(
                Schema.of(2, range(2)),
                train=(X[:_ROWS], y[:_ROWS]),
                vote=(X[_ROWS:], y[_ROWS:]),
                privacy=privacy,
                **settings,
            )
        except ConfigError:
            return True
    return False
