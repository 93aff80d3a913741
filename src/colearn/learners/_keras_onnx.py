"""Keras models as ONNX: on the backend torch a Keras model is a PyTorch module."""

from __future__ import annotations

from typing import Any

import torch

from colearn.errors import ColearnError
from colearn.learners._family import Features
from colearn.learners._torch_onnx import onnx_of_answers

__all__ = ["onnx_of_keras"]


def onnx_of_keras(
    model: Any, X: Features, classes: tuple[int | str, ...] | None, *, from_logits: bool
) -> Any:
    """Return a learner's Keras model as an ``onnx.ModelProto`` that answers as all of them do.

    Args:
        model: The ``keras.Model``; it returns (rows, classes), or without classes (rows, 1).
        X: At least two rows.
        classes: The class labels; None for regression.
        from_logits: Whether its scores are before the softmax; else they are probabilities.

    Raises:
        ColearnError: Keras computes with another backend, or the model cannot be exported.
    """
    if not isinstance(model, torch.nn.Module):
        raise ColearnError(
            f"Cannot convert a {type(model).__name__} to ONNX: Keras computes with another "
            "backend than torch.",
            hint="Run it with KERAS_BACKEND=torch; the weights are the same on either.",
        )
    return onnx_of_answers(model, X, classes, from_logits=from_logits)
