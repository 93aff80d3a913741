"""Learners on PyTorch modules."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from colearn.errors import ColearnError, ConfigError
from colearn.interface import ColearnModel, ModelFormat, Weights
from colearn.learners._family import Features
from colearn.learners._template import TemplateLearner
from colearn.learners._torch_architecture import Architecture, ModuleFactory
from colearn.learners._torch_compute import at_threads, checked_device
from colearn.learners._torch_data import DATA_BYTES_MAX, TorchRows, as_rows, features_of
from colearn.learners._torch_family import OptimizerFactory, TorchFamily, Training
from colearn.learners._torch_loss import LabelPrior, Loss, Objective
from colearn.learners._torch_private import PrivateFitting, RowForm, checked_method
from colearn.learners._training_settings import (
    checked_bool,
    checked_count,
    checked_length,
    checked_norm,
    checked_schema,
    read_settings,
)
from colearn.schema import Schema

__all__ = ["DATA_BYTES_MAX", "TorchLearner", "TorchRows"]

_SGD: dict[str, Any] = {"lr": 0.05, "momentum": 0.9}
_TRIAL_ROWS = 2


class TorchLearner(TemplateLearner):
    """A learner on any ``torch.nn.Module``.

    The weights are the module's ``state_dict()``: parameters and buffers. A proposal therefore
    carries the BatchNorm statistics of its proposer, and voters evaluate with them, in evaluation
    mode. A tensor that the module knows by several names travels under the first of them.

    A classifier returns one score a class, (rows, classes), before any softmax, in the order of
    ``schema.classes``; with ``bce`` one score a row, for the second class. A regressor returns
    one value a row, (rows,) or (rows, 1). Voting and testing use the log loss of those scores or
    the squared error, whatever the training loss is (section 4).

    Rows, weights, votes and the optimizer's state between proposals stay on the CPU; a batch and
    the copy of the module that computes on it go to `device`. On a CPU the same seed, data, model
    and number of threads give the same bytes.

    Attributes:
        row_shape: The shape of one row of X.
    """

    _any_rank: ClassVar[bool] = True

    _architecture_type: ClassVar[type[Architecture]] = Architecture
    """What of a module travels: all of it."""

    def __init__(
        self,
        module: ModuleFactory,
        *,
        train: TorchRows,
        vote: TorchRows,
        test: TorchRows | None = None,
        classes: Iterable[object] | None = None,
        features: Sequence[str] | None = None,
        schema: Schema | None = None,
        loss: Loss | None = None,
        optimizer: OptimizerFactory | None = None,
        batch_size: int = 32,
        epochs: int | None = None,
        steps: int | None = None,
        clip_norm: float | None = None,
        device: str | torch.device = "cpu",
        threads: int = 1,
        label_prior: LabelPrior = "none",
        keep_optimizer_state: bool = False,
        dp_gradients: str = "auto",
        model_seed: int = 0,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        """Build the learner.

        Args:
            module: A factory of the module, such as its class: called as ``module(schema=...)``
                if it has a parameter of that name, else without arguments, and with PyTorch's
                random numbers seeded by `model_seed`.
            train: X of shape (rows, ...) and y of shape (rows,), as arrays or tensors; or a
                Dataset or a DataLoader of such pairs, which is read once and may hold
                `DATA_BYTES_MAX`. Floats reach the module in its own dtype, whole numbers as
                int64.
            vote: Private rows to vote on, disjoint from `train`.
            test: Rows that only report a score.
            classes: Every class of the experiment; None for regression.
            features: Column names; None calls them x0, x1, ... Rows that are no list of columns
                are one feature named by its shape, such as ``x[1,28,28]``.
            schema: The whole schema, instead of `classes` and `features`.
            loss: "cross_entropy" (the default with classes), "bce" (2 classes), "mse" (the
                default without), or a function of outputs and targets that returns the mean of
                the batch; it gets scores (rows, classes) and class indices, or values (rows,).
            optimizer: Makes the optimizer of a list of parameters; None is SGD with lr 0.05 and
                momentum 0.9.
            batch_size: Rows an optimizer step.
            epochs: Passes over the training rows in a proposal; 1 if `steps` is None too.
            steps: Optimizer steps in a proposal, instead of `epochs`.
            clip_norm: The largest L2 norm of a step's gradient, all parameters together.
            device: "cpu", or "cuda" or "cuda:1" for a GPU.
            threads: CPU threads that PyTorch uses while this learner computes.
            label_prior: "none"; or a logit-adjusted loss against label skew (section 4):
                "uniform", or one share for each class, the task's own prior.
            keep_optimizer_state: Whether momenta and the like go on with the learner's next
                proposal, accepted or not; they are not part of the model, and a process that is
                started again starts them anew.
            dp_gradients: How private training computes the gradient of each row: "hooks" and
                "ghost" by Opacus, which they need; "vmap" by PyTorch alone; "auto" takes "ghost"
                where linear layers and embeddings have four fifths of the parameters, else
                "vmap", and another one where that does not get this module right.
            model_seed: The experiment's seed of model 0, the same on every learner (6.1).
            seed: Makes its proposals repeatable; not shared with others.
            **settings: Those of `TemplateLearner`: name, mode, z, balanced, damping, metric,
                privacy.

        Raises:
            ConfigError: A module, setting or device that cannot be used; rows that do not fit.
        """
        kept = checked_bool(keep_optimizer_state, "keep_optimizer_state")
        self.local_state = "restarted" if kept else "none"
        self._threads = checked_count(threads, "threads")
        place, method = checked_device(device), checked_method(dp_gradients)
        train_rows, vote_rows = as_rows(train, "train", seed), as_rows(vote, "vote", seed)
        test_rows = None if test is None else as_rows(test, "test", seed)
        self.row_shape = np.shape(train_rows[0])[1:]
        schema = checked_schema(schema, classes, features, self.row_shape)
        training = Training(
            optimizer=partial(torch.optim.SGD, **_SGD) if optimizer is None else optimizer,
            batch_size=checked_count(batch_size, "batch_size"),
            **checked_length(epochs, steps),
            clip_norm=checked_norm(clip_norm),
            device=place,
            keep_optimizer_state=kept,
        )
        objective = Objective(loss, len(schema.classes or ()), label_prior)
        with at_threads(self._threads):
            self._architecture = self._architecture_type(module, schema, model_seed)
            form = RowForm(self.row_shape, np.asarray(train_rows[0]).dtype)
            private = PrivateFitting(self._architecture, objective, place, method, form)
            self._modules = TorchFamily(self._architecture, objective, training, private)
        super().__init__(
            self._modules,
            schema,
            train=train_rows,
            vote=vote_rows,
            test=test_rows,
            seed=seed,
            **settings,
        )
        self._try_out()

    @classmethod
    def from_settings(cls, schema: Schema, **settings: Any) -> TorchLearner:
        """Build the learner an experiment file describes.

        ``module`` names the factory as ``module:name``, ``module_with`` holds its arguments;
        ``optimizer`` names the optimizer, ``loss`` may name a function or a class. Of the other
        settings, those this class does not know are passed on to the optimizer; without
        ``optimizer`` they change the default one.

        Raises:
            ConfigError: No module, or a setting that nobody knows.
        """
        known = set(inspect.signature(cls).parameters)
        known |= set(inspect.signature(TemplateLearner).parameters)
        factory, mine = read_settings(settings, known, "module", partial(torch.optim.SGD, **_SGD))
        return cls(factory, schema=schema, **mine)

    def mli_propose_weights(self) -> Weights:
        """Train from the current model on the private training rows, and return the result.

        Raises:
            LearnerError: The training failed or ended in numbers that are none; nothing is kept
                of it then.
        """
        weights = super().mli_propose_weights()
        self._modules.keep()
        return weights

    def mli_get_current_model(self) -> ColearnModel:
        """Return the current model as ONNX.

        Raises:
            MissingExtraError: The extra `onnx` is not installed.
            ColearnError: PyTorch cannot export the module.
        """
        from colearn.learners._torch_onnx import onnx_of_answers  # noqa: PLC0415  (its extra)

        X = np.array(self._vote.X[:_TRIAL_ROWS])
        with self._computing():
            model = onnx_of_answers(self.model_, X, self.schema.classes)
        return ColearnModel(model_format=ModelFormat.ONNX, model=model)

    def _computing(self) -> AbstractContextManager[Any]:
        return at_threads(self._threads)

    def _features(self, X: npt.ArrayLike) -> Features:
        return features_of(X, self._architecture.dtype)

    def _try_out(self) -> None:
        """Let the module see two rows, so that one that cannot is named before a round begins."""
        X = self._vote.X[:_TRIAL_ROWS]
        try:
            with self._computing():
                self._modules.predict(self._model, X)
        except ColearnError as error:
            raise ConfigError(f"Learner {self.name!r}: {error}") from error
        except Exception as error:
            raise ConfigError(
                f"Learner {self.name!r}: the module fails on {len(X)} rows of shape {X.shape[1:]} "
                f"and dtype {X.dtype}: {error}"
            ) from error
