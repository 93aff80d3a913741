"""One proposal's private gradient descent: which rows a step sees, the bound, and the noise.

A framework computes the clipped gradients; this class alone decides what is drawn and what is
released (Abadi et al., 2016). It releases nothing that breaks the bound the accounting relies on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colearn.errors import ConfigError, PrivacyError
from colearn.privacy.randomness import RandomSource, noised, poisson_sample, uniform_below

__all__ = ["Batch", "PrivateTraining"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NORM_SLACK = 1e-4
"""How far, relatively, float32 may push a clipped norm over its bound; the noise covers it."""

SUM_SLACK = 1e-12
"""The same of a sum, in units of the bound: what is left of rounding when the norms are 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The rows of one step.

    Attributes:
        rows: Indices into the training rows; int64 (b,).
        units: To which unit of this batch each row belongs, from 0 to ``units_count - 1``;
            int64 (b,).
        units_count: Units in this batch; 0 is as good a number as any, and must be released too.
    """

    rows: IntArray
    units: IntArray
    units_count: int


class PrivateTraining:
    """The private gradient descent of one proposal.

    Every batch is released once and before the next is drawn; `finish` checks that none is
    missing. A unit is a row, or with `users` all rows of one user, of which the same at most
    `max_records_per_user`, drawn when this is built, take part in every step.

    The released numbers are rounded to a grid near ``noise_multiplier * max_grad_norm * 2**-20``,
    since the low bits of floating-point sums tell them apart whatever the noise (Mironov, 2012).
    That lowers this risk and does not remove it.

    Args:
        rows_count: Rows of the training data, at least 1.
        max_grad_norm: The L2 bound of a unit's gradient, over all parameters together; over 0.
        noise_multiplier: Standard deviation of the noise in units of the bound; 0 is no noise,
            and then epsilon is infinite.
        sampling_rate: The chance of each unit to be in a step, over 0 and at most 1.
        steps: Steps of the proposal, at least 1.
        source: Where the draws and the noise come from.
        users: Of which user each row is; (rows,) of numbers or text. None if each row is a unit.
        max_records_per_user: Rows of one user that take part.

    Attributes:
        expected_batch_size: The sampling rate times the number of units.
        units_count: Units of the whole data.

    Raises:
        ConfigError: An argument is outside its range.
    """

    def __init__(
        self,
        *,
        rows_count: int,
        max_grad_norm: float,
        noise_multiplier: float,
        sampling_rate: float,
        steps: int,
        source: RandomSource,
        users: npt.ArrayLike | None = None,
        max_records_per_user: int = 1,
    ) -> None:
        """Check the settings, and draw the rows of users that have too many."""
        _require_whole("rows_count", rows_count)
        _require_whole("steps", steps)
        _require_whole("max_records_per_user", max_records_per_user)
        _require_between("max_grad_norm", max_grad_norm, over=0.0, most=math.inf)
        _require_between("sampling_rate", sampling_rate, over=0.0, most=1.0)
        if not (math.isfinite(noise_multiplier) and noise_multiplier >= 0):
            raise ConfigError(
                f"noise_multiplier must be finite and at least 0, got {noise_multiplier!r}."
            )
        self.rows_count = rows_count
        self.max_grad_norm = float(max_grad_norm)
        self.noise_multiplier = float(noise_multiplier)
        self.sampling_rate = float(sampling_rate)
        self.steps = steps
        self._source = source
        self._rows_of = (
            None
            if users is None
            else _rows_of_users(users, rows_count, max_records_per_user, source)
        )
        self.units_count = rows_count if self._rows_of is None else len(self._rows_of)
        self.expected_batch_size = self.sampling_rate * self.units_count
        self._drawn = 0
        self._released = 0
        self._batch: Batch | None = None
        self._shapes: dict[str, tuple[int, ...]] | None = None

    def batches(self) -> Iterator[Batch]:
        """Yield the batch of every step: each unit is in it with the same chance, on its own.

        Raises:
            PrivacyError: The batch before was not released, or the steps were drawn already.
        """
        if self._drawn:
            raise PrivacyError(
                "The batches of a proposal are drawn once: a second draw is not paid for."
            )
        while self._drawn < self.steps:
            if self._batch is not None:
                raise PrivacyError(
                    f"Step {self._drawn} of {self.steps} was drawn and not released.",
                    hint="Release every batch before the next, empty ones too, with zeros.",
                )
            self._drawn += 1
            self._batch = self._draw()
            yield self._batch

    def released(
        self, sums: Mapping[str, npt.NDArray[np.floating]], norms: npt.NDArray[np.floating]
    ) -> dict[str, FloatArray]:
        """Return the noisy mean gradient of the current batch.

        Args:
            sums: Of each parameter, the sum of the units' clipped gradients; every parameter in
                every step, zeros for an empty batch.
            norms: L2 norm of each unit's clipped gradient, over all parameters together;
                (units_count of the batch,).

        Returns:
            Of each parameter ``(sum + noise) / expected_batch_size``, float64.

        Raises:
            PrivacyError: There is no batch to release, a norm is over the bound, the sums are
                longer than their norms allow, a number is not finite, or the parameters are not
                those of the step before. Nothing is released.
        """
        batch = self._batch
        if batch is None:
            raise PrivacyError("There is no batch to release: each is released exactly once.")
        arrays = {name: np.asarray(value, dtype=np.float64) for name, value in sums.items()}
        self._check(arrays, np.asarray(norms, dtype=np.float64), batch)
        # The bound is the sensitivity accounted for, so noise grows by what a norm may exceed it.
        deviation = self.noise_multiplier * self.max_grad_norm * (1 + NORM_SLACK)
        noisy = {name: noised(value, deviation, self._source) for name, value in arrays.items()}
        self._batch = None
        self._shapes = {name: value.shape for name, value in arrays.items()}
        self._released += 1
        return {name: value / self.expected_batch_size for name, value in noisy.items()}

    def finish(self) -> None:
        """Check that every step was drawn and released.

        Raises:
            PrivacyError: One was not.
        """
        if self._released != self.steps or self._batch is not None:
            raise PrivacyError(
                f"A proposal of {self.steps} steps ended after {self._released} releases.",
                hint="Release every batch, empty ones too.",
            )

    def _draw(self) -> Batch:
        units = poisson_sample(self.units_count, self.sampling_rate, self._source)
        if self._rows_of is None:
            return Batch(units, np.arange(units.size, dtype=np.int64), units.size)
        parts = [self._rows_of[unit] for unit in units]
        lengths = [part.size for part in parts]
        rows = np.concatenate([np.empty(0, dtype=np.int64), *parts])
        return Batch(rows, np.repeat(np.arange(units.size, dtype=np.int64), lengths), units.size)

    def _check(self, sums: Mapping[str, FloatArray], norms: FloatArray, batch: Batch) -> None:
        shapes = {name: value.shape for name, value in sums.items()}
        # Which parameters are released must not depend on the batch.
        if not shapes or self._shapes not in (None, shapes):
            raise PrivacyError(
                f"Expected the sums of the same parameters in every step, {self._shapes}, got "
                f"{shapes}. Nothing was released.",
                hint="Give zeros for a parameter without a gradient.",
            )
        if norms.shape != (batch.units_count,):
            raise PrivacyError(
                f"Expected the norm of each of {batch.units_count} units, got {norms.shape}."
            )
        bound = self.max_grad_norm * (1 + NORM_SLACK)
        # Written so that NaN fails as well.
        if not bool(np.all((norms >= 0) & (norms <= bound))):
            raise PrivacyError(
                f"A clipped gradient has a norm over max_grad_norm, {self.max_grad_norm}, or one "
                f"that is no number; the largest is {norms.max()}. Nothing was released.",
                hint="The framework's clipping does not work with this model.",
            )
        length = math.sqrt(math.fsum(float(np.vdot(value, value)) for value in sums.values()))
        most = float(norms.sum()) * (1 + NORM_SLACK) + SUM_SLACK * self.max_grad_norm
        if not length <= most:
            raise PrivacyError(
                f"The sum of the clipped gradients has the norm {length}, more than the sum of "
                f"their norms, {float(norms.sum())}. Nothing was released.",
                hint="The sums must be those of the clipped gradients, of this batch alone.",
            )


def _rows_of_users(
    users: npt.ArrayLike, rows_count: int, most: int, source: RandomSource
) -> list[IntArray]:
    """Return the rows of each user, ascending, at most `most` of each, drawn at random."""
    names = np.asarray(users)
    if names.shape != (rows_count,):
        raise ConfigError(
            f"Expected the user of each of {rows_count} rows, got the shape {names.shape}."
        )
    if names.dtype.kind not in "biuUS":
        raise ConfigError(f"Users are whole numbers or text, got {names.dtype}.")
    _, unit = np.unique(names, return_inverse=True)
    order = np.argsort(unit, kind="stable").astype(np.int64)
    rows = np.split(order, np.cumsum(np.bincount(unit))[:-1])
    return [part if part.size <= most else _drawn(part, most, source) for part in rows]


def _drawn(rows: IntArray, most: int, source: RandomSource) -> IntArray:
    """Return `most` of `rows`, ascending, each choice as likely (Fisher and Yates, 1938)."""
    pool = rows.copy()
    for place in range(most):
        other = place + uniform_below(pool.size - place, source)
        pool[place], pool[other] = pool[other], pool[place]
    return np.sort(pool[:most])


def _require_whole(name: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}.")


def _require_between(name: str, value: float, *, over: float, most: float) -> None:
    if not (math.isfinite(value) and over < value <= most):
        raise ConfigError(f"{name} must be finite, over {over} and at most {most}, got {value!r}.")
