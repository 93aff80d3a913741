"""The one way a learner proposes, tests and accepts, whatever it learns with (protocol 2, 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from colearn.errors import ColearnError, ConfigError, LearnerError
from colearn.interface import (
    ColearnModel,
    MachineLearningInterface,
    ProposedWeights,
    TrainingSummary,
    Weights,
)
from colearn.learners._family import Arrays, Features, ModelFamily, weighs_rows
from colearn.learners._judging import Choice, Judge, Judgement
from colearn.learners._metrics import LOSS
from colearn.learners._row_weights import ClassWeight, checked_class_weight, weighed
from colearn.learners._rows import LabelledRows, Rows, as_matrix, check_disjoint, labelled
from colearn.learners._scoring import (
    Floats,
    Predictions,
    class_balance,
    improves,
    is_not_worse,
)
from colearn.learners._threads import one_thread
from colearn.schema import Schema
from colearn.weights import NamedArrays, freeze, require_like

if TYPE_CHECKING:
    from colearn.learners._private import PrivateRows, Users
    from colearn.privacy import Privacy

__all__ = ["Judgement", "Rows", "TemplateLearner"]


class TemplateLearner(MachineLearningInterface):
    """A learner made of a model family and private rows.

    Attributes:
        name: What records and screens call it.
        schema: Columns and classes, equal on every learner of an experiment (6.1).
        grows: Whether its proposals add to the arrays (P3.5).
        local_state: What it keeps beside its weights from one proposal to the next: nothing.
    """

    local_state = "none"

    _any_rank: ClassVar[bool] = False
    """Whether rows may have more dimensions than a list of columns, as images have."""

    def __init__(
        self,
        family: ModelFamily,
        schema: Schema,
        *,
        train: Rows,
        vote: Rows,
        test: Rows | None = None,
        name: str = "learner",
        seed: int = 0,
        mode: Literal["paired", "classic"] = "paired",
        z: float = -2.0,
        balanced: bool = True,
        damping: float | None = None,
        metric: str | None = None,
        monitor: Sequence[str] = (),
        decides: str = LOSS,
        class_weight: ClassWeight = None,
        privacy: Privacy | None = None,
        users: Users | None = None,
    ) -> None:
        """Check the data and start from model 0.

        Args:
            family: The model family.
            schema: Columns and classes.
            train: The rows to train on: X, y and, where rows count unlike, their weights above 0,
                (rows,), of which only the ratios matter. So are the other two sets.
            vote: The private rows to vote on; disjoint from `train`, and fixed.
            test: Rows that only report a score; none of them is the same as None.
            name: What records and screens call the learner.
            seed: Makes its proposals repeatable; not shared with others.
            mode: "paired" (default) or "classic" (section 4).
            z: The bar of `paired`, in standard errors.
            balanced: Whether `paired` weighs a classifier's rows by 1 / (count of their class).
            damping: The share of a training step that is proposed; None takes the family's.
            metric: A name of ``sklearn.metrics.get_scorer_names()`` that fits the task, or
                "neg_loss"; None takes accuracy or r2. It decides in mode "classic", and is the
                score of the vote and the test set.
            monitor: More such names, reported beside the score; they never decide.
            decides: What decides in mode "paired": "loss" (section 4), or a metric that is a mean
                over rows: accuracy, neg_log_loss, neg_mean_squared_error or
                neg_mean_absolute_error.
            class_weight: How much the rows of each class count in training and in `paired`, where
                it replaces `balanced`: "balanced" for every class alike, or weights above 0 by
                class. Scores weigh rows by their own weights alone.
            privacy: What proposals and votes may reveal, and where the spends are written down;
                None for no such limit.
            users: Whose each training row and each vote row is, where privacy hides users.

        Raises:
            ConfigError: Rows that do not fit the schema, missing values, fewer than 2 vote rows,
                vote rows among the training rows, a setting out of range, a metric that does not
                fit, weights in training that the family cannot take, or a setting that reveals
                what `privacy` is to hide.
            MissingExtraError: A metric is scikit-learn's, and the extra `sklearn` is not there;
                or privacy needs the extra `privacy`.
            PrivacyError: The record of spends is damaged, or cannot be written.
        """
        self.name = name
        self.schema = schema
        self.grows = family.grows
        self._family = family
        self._seed = seed
        self._proposals_count = 0
        self._round_number: int | None = None
        self._mode: str = mode
        choice = Choice(metric, monitor, decides, mode)
        self._z = _checked_number(z, "z", -math.inf, 0.0)
        self._damping = _checked_number(
            family.damping if damping is None else damping, "damping", 0.0, 1.0
        )
        self._train = self._data(train, "train")
        self._vote = self._data(vote, "vote")
        self._test = None if test is None else self._data(test, "test")
        if self._test is not None and not len(self._test.y):
            self._test = None
        check_disjoint(name, self._train, self._vote, (train[0], vote[0]))
        by_class = checked_class_weight(class_weight, schema.classes)
        self.votes_privately = getattr(privacy, "votes", None) is not None
        if self.votes_privately:
            # The counts of classes are private too (section 4).
            balanced = False
        self._balance = self._vote_weights(by_class, balanced=balanced)
        self._row_weights = self._training_weights(by_class)
        self._model = freeze(family.initial())
        self._judge_rows = Judge(choice, schema, self._vote, self._test, self._trial)
        self._judge_rows.warn_of_no_value(name, schema)
        self._judged: tuple[NamedArrays, Judgement] | None = None
        self._current: Judgement | None = None
        self._proposed = ""
        self._private: PrivateRows | None = None
        if privacy is not None:
            from colearn.learners._private import guarded  # noqa: PLC0415  (it is not always needed)

            weighs = class_weight is not None
            sets = (self._train, self._vote, self._test)
            self._private = guarded(
                privacy, family, sets, choice, schema,
                name=name, seed=seed, users=users, weighs_classes=weighs,
                computing=self._computing,
            )  # fmt: skip

    def begin_round(self, round_number: int) -> None:
        """Take the number of the round whose turn comes, from a node at a ledger.

        A proposal's seed is then a function of the learner's seed and of the round, so that a
        node that was killed proposes the same again. Without it proposals are counted.
        """
        self._round_number = round_number

    def mli_propose_weights(self) -> Weights:
        """Train from the current model on the private training rows, and return the result.

        Under privacy the spend is written down before a row is touched. Where it is refused the
        current weights come back, and their summary says why (P3.6).

        Raises:
            LearnerError: The training failed or ended in numbers that are none.
        """
        turn = self._proposals_count if self._round_number is None else self._round_number
        seed = np.random.SeedSequence([self._seed, turn]).generate_state(1)[0]
        self._proposals_count += 1
        summary: TrainingSummary | None = None
        if self._private is not None and self._private.proposals:
            summary = self._private.ask()
            if summary.error_code is not None:
                return Weights(weights=self._model, training_summary=summary)
        try:
            with self._computing(), np.errstate(all="ignore"):
                fitted = self._fitted(int(seed), turn, private=summary is not None)
            proposed = freeze(self._damped(fitted))
        except Exception as error:
            raise LearnerError(f"training failed: {error}", learner=self.name) from error
        self._proposed = proposed.digest if self.votes_privately else ""
        return Weights(weights=proposed, training_summary=summary)

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        """Judge `weights` on the private vote set, and vote (section 4).

        A private vote has no score: NaN. It abstains once its budget is spent, and asked again
        the same question it gives the same answer.

        Raises:
            WeightsError: They are no weights of this model.
            LearnerError: The model cannot be evaluated.
        """
        proposed = self._received(weights)
        if self._private is not None and self._private.votes:
            return self._voted_privately(weights, proposed, self._private)
        judgement = self._judge(proposed)
        self._judged = (proposed, judgement)
        vote, score = self._approves(judgement), judgement.vote_score
        if vote and math.isnan(score):
            # An approval without a score would count as silence (P3.4); this is what decided.
            score = -float(judgement.losses.mean())
        return ProposedWeights(
            weights=weights, vote_score=score, test_score=judgement.test_score, vote=vote
        )

    def mli_accept_weights(self, weights: Weights) -> None:
        """Make `weights` the current model.

        Raises:
            WeightsError: They are no weights of this model.
        """
        accepted = self._received(weights)
        judged = self._judged
        # Judged a moment ago, and immutable since: the losses need not be computed again.
        self._current = judged[1] if judged is not None and judged[0] is accepted else None
        self._model = accepted

    def mli_get_current_weights(self) -> Weights:
        """Return the current weights, which cannot be changed."""
        return Weights(weights=self._model)

    def mli_get_current_model(self) -> ColearnModel:
        """Return the current model as ONNX.

        Raises:
            MissingExtraError: The extra `onnx` is not installed.
        """
        from colearn.learners.onnx import as_onnx_model  # noqa: PLC0415  (needs its extra)

        return as_onnx_model(self.model_)

    def predictions(self, X: npt.ArrayLike) -> Predictions:
        """Return what the current model says of rows that need no label, as votes see it.

        Raises:
            ConfigError: X is not made of numbers.
            LearnerError: The model cannot be evaluated.
        """
        rows = self._features(X)
        try:
            with self._computing(), np.errstate(all="ignore"):
                return self._family.predict(self._model, rows)
        except Exception as error:
            raise LearnerError(f"evaluation failed: {error}", learner=self.name) from error

    @property
    def model_(self) -> Any:
        """The current model as its framework knows it: a fitted estimator."""
        return self._family.estimator(self._model)

    @property
    def rows_count(self) -> int:
        """How many rows the learner trains and votes on."""
        return len(self._train.y) + len(self._vote.y)

    @property
    def monitored(self) -> Mapping[str, float]:
        """The monitored metrics by name, of the weights that were tested last."""
        hidden = self._judged is None or self.votes_privately
        return {} if hidden or self._judged is None else self._judged[1].monitored

    def judge_current(self) -> Judgement:
        """Return what the private rows say of the current model; computed once."""
        if self._current is None:
            self._current = self._judge(self._model)
        return self._current

    def _voted_privately(
        self, weights: Weights, proposed: NamedArrays, private: PrivateRows
    ) -> ProposedWeights:
        vote, score, losses = None, None, private.losses
        # Nobody asks the proposer, so its own rows are not asked either.
        if proposed.digest != self._proposed:
            vote = private.vote(
                self._model.digest,
                proposed.digest,
                lambda: losses.differences(self._model, proposed),
            )
            if vote is not None:
                score = private.noised_accuracy(lambda: losses.correct(proposed))
        return ProposedWeights(weights=weights, vote_score=math.nan, test_score=score, vote=vote)

    def _received(self, weights: Weights) -> NamedArrays:
        arrays = weights.weights
        received = arrays if type(arrays) is NamedArrays else freeze(arrays)
        require_like(received.layout, self._model.layout, grows=self.grows)
        self._family.check(received, self._model)
        return received

    def _judge(self, model: NamedArrays) -> Judgement:
        try:
            with self._computing(), np.errstate(all="ignore"):
                return self._judge_rows.judgement(partial(self._family.predict, model))
        except ColearnError:
            raise
        except Exception as error:
            raise LearnerError(f"evaluation failed: {error}", learner=self.name) from error

    def _approves(self, proposed: Judgement) -> bool:
        current = self.judge_current()
        if self._mode == "classic":
            return improves(current.vote_score, proposed.vote_score)
        return is_not_worse(current.losses, proposed.losses, self._balance, self._z)

    def _damped(self, fitted: Arrays) -> Arrays:
        """Return M + damping (M' - M), the template's answer to label skew (section 4)."""
        if self._damping == 1.0:
            return fitted
        damped = dict(fitted)
        for name, before in self._model.items():
            if before.dtype.kind != "f":
                # A count or an index has no quarter; it is proposed as it was trained.
                continue
            step = fitted[name].astype(np.float64) - before
            # An array also where it holds one number: numpy's arithmetic would unpack it.
            damped[name] = np.asarray(before + self._damping * step, before.dtype)
        return damped

    def _fitted(self, seed: int, turn: int, *, private: bool) -> Arrays:
        family, rows = self._family, self._train
        if private:
            assert self._private is not None
            return self._private.fit(self._model, turn, seed)
        if self._row_weights is not None and weighs_rows(family):
            return family.fit(self._model, rows.X, rows.y, seed, self._row_weights)
        return family.fit(self._model, rows.X, rows.y, seed)

    def _vote_weights(self, by_class: Floats | str | None, *, balanced: bool) -> Floats | None:
        """Return by what differences of losses are multiplied, (vote rows,) (section 4)."""
        y, weights, classes = self._vote.y, self._vote.weights, self.schema.classes
        if by_class is None and balanced and classes:
            return class_balance(y, len(classes), weights)
        return weighed(y, weights, by_class)

    def _training_weights(self, by_class: Floats | str | None) -> Floats | None:
        """Return how much each training row counts, with mean 1, (rows,); None for all alike."""
        weights = weighed(self._train.y, self._train.weights, by_class)
        if weights is None:
            return None
        if not weighs_rows(self._family):
            raise ConfigError(
                f"Learner {self.name!r}: its training takes no weights of rows or classes.",
                hint="Leave class_weight and the training rows' weights out.",
            )
        return np.asarray(weights / weights.mean())

    def _trial(self) -> Predictions:
        """Let the model see two rows, to know what it predicts."""
        try:
            with self._computing(), np.errstate(all="ignore"):
                return self._family.predict(self._model, self._vote.X[:2])
        except Exception as error:
            raise ConfigError(f"Learner {self.name!r} cannot predict: {error}") from error

    def _computing(self) -> AbstractContextManager[Any]:
        """Return the surroundings in which the family trains and predicts."""
        return one_thread()

    def _features(self, X: npt.ArrayLike) -> Features:
        """Return X as the family reads it: float64."""
        return as_matrix(X)

    def _data(self, rows: Rows, what: str) -> LabelledRows:
        try:
            X = self._features(rows[0])
            weights = rows[2] if len(rows) == 3 else None
            return labelled(X, rows[1], self.schema, weights=weights, any_rank=self._any_rank)
        except ColearnError as error:
            raise ConfigError(f"Learner {self.name!r}, {what}: {error}") from error


def _checked_number(value: float, name: str, low: float, high: float) -> float:
    if not isinstance(value, int | float) or not low <= value <= high or value == -math.inf:
        raise ConfigError(f"{name} must be from {low} to {high}, got {value!r}.")
    return float(value)
