"""What a learner's own rows say of a model: the losses that decide, and the scores (section 4)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from colearn.errors import ColearnWarning, ConfigError
from colearn.learners._family import Features
from colearn.learners._metrics import (
    LOSS,
    Metric,
    is_own,
    metric_named,
    require_deciding,
    row_losses,
)
from colearn.learners._rows import LabelledRows
from colearn.learners._scoring import Floats, Predictions
from colearn.schema import Schema

__all__ = ["Choice", "Judge", "Judgement"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a learner's own rows say of a model.

    Attributes:
        losses: (vote rows,) loss of each row of the vote set.
        vote_score: The metric on the vote set; NaN where it has no value.
        test_score: The metric on the test set; None without one.
        monitored: Each monitored metric by name, on the test set, or on the vote set without one.
    """

    losses: Floats
    vote_score: float
    test_score: float | None
    monitored: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a learner is told to judge by, by name.

    Attributes:
        metric: Decides in mode ``classic`` and is the score of both sets; None takes accuracy,
            or r2.
        monitor: Metrics that are reported beside it and never decide.
        decides: In mode ``paired`` the loss of each row that decides.
        mode: "paired" or "classic".
    """

    metric: str | None
    monitor: Sequence[str]
    decides: str
    mode: str

    def __post_init__(self) -> None:
        if self.mode not in ("paired", "classic"):
            raise ConfigError(f'The mode must be "paired" or "classic", got {self.mode!r}.')
        if isinstance(self.monitor, str) or not isinstance(self.monitor, Sequence):
            raise ConfigError(
                f"monitor must be a list of names of metrics, got {self.monitor!r}.",
                hint='Write monitor = ["f1_macro"].',
            )
        if self.mode == "classic" and self.decides != LOSS:
            raise ConfigError(
                f"decides={self.decides!r} is for mode paired; in mode classic the metric decides.",
                hint=f"Write metric={self.decides!r} instead.",
            )


class Judge:
    """Applies chosen metrics to the private rows of one learner."""

    def __init__(
        self,
        choice: Choice,
        schema: Schema,
        vote: LabelledRows,
        test: LabelledRows | None,
        trial: Callable[[], Predictions],
    ) -> None:
        """Look the metrics up.

        Args:
            choice: Their names.
            schema: Columns and classes.
            vote: The private rows to vote on.
            test: Rows that only report a score; None for none.
            trial: Makes any predictions of the model, to see their kind; called if needed.

        Raises:
            ConfigError: A metric that is unknown, does not fit the task or the rows' weights, or
                cannot decide in mode ``paired``.
            MissingExtraError: A metric is scikit-learn's, and the extra is not installed.
        """
        self._vote, self._test = vote, test
        self._decides = choice.decides
        self._name = choice.metric or ("r2" if schema.classes is None else "accuracy")
        names = dict.fromkeys([self._name, *choice.monitor])
        count = len(schema.classes or ())
        only_own = all(is_own(name, count) for name in names)
        shown = _NONE if only_own and choice.decides == LOSS else trial()
        require_deciding(choice.decides, shown)
        weighted = vote.weights is not None or (test is not None and test.weights is not None)
        found = {
            name: metric_named(name, shown, classes_count=count, weighted=weighted)
            for name in names
        }
        self._metric = found[self._name]
        self._monitor: dict[str, Metric] = {name: found[name] for name in choice.monitor}
        self._kind = shown.kind

    def judgement(self, predict: Callable[[Features], Predictions]) -> Judgement:
        """Return what the rows say of the model whose predictions `predict` makes of X."""
        vote, test = self._vote, self._test
        shown, on_vote, test_score = vote, predict(vote.X), None
        on_shown = on_vote
        if test is not None:
            shown, on_shown = test, predict(test.X)
            test_score = self._metric(test.y, on_shown, test.weights)
        return Judgement(
            row_losses(self._decides, vote.y, on_vote),
            self._metric(vote.y, on_vote, vote.weights),
            test_score,
            {
                name: metric(shown.y, on_shown, shown.weights)
                for name, metric in self._monitor.items()
            },
        )

    def warn_of_no_value(self, name: str, schema: Schema) -> None:
        """Warn once of metrics that have no value on the rows of learner `name`, whatever model."""
        reported = "vote" if self._test is None else "test"
        asked = [(self._name, self._metric, "vote")]
        asked += [(key, metric, reported) for key, metric in self._monitor.items()]
        without = [
            f"{key} has no value on its {what} set, which {self._lack(what, schema)}"
            for key, metric, what in dict.fromkeys(asked)
            if not self._has_value(metric, what)
        ]
        if without:
            warnings.warn(
                f"Learner {name!r}: {'; '.join(without)}. The score is NaN there.",
                ColearnWarning,
                stacklevel=4,
            )

    def _rows(self, what: str) -> LabelledRows:
        return self._vote if what == "vote" or self._test is None else self._test

    def _has_value(self, metric: Metric, what: str) -> bool:
        has_value = getattr(metric, "has_value", None)
        return has_value is None or has_value(self._rows(what).y, self._kind)

    def _lack(self, what: str, schema: Schema) -> str:
        occur = set(np.unique(self._rows(what).y).tolist())
        lacking = [
            repr(label) for place, label in enumerate(schema.classes or ()) if place not in occur
        ]
        return f"lacks class {', '.join(lacking)}" if lacking else "has no fitting targets"


_NONE = Predictions("values", np.zeros(0))
"""Stands for predictions where their kind does not matter."""
