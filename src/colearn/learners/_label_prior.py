"""Logit adjustment: what training adds to a class's score against label skew (section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from colearn.errors import ConfigError
from colearn.learners._scoring import Floats, Targets

__all__ = ["LabelPrior", "log_prior", "logit_shift"]

LabelPrior = str | Sequence[float]
"""How the training loss is adjusted: "none", "uniform" or one share for each class."""

_PRIOR_ERROR = 1e-6
"""How far a prior's shares may be from adding up to 1: rounding, and no more."""


def log_prior(label_prior: LabelPrior, classes_count: int) -> Floats | None:
    """Return the logarithm of each class's prior, (classes,), 0 for "uniform"; None for "none".

    Raises:
        ConfigError: Neither of the two words, nor one share above 0 for each class.
    """
    if isinstance(label_prior, str) and label_prior == "none":
        return None
    if isinstance(label_prior, str) and label_prior == "uniform":
        return np.zeros(classes_count)
    return np.asarray(np.log(_checked_prior(label_prior, classes_count)))


def logit_shift(y: Targets, log_of_prior: Floats) -> Floats:
    """Return log((count_c + .5) / (n + .5 C)) - log(prior_c) for each class c, (classes,).

    Args:
        y: (n,) class indices of the rows that are trained on.
        log_of_prior: (classes,), as `log_prior` returns it.
    """
    classes = len(log_of_prior)
    count = np.bincount(y, minlength=classes)
    share = (count + 0.5) / (len(y) + 0.5 * classes)
    return np.asarray(np.log(share) - log_of_prior)


def _checked_prior(label_prior: LabelPrior, classes_count: int) -> Floats:
    try:
        prior = np.asarray(label_prior, np.float64)
    except (TypeError, ValueError):
        prior = np.zeros(0)
    is_prior = prior.shape == (classes_count,) and bool((prior > 0).all())
    if not is_prior or not abs(prior.sum() - 1) <= _PRIOR_ERROR:
        raise ConfigError(
            f'label_prior must be "none", "uniform" or {classes_count} shares above 0 that add up '
            f"to 1, got {label_prior!r}.",
            hint="Write one share for each class, in the order of the sorted classes.",
        )
    return prior
