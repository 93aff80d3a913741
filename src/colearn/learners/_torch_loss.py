"""What a module's outputs mean: the loss that trains it, and the predictions that are voted on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from colearn.errors import ColearnError, ConfigError
from colearn.learners._label_prior import LabelPrior, log_prior, logit_shift
from colearn.learners._scoring import Predictions, Targets

__all__ = ["LabelPrior", "Loss", "Objective", "RowLosses", "TrainingLoss"]

TrainingLoss = Callable[[Tensor, Tensor], Tensor]
"""Outputs and targets of a batch to one number, the mean of the batch."""

Loss = str | TrainingLoss


class RowLosses(Protocol):
    """The loss that is trained, row by row."""

    @property
    def classes_count(self) -> int:
        """How many classes there are; 0 for regression."""

    @property
    def is_own(self) -> bool:
        """Whether the user wrote the loss, so that it takes one row alone."""

    @property
    def counts_labels(self) -> bool:
        """Whether it depends on how many rows of each class there are."""

    def row_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each row, (rows,)."""


class Objective:
    """The loss of training, and the one of voting.

    Training minimizes what the user chose. Voting and testing always use the losses of section 4:
    the log loss of the softmax (of the sigmoid for ``bce``) for a classifier, the squared error
    for a regressor; without logit adjustment.
    """

    def __init__(
        self, loss: Loss | None, classes_count: int, label_prior: LabelPrior = "none"
    ) -> None:
        """Check the settings; `classes_count` is 0 for regression.

        Raises:
            ConfigError: A loss that is unknown or for another kind of task; a prior without a
                loss that takes one, or that is none of its classes.
        """
        self._loss = _checked_loss(loss, classes_count)
        self._classes_count = classes_count
        if label_prior != "none" and self._loss not in ("cross_entropy", "bce"):
            raise ConfigError(
                'label_prior needs loss="cross_entropy" or "bce", whose outputs it adjusts.',
                hint='Leave it at "none", and let your own loss adjust its outputs.',
            )
        self._log_prior = log_prior(label_prior, classes_count)

    @property
    def weighs_rows(self) -> bool:
        """Whether rows may have weights: a loss of the user's own is a mean nobody can weigh."""
        return not callable(self._loss)

    @property
    def classes_count(self) -> int:
        """How many classes there are; 0 for regression."""
        return self._classes_count

    @property
    def is_own(self) -> bool:
        """Whether the user wrote the loss: a mean of a batch, of which no row can be told."""
        return callable(self._loss)

    @property
    def counts_labels(self) -> bool:
        """Whether training depends on how many rows of each class there are."""
        return self._log_prior is not None

    def row_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each row, (rows,), without a label prior.

        Args:
            outputs: What the module put out for the rows, (rows, ...).
            targets: Class indices or values, (rows,); one row where the loss is the user's own.

        Raises:
            ColearnError: The outputs or the loss are of another form.
        """
        scores = self._scores(outputs, len(targets))
        if not self.is_own:
            return self._each(scores, targets)
        if len(targets) != 1:
            raise ColearnError("A loss of your own says nothing about one row of several.")
        return self._reduced(scores, targets).reshape(1)

    def training_loss(self, y: Targets) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
        """Return the loss to train with on rows whose targets are `y`.

        It takes outputs, targets and the rows' weights, (rows,), or None; weighed it is the mean
        of weight times loss, so that a batch of light rows is a small step.

        With a label prior it is the cross-entropy on z_c + log((count_c + .5) / (n + .5 C)) -
        log(prior_c), count_c of n being the learner's own rows of class c (section 4).
        """
        shift = (
            None if self._log_prior is None else torch.from_numpy(logit_shift(y, self._log_prior))
        )

        def loss(outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
            scores = self._scores(outputs, len(targets))
            if shift is not None:
                scores = scores + shift.to(scores)
            if weights is not None:
                return (self._each(scores, targets) * weights).mean()
            return self._reduced(scores, targets)

        return loss

    def predictions(self, outputs: Tensor) -> Predictions:
        """Return what a module that put out `outputs`, (rows, ...), says about these rows.

        Raises:
            ColearnError: The outputs are no tensor of the shape that the loss needs.
        """
        # In float64, as every family's: in float32 a probability near 1 would have no loss at all.
        scores = self._scores(outputs, len(outputs)).detach().cpu().double()
        if not self._classes_count:
            return Predictions("values", scores.numpy())
        return Predictions("probabilities", functional.softmax(scores, 1).numpy())

    def _scores(self, outputs: Any, rows_count: int) -> Tensor:
        """Return (rows, classes) scores or (rows,) values."""
        if not isinstance(outputs, Tensor):
            raise ColearnError(
                f"The module must return one tensor, got {type(outputs).__name__}.",
                hint="Wrap it in a module that returns the tensor of scores.",
            )
        single = self._loss == "bce" or not self._classes_count
        flat = single and outputs.shape == (rows_count, 1)
        scores: Tensor = outputs[:, 0] if flat else outputs
        expected = (rows_count,) if single else (rows_count, self._classes_count)
        if scores.shape != expected:
            raise ColearnError(
                f"The module must return a tensor of shape {expected} for {rows_count} rows, got "
                f"{tuple(scores.shape)}."
            )
        if self._loss == "bce":
            # One score z is the two scores 0 and z, and the binary loss their cross-entropy.
            return torch.stack([torch.zeros_like(scores), scores], 1)
        return scores

    def _each(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each row, (rows,)."""
        loss = functional.mse_loss if self._loss == "mse" else functional.cross_entropy
        return loss(scores, targets, reduction="none")

    def _reduced(self, scores: Tensor, targets: Tensor) -> Tensor:
        loss = self._loss
        if not callable(loss):
            loss = functional.mse_loss if loss == "mse" else functional.cross_entropy
        value: object = loss(scores, targets)
        if not isinstance(value, Tensor) or value.numel() != 1:
            form = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ColearnError(f"The loss must return one number as a tensor, got {form}.")
        return value


def _checked_loss(loss: Loss | None, classes_count: int) -> Loss:
    if loss is None:
        return "cross_entropy" if classes_count else "mse"
    if callable(loss):
        return loss
    fits = {
        "cross_entropy": classes_count >= 2,
        "bce": classes_count == 2,
        "mse": classes_count == 0,
    }
    if not fits.get(loss, False):
        kind = f"{classes_count} classes" if classes_count else "regression"
        raise ConfigError(
            f"The loss {loss!r} is unknown for {kind}.",
            hint='Use "cross_entropy" with classes, "bce" with 2, "mse" without, or a function of '
            "outputs and targets.",
        )
    return loss
