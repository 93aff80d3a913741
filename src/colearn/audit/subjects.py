"""The shipped mechanisms, as an audit runs them: the engine, and whole learners upon it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from colearn.audit.mechanism import Release, Settings
from colearn.errors import PrivacyError
from colearn.interface import DiffPrivConfig
from colearn.privacy.accountant import SampledGaussian, epsilon_of
from colearn.privacy.randomness import RandomSource
from colearn.privacy.settings import Privacy
from colearn.privacy.training import PrivateTraining
from colearn.schema import Schema

__all__ = [
    "CLIP",
    "LearnerMaker",
    "engine",
    "keras",
    "keras_maker",
    "linear",
    "linear_maker",
    "of_learner",
    "proposed_by",
    "torch",
    "torch_maker",
]

CLIP = 0.5
"""The clipping bound; not 1, so that a factor of it that is missing shows."""

_SIZE = 10.0
"""How far a canary's target is away, in units of `CLIP`: clipping has to cut its gradient."""

_LONG = 10.0
_VOTE_ROWS = 8

LearnerMaker = Callable[..., Any]
"""Makes a learner of ``train``, ``vote``, ``privacy`` and ``seed``."""


def engine(
    settings: Settings, source: RandomSource, kind: type[PrivateTraining] = PrivateTraining
) -> Release:
    """Return the engine alone: gradients that are clipped already, sampled, summed and noised.

    Args:
        settings: What is audited.
        source: Where the noise comes from.
        kind: The engine.
    """

    def release(included: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        places = np.flatnonzero(included)
        training = kind(
            rows_count=len(places),
            max_grad_norm=CLIP,
            noise_multiplier=settings.noise_multiplier,
            sampling_rate=1.0,
            steps=1,
            source=source,
        )
        update = np.zeros(len(included))
        for batch in training.batches():
            sums = np.zeros(len(included))
            np.add.at(sums, places[batch.rows], CLIP)
            update += training.released({"all": sums}, np.full(batch.units_count, CLIP))["all"]
        training.finish()
        return update

    return release


def of_learner(
    make: LearnerMaker,
    settings: Settings,
    noise: Literal["secure", "simulation"] = "secure",
    length: float = 1.0,
) -> Release:
    """Return a learner's whole way from its rows to a proposal: budget, gradients, clipping, noise.

    Canary i is the row that is `length` in column i and 0 elsewhere, with a target so far away that
    the gradient of its squared error is several times as long as the bound. Those left out are no
    rows.

    Args:
        make: Makes a learner of linear regression without intercept on ``settings.canaries``
            columns, whose weights are one array of as many numbers.
        settings: What is audited.
        noise: Where the noise comes from; "simulation" repeats.
        length: Of a canary's row; the longer, the less an intercept matters.
    """
    turns = count(settings.seed)
    step = SampledGaussian(settings.noise_multiplier, 1.0, 1)

    def release(included: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        places = np.flatnonzero(included)
        X = np.zeros((len(places), len(included)))
        X[np.arange(len(places)), places] = length
        config = DiffPrivConfig(
            target_epsilon=1.01 * epsilon_of([step], settings.delta),
            target_delta=settings.delta,
            max_grad_norm=CLIP,
            noise_multiplier=settings.noise_multiplier,
            expected_batch_size=len(places),
            steps_per_proposal=1,
            planned_proposals=1,
            noise=noise,
        )
        with TemporaryDirectory(prefix="colearn-audit-") as folder:
            learner = make(
                train=(X, np.full(len(places), _SIZE * CLIP)),
                vote=(np.zeros((_VOTE_ROWS, len(included))), np.arange(float(_VOTE_ROWS))),
                privacy=Privacy(proposals=config, directory=Path(folder), dataset="canaries"),
                seed=next(turns),
            )
            return _update(learner, len(included))

    return release


def linear(settings: Settings, noise: Literal["secure", "simulation"] = "secure") -> Release:
    """Return a learner on scikit-learn's SGDRegressor.

    Raises:
        MissingExtraError: The extra `sklearn` is not installed.
    """
    return of_learner(linear_maker(settings.canaries), settings, noise)


def torch(settings: Settings, noise: Literal["secure", "simulation"] = "secure") -> Release:
    """Return a learner on one linear layer of PyTorch.

    Raises:
        MissingExtraError: The extra `torch` is not installed.
    """
    return of_learner(torch_maker(settings.canaries), settings, noise)


def keras(settings: Settings, noise: Literal["secure", "simulation"] = "secure") -> Release:
    """Return a learner on one dense layer of Keras.

    Raises:
        MissingExtraError: The extra `keras` is not installed.
    """
    return of_learner(keras_maker(settings.canaries), settings, noise, length=_LONG)


def linear_maker(canaries: int) -> LearnerMaker:
    """Return what makes learners on SGDRegressor with so many columns.

    Raises:
        MissingExtraError: The extra `sklearn` is not installed.
    """
    from colearn.learners import SklearnLearner  # noqa: PLC0415  (needs its extra)

    return partial(
        SklearnLearner.from_settings,
        Schema.of(canaries, None),
        estimator="sklearn.linear_model:SGDRegressor",
        penalty=None,
        fit_intercept=False,
        learning_rate="constant",
        eta0=0.1,
    )


def keras_maker(canaries: int) -> LearnerMaker:
    """Return what makes learners on one dense layer of Keras with so many columns.

    It has an intercept, which takes a part of a gradient that does not count with `_LONG` rows.

    Raises:
        MissingExtraError: The extra `keras` is not installed.
    """
    from colearn.learners import KerasLearner  # noqa: PLC0415  (needs its extra)

    return partial(
        KerasLearner.from_settings,
        Schema.of(canaries, None),
        model="colearn.learners.keras_models:mlp",
        model_with={"hidden": ()},
    )


def torch_maker(canaries: int) -> LearnerMaker:
    """Return what makes learners on one linear layer with so many columns.

    Raises:
        MissingExtraError: The extra `torch` is not installed.
    """
    from colearn.learners import TorchLearner  # noqa: PLC0415  (needs its extra)

    return partial(
        TorchLearner.from_settings,
        Schema.of(canaries, None),
        module="torch.nn:Linear",
        module_with={"in_features": canaries, "out_features": 1, "bias": False},
    )


def proposed_by(learner: Any) -> Any:
    """Return the arrays of a learner's private proposal.

    Raises:
        PrivacyError: It makes none.
    """
    proposed = learner.mli_propose_weights()
    summary = proposed.training_summary
    if summary is None or summary.error_code is not None:
        why = "it has no budget" if summary is None else summary.error_code.name
        raise PrivacyError(f"The learner of the audit made no private proposal: {why}.")
    return proposed.weights


def _update(learner: Any, canaries: int) -> npt.NDArray[np.float64]:
    before = learner.mli_get_current_weights().weights
    after = proposed_by(learner)
    name = next(name for name in before if before[name].size == canaries)
    return np.asarray((np.asarray(after[name], np.float64) - before[name]).ravel(), np.float64)
