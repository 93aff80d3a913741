"""PyTorch modules as ONNX, by PyTorch's own exporter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from colearn.errors import ColearnError, MissingExtraError
from colearn.learners._family import Features
from colearn.learners._onnx_check import as_input
from colearn.learners._onnx_graph import tell_labels
from colearn.learners._torch_compute import CPU

__all__ = ["onnx_of_answers", "onnx_of_module"]

_OPSET = 18
_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def onnx_of_module(module: nn.Module, X: Features) -> Any:
    """Return a module as an ``onnx.ModelProto``: input X, output ``output``, any number of rows.

    Args:
        module: It takes rows (rows, ...) and returns one tensor.
        X: At least two rows.

    Raises:
        ColearnError: The module cannot be exported; names its type.
    """
    return _exported(_Answers(module, "output"), X, ["output"], type(module).__name__)


def onnx_of_answers(
    module: nn.Module,
    X: Features,
    classes: tuple[int | str, ...] | None,
    *,
    from_logits: bool = True,
) -> Any:
    """Return a learner's module as an ``onnx.ModelProto`` that answers as all of them do.

    Args:
        module: It returns scores (rows, classes), one score a row for the second of two classes,
            or without classes one value a row.
        X: At least two rows.
        classes: The class labels; None for regression.
        from_logits: Whether scores are before the softmax; else they are shares already.

    Raises:
        ColearnError: The module cannot be exported; names its type.
    """
    name = type(module).__name__
    if classes is None:
        return _exported(_Answers(module, "variable"), X, ["variable"], name)
    answers = _Answers(module, "probabilities" if from_logits else "shares")
    model = _exported(answers, X, ["probabilities"], name)
    tell_labels(model, classes)
    return model


class _Answers(nn.Module):
    """A module whose rows are float32 and whose answers are those of every exported model."""

    def __init__(
        self, module: nn.Module, answer: Literal["output", "probabilities", "shares", "variable"]
    ) -> None:
        super().__init__()
        self.module = module
        self._answer = answer
        self._dtype = next(
            (each.dtype for each in module.parameters() if each.requires_grad), torch.float32
        )

    def forward(self, X: Tensor) -> Tensor:
        outputs: Tensor = self.module(X.to(self._dtype) if X.is_floating_point() else X)
        if self._answer == "output":
            return outputs
        if self._answer == "variable":
            return outputs.reshape(-1, 1).to(torch.float32)
        if self._answer == "shares":
            if outputs.dim() == 1 or outputs.shape[1] == 1:
                second = outputs.reshape(-1)
                outputs = torch.stack([1 - second, second], 1)
            return outputs.to(torch.float32)
        if outputs.dim() == 1 or outputs.shape[1] == 1:
            # One score z is the two scores 0 and z, as the learner reads them.
            second = outputs.reshape(-1)
            outputs = torch.stack([torch.zeros_like(second), second], 1)
        return torch.softmax(outputs, 1).to(torch.float32)


def _exported(answers: nn.Module, X: Features, outputs: list[str], name: str) -> Any:
    rows = torch.from_numpy(as_input(X)).to(CPU)
    was_training = answers.module.training if isinstance(answers, _Answers) else False
    try:
        with _silence(), torch.no_grad():
            program = torch.onnx.export(
                answers.eval(),
                (rows,),
                dynamo=True,
                dynamic_shapes={"X": {0: torch.export.Dim("rows")}},
                input_names=["X"],
                output_names=outputs,
                opset_version=_OPSET,
                external_data=False,
                verbose=False,
            )
    except ImportError as error:
        raise MissingExtraError(error.name or "onnxscript", extra="onnx") from error
    except Exception as error:
        raise ColearnError(
            f"Cannot convert a {name} to ONNX: {str(error)[:300]}",
            hint="Its forward must work for any number of rows, without a branch on values.",
        ) from error
    finally:
        answers.train(was_training)
    assert program is not None
    return program.model_proto


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's warnings and log lines to itself; what fails is raised all the same."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
