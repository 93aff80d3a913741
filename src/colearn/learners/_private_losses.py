"""What single private rows say of a model, so that no row speaks for another.

A model made for the purpose could fail on one row. If that failed the evaluation of all, the row
would decide the vote alone, and whoever made the model would know that it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.learners._family import Features, ModelFamily
from colearn.learners._metrics import row_losses
from colearn.learners._rows import LabelledRows
from colearn.learners._scoring import Floats, Predictions, Targets
from colearn.weights import NamedArrays

__all__ = ["PrivateLosses"]

_KEPT_COUNT = 2
"""The model and the proposal that was judged last, which may become it."""


class PrivateLosses:
    """Evaluates models on private rows, each row for itself where they cannot be taken together."""

    def __init__(
        self,
        family: ModelFamily,
        decides: str,
        vote: LabelledRows,
        test: LabelledRows | None,
        computing: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        """Take the rows.

        Args:
            family: Predicts.
            decides: The metric of a row whose differences decide.
            vote: The vote set.
            test: The test set.
            computing: The surroundings in which the family predicts.
        """
        self._family, self._decides, self._computing = family, decides, computing
        self._vote, self._test = vote, test
        self._kept: list[tuple[NamedArrays, Floats]] = []

    def differences(self, model: NamedArrays, proposed: NamedArrays) -> Floats:
        """Return loss(M) - loss(M') of each vote row, (rows,); NaN or -inf speaks against M'."""
        with np.errstate(all="ignore"):
            return np.asarray(self._losses(model) - self._losses(proposed))

    def correct(self, proposed: NamedArrays) -> npt.NDArray[np.bool_]:
        """Say of each test row whether its class is predicted, (rows,)."""
        assert self._test is not None

        def right(shown: Predictions, y: Targets) -> npt.NDArray[Any]:
            return np.asarray(shown.best == y)

        return self._of_each(proposed, self._test, right, np.zeros(1, np.bool_)).astype(np.bool_)

    def _losses(self, model: NamedArrays) -> Floats:
        for known, losses in self._kept:
            if known is model:
                return losses

        def losses_of(shown: Predictions, y: Targets) -> Floats:
            return row_losses(self._decides, y, shown)

        found = np.asarray(self._of_each(model, self._vote, losses_of, np.full(1, np.inf)))
        self._kept = [*self._kept, (model, found)][-_KEPT_COUNT:]
        return found

    def _of_each(
        self,
        model: NamedArrays,
        rows: LabelledRows,
        say: Callable[[Predictions, Targets], npt.NDArray[Any]],
        failed: npt.NDArray[Any],
    ) -> npt.NDArray[Any]:
        def said(X: Features, y: Targets) -> npt.NDArray[Any]:
            with self._computing(), np.errstate(all="ignore"):
                return say(self._family.predict(model, X), y)

        try:
            return said(rows.X, rows.y)
        except Exception:  # noqa: BLE001  (frameworks raise what they like)
            parts = []
            for place in range(len(rows.y)):
                one = slice(place, place + 1)
                try:
                    parts.append(said(rows.X[one], rows.y[one]))
                except Exception:  # noqa: BLE001
                    parts.append(failed)
            return np.concatenate(parts)
