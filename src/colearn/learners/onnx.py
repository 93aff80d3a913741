"""Models as ONNX, a format that opens without running code from the file (protocol 2)."""

from __future__ import annotations

from typing import Any

from colearn.errors import ColearnError, MissingExtraError
from colearn.interface import ColearnModel, ModelFormat

try:
    import onnx
    import skl2onnx
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "onnx", extra="onnx") from error

__all__ = ["MODEL_BYTES_MAX", "as_onnx_model", "convert_model_to_onnx", "deser_model"]

MODEL_BYTES_MAX = 2**30
"""The largest ONNX file that is opened, in bytes: 1 GiB."""


def convert_model_to_onnx(model: Any) -> Any:
    """Return a fitted scikit-learn estimator as an ``onnx.ModelProto``.

    Its input is called X, float32 of shape (rows, features).

    Raises:
        ColearnError: The model cannot be converted; names its type.
    """
    width = getattr(model, "n_features_in_", None)
    if not isinstance(width, int):
        raise ColearnError(
            f"Cannot convert a {type(model).__name__} to ONNX.",
            hint="Give a fitted scikit-learn estimator.",
        )
    inputs = [("X", skl2onnx.common.data_types.FloatTensorType([None, width]))]
    options = {id(model): {"zipmap": False}} if hasattr(model, "classes_") else None
    try:
        return skl2onnx.convert_sklearn(model, initial_types=inputs, options=options)
    except Exception as error:
        raise ColearnError(f"Cannot convert a {type(model).__name__} to ONNX: {error}") from error


def deser_model(data: bytes) -> Any:
    """Open the bytes of an ONNX file, which may come from anybody, as an ``onnx.ModelProto``.

    Raises:
        ColearnError: Too large, or no ONNX model.
    """
    if len(data) > MODEL_BYTES_MAX:
        raise ColearnError(f"An ONNX model may have {MODEL_BYTES_MAX} bytes, got {len(data)}.")
    try:
        model = onnx.load_model_from_string(bytes(data))
        onnx.checker.check_model(model)
    except Exception as error:
        raise ColearnError(f"These bytes are no ONNX model: {str(error)[:200]}") from error
    return model


def as_onnx_model(model: Any) -> ColearnModel:
    """Return a fitted estimator as the interface hands models out."""
    return ColearnModel(model_format=ModelFormat.ONNX, model=convert_model_to_onnx(model))
