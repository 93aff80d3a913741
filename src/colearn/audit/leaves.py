"""The shipped forest, as an audit runs it: a canary in each leaf of one tree."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from colearn.audit.mechanism import Release, Settings
from colearn.audit.subjects import proposed_by
from colearn.errors import MissingExtraError
from colearn.interface import DiffPrivConfig
from colearn.privacy import Privacy, SampledGaussian, epsilon_of
from colearn.privacy.onerun import auc_of
from colearn.schema import Schema
from colearn.weights import NO_NODE

__all__ = ["forest", "share_auc"]

_FEATURES = 8
_VOTE_ROWS = 8
_SIMULATED = 400_000


def forest(settings: Settings, noise: Literal["secure", "simulation"] = "secure") -> Release:
    """Return a forest's whole way from its rows to one tree with noised leaves.

    Splits look at no row, so the same seed makes the same tree of other rows. A first learner with
    that seed tells where the leaves are, and canary i is the one row of leaf i, of the first class.
    What is released of a leaf is the share of that class.

    Raises:
        MissingExtraError: The extra `sklearn` is not installed.
    """
    depth = int(np.ceil(np.log2(settings.canaries)))
    seeds = count(settings.seed)

    def release(included: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        seed = next(seeds)
        middles = _middles(_tree(np.zeros((1, _FEATURES)), settings, noise, depth, seed))
        places = np.flatnonzero(included)
        grown = _tree(middles[places], settings, noise, depth, seed)
        leaves = np.flatnonzero(grown["left"] == NO_NODE)[: len(included)]
        return np.asarray(grown["value"][leaves, 0], np.float64)

    return release


def share_auc(noise_multiplier: float) -> float:
    """Return how well a leaf's share tells one row from none in theory, by simulation.

    Shares are those of counts under Gaussian noise, where negative ones count as none.
    """
    draws = np.random.default_rng(0)
    noised = noise_multiplier * draws.normal(size=(_SIMULATED, 2))
    included = np.arange(_SIMULATED) % 2 == 0
    noised[included, 0] += 1
    counts = np.maximum(noised, 0.0)
    total = counts.sum(axis=1)
    shares = np.divide(counts[:, 0], total, out=np.full(_SIMULATED, 0.5), where=total > 0)
    return auc_of(shares, included)[0]


def _tree(
    X: npt.NDArray[np.float64],
    settings: Settings,
    noise: Literal["secure", "simulation"],
    depth: int,
    seed: int,
) -> Any:
    """Return the arrays of one private tree on the rows X, all of the first class."""
    try:
        from colearn.learners.forest import RandomForestLearner  # noqa: PLC0415  (needs its extra)
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-learn", extra="sklearn") from error
    step = SampledGaussian(settings.noise_multiplier, 1.0, 1)
    config = DiffPrivConfig(
        target_epsilon=1.01 * epsilon_of([step], settings.delta),
        target_delta=settings.delta,
        max_grad_norm=1.0,
        noise_multiplier=settings.noise_multiplier,
        planned_proposals=1,
        noise=noise,
    )
    with TemporaryDirectory(prefix="colearn-audit-") as folder:
        learner = RandomForestLearner.from_settings(
            Schema.of(_FEATURES, range(2)),
            trees_per_proposal=1,
            bounds=(0.0, 1.0),
            private_depth=depth,
            train=(X, np.zeros(len(X), int)),
            # Beyond the bounds, so that none of them is a canary.
            vote=(np.full((_VOTE_ROWS, _FEATURES), 2.0), np.arange(_VOTE_ROWS) % 2),
            privacy=Privacy(proposals=config, directory=Path(folder), dataset="canaries"),
            seed=seed,
        )
        return proposed_by(learner)


def _middles(tree: Any) -> npt.NDArray[np.float64]:
    """Return a point within each leaf, in the order of the leaves, (leaves, features)."""
    whole = (np.zeros(_FEATURES), np.ones(_FEATURES))
    cells, found = [(0, *whole)], {}
    while cells:
        node, low, high = cells.pop()
        if tree["left"][node] == NO_NODE:
            found[node] = (low + high) / 2
            continue
        column, cut = tree["feature"][node], tree["threshold"][node]
        below, above = high.copy(), low.copy()
        below[column] = above[column] = cut
        cells += [(tree["left"][node], low, below), (tree["right"][node], above, high)]
    return np.array([found[node] for node in sorted(found)])
