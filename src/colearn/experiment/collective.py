"""A group of learners in one process that train one model."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colearn.core import (
    Ballot,
    Outcome,
    Rules,
    Threshold,
    Tolerance,
    TurnQueue,
    exact_threshold,
    tolerance,
)
from colearn.driver import RoundReport, conduct_round
from colearn.errors import ConfigError, WeightsError
from colearn.experiment.folder import RunFolder
from colearn.experiment.html import run_as_html
from colearn.experiment.records import RoundRecord, Sink, finite_or_none
from colearn.interface import MachineLearningInterface
from colearn.weights import NamedArrays, freeze, require_like

__all__ = ["Collective"]


class Collective:
    """Learners that take turns to propose, vote on each proposal, and end up with one model.

    Attributes:
        names: The learners' names, in join order.
        rules: The rules of the vote (P3.3).
        records_: The record of every round so far.
        stopped_: Why the last call of `rounds` ended: "rounds", "patience" or "target".
    """

    def __init__(
        self,
        learners: Sequence[MachineLearningInterface],
        *,
        threshold: Threshold = "1/2",
        directory: str | Path | None = None,
        patience: int | None = None,
        target: float | None = None,
        sinks: Sequence[Sink] = (),
    ) -> None:
        """Bring the group together; nobody trains yet.

        Args:
            learners: At least two, whose weights are a dict of numpy arrays, equal on all (6.1).
            threshold: t of P3.3; a float means its shortest decimal.
            directory: Where to write the run; None writes nothing.
            patience: Stop after so many proposals in a row that were not accepted.
            target: Stop when the global model's score is at least this.
            sinks: Where else records go.

        Raises:
            ConfigError: Too few learners, a name or an object twice, schemas or models that
                differ (names the column, class or array), a setting out of range, or a directory
                that holds a run already.
        """
        self._learners = list(learners)
        self.rules = Rules(exact_threshold(threshold))
        self.names = _names(self._learners)
        if patience is not None and patience < 1:
            raise ConfigError(f"patience must be at least 1, got {patience!r}.")
        self._patience, self._target = patience, target
        _check_schemas(self._learners, self.names)
        self._model = _common_model(self._learners, self.names)
        self._queue = TurnQueue(self.names)
        self._score: float | None = None
        self._in_a_row = 0
        self.records_: list[RoundRecord] = []
        self.stopped_: str = ""
        self.folder = None if directory is None else RunFolder.create(Path(directory))
        self._sinks = [*([self.folder] if self.folder else []), *sinks]

    @property
    def tolerance(self) -> Tolerance:
        """How many silent and how many hostile members the rules survive (section 9)."""
        return tolerance(self.rules, len(self.names))

    @property
    def weights_(self) -> NamedArrays:
        """The global model's weights, which cannot be changed."""
        return self._model

    @property
    def model_(self) -> Any:
        """The global model as the learners' framework knows it, such as a fitted estimator."""
        return self._learners[0].model_  # type: ignore[attr-defined]

    @property
    def score_(self) -> float | None:
        """The global model's score; None before the first acceptance."""
        return self._score

    def rounds(self, count: int) -> Iterator[RoundRecord]:
        """Run up to `count` further rounds, and yield the record of each when it has ended.

        The rounds run as the iterator is read. It ends early when patience runs out or the
        target is reached.

        Raises:
            ConfigError: `count` is below 1.
            ColearnError: The run folder cannot be written.
        """
        if count < 1:
            raise ConfigError(f"The number of rounds must be at least 1, got {count!r}.")
        for _ in range(count):
            record = self._one_round()
            yield record
            self.stopped_ = self._reason_to_stop()
            if self.stopped_:
                return
        self.stopped_ = "rounds"

    def _repr_html_(self) -> str:
        return run_as_html(self.names, self.records_)

    def _one_round(self) -> RoundRecord:
        proposer = self.names.index(self._queue.proposer)
        report = conduct_round(self._learners, proposer, self.rules, arrays_only=True)
        proposal = report.proposal.weights if report.proposal is not None else None
        accepted = report.outcome is Outcome.ACCEPTED
        if accepted and proposal is not None:
            self._model = proposal
            self._score = _group_score(report)
        if report.outcome is not Outcome.NO_PROPOSAL:
            self._in_a_row = 0 if accepted else self._in_a_row + 1
        record = self._record(report, "" if proposal is None else proposal.digest)
        self._queue = self._queue.next()
        self.records_.append(record)
        if accepted and self.folder is not None:
            self.folder.write_model(self._model)
        for sink in self._sinks:
            sink.on_round(record)
        return record

    def _reason_to_stop(self) -> str:
        if self._target is not None and self._score is not None and self._score >= self._target:
            return "target"
        if self._patience is not None and self._in_a_row >= self._patience:
            return "patience"
        return ""

    def _record(self, report: RoundReport, proposal: str) -> RoundRecord:
        tally = report.tally
        votes: dict[str, Ballot] = {
            name: ballot
            for name, ballot in zip(self.names, report.ballots, strict=True)
            if ballot is not None
        }
        entries = dict(zip(self.names, report.entries, strict=True))
        return RoundRecord(
            round_number=len(self.records_) + 1,
            proposer=self.names[report.proposer],
            outcome=report.outcome,
            reason=report.reason,
            members=len(self.names),
            approvals=tally.approvals if tally else 0,
            needed=tally.needed if tally else 0,
            rejections=tally.rejections if tally else 0,
            abstentions=tally.abstentions if tally else 0,
            silent=tally.silent if tally else 0,
            votes=votes,
            vote_scores={name: finite_or_none(entry.vote_score) for name, entry in entries.items()},
            test_scores={name: finite_or_none(entry.test_score) for name, entry in entries.items()},
            score=self._score,
            proposal=proposal,
            model=self._model.digest,
            failures={
                self.names[place]: type(error).__name__ for place, error in report.failures.items()
            },
        )


def _group_score(report: RoundReport) -> float | None:
    for scores in (
        [finite_or_none(entry.test_score) for entry in report.entries],
        [finite_or_none(entry.vote_score) for entry in report.entries],
    ):
        known = [score for score in scores if score is not None]
        if known:
            return statistics.median(known)
    return None


def _names(learners: Sequence[MachineLearningInterface]) -> tuple[str, ...]:
    if len(learners) < 2:
        raise ConfigError(f"Collective learning needs at least 2 learners, got {len(learners)}.")
    if len({id(learner) for learner in learners}) != len(learners):
        raise ConfigError("The same learner object is in the group twice.")
    names = tuple(
        str(getattr(learner, "name", f"learner-{place}"))
        for place, learner in enumerate(learners, start=1)
    )
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"Two learners are called {name!r}.", hint="Give each its own name.")
    return names


def _check_schemas(learners: Sequence[MachineLearningInterface], names: Sequence[str]) -> None:
    """Refuse a learner whose columns or classes differ from the first one's (6.1)."""
    first: Any = getattr(learners[0], "schema", None)
    for name, learner in zip(names, learners, strict=True):
        schema: Any = getattr(learner, "schema", None)
        if first is None or schema is None:
            continue
        difference = first.difference(schema)
        if difference is not None:
            raise ConfigError(
                f"Learner {name!r} has another schema than {names[0]!r}: {difference}."
            )


def _common_model(
    learners: Sequence[MachineLearningInterface], names: Sequence[str]
) -> NamedArrays:
    """Return the model all learners start from; refuse one whose model differs (6.1)."""
    model = _weights_of(learners[0], names[0])
    for name, learner in zip(names[1:], learners[1:], strict=True):
        other = _weights_of(learner, name)
        try:
            require_like(other.layout, model.layout)
        except WeightsError as error:
            raise ConfigError(
                f"Learner {name!r} starts from another model than {names[0]!r}: {error}"
            ) from error
        for array in model:
            if not np.array_equal(model[array], other[array]):
                raise ConfigError(
                    f"Learner {name!r} starts from another model than {names[0]!r}: array "
                    f"{array!r} differs.",
                    hint="Give every learner the same model 0 (the same model_seed).",
                )
    return model


def _weights_of(learner: MachineLearningInterface, name: str) -> NamedArrays:
    weights = learner.mli_get_current_weights().weights
    if not isinstance(weights, dict):
        raise ConfigError(
            f"Learner {name!r}: expected a dict of numpy arrays, got {type(weights).__name__}.",
            hint="Only run_one_round takes other weights.",
        )
    return freeze(weights)
