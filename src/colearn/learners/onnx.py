"""Models as ONNX, a format that opens without running code from the file (protocol 2).

Every exported model has one input, X, float32 (rows, ...), and answers by the same names:
``label`` (rows,) and ``probabilities`` (rows, classes) for classes, ``variable`` (rows, 1) for
numbers. A classifier that knows no probabilities, such as SGDClassifier with the hinge loss, has
``scores`` (rows, classes) in their place; of two classes minus and plus the decision value.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from colearn.errors import ColearnError, MissingExtraError
from colearn.interface import ColearnModel, ModelFormat
from colearn.learners._onnx_graph import exact_thresholds, external_tensors, rename_output

try:
    import onnx
    import skl2onnx
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "onnx", extra="onnx") from error

__all__ = ["MODEL_BYTES_MAX", "as_onnx_model", "convert_model_to_onnx", "deser_model"]

MODEL_BYTES_MAX = 2**30
"""The largest ONNX file that is opened, in bytes: 1 GiB."""


def convert_model_to_onnx(model: Any, sample: Any = None) -> Any:
    """Return a model as an ``onnx.ModelProto`` with the names this module describes.

    Args:
        model: A fitted scikit-learn estimator, or a ``torch.nn.Module`` that returns one tensor;
            that is exported as it is, in evaluation mode, with the output ``output``. A learner's
            `mli_get_current_model` knows the classes and gives labels and probabilities.
        sample: Some rows of X, (rows, ...); needed where a model does not say what it reads,
            as a module.

    Raises:
        ColearnError: The model cannot be converted; names its type and says why.
        MissingExtraError: The extra `onnx` lacks a part.
    """
    framework = sys.modules.get("torch")
    if framework is not None and isinstance(model, framework.nn.Module):
        from colearn.learners._torch_onnx import onnx_of_module  # noqa: PLC0415  (needs torch)

        if sample is None:
            raise ColearnError(
                f"A {type(model).__name__} does not say what it reads.",
                hint="Give some rows: convert_model_to_onnx(module, X[:2]).",
            )
        return onnx_of_module(model, np.asarray(sample))
    return _onnx_of_estimator(model, sample)


def _onnx_of_estimator(model: Any, sample: Any) -> Any:
    name = type(model).__name__
    if name.startswith("HistGradientBoosting"):
        raise ColearnError(
            f"Cannot convert a {name} to ONNX: it compares float64 values with float64 "
            "thresholds, and in float32 rows would take other branches.",
            hint="Use XGBoostLearner, which trains and is exported in float32.",
        )
    width = getattr(model, "n_features_in_", None)
    if not isinstance(width, int) and sample is not None and hasattr(model, "predict"):
        width = np.shape(sample)[-1]
    foreign = type(model).__module__.partition(".")[0] in ("xgboost", "lightgbm")
    if not isinstance(width, int) or foreign:
        raise ColearnError(
            f"Cannot convert a {name} to ONNX.",
            hint="Give a fitted scikit-learn estimator or a torch module, or ask a learner for "
            "its mli_get_current_model().",
        )
    inputs = [("X", skl2onnx.common.data_types.FloatTensorType([None, width]))]
    options = {id(model): {"zipmap": False}} if hasattr(model, "classes_") else None
    try:
        # The inner nodes of a learner's trees hold no class shares, which the converter divides.
        with np.errstate(all="ignore"):
            converted = skl2onnx.convert_sklearn(model, initial_types=inputs, options=options)
        if hasattr(model, "classes_") and not hasattr(model, "predict_proba"):
            rename_output(converted, "probabilities", "scores")
        trees = [
            tree.tree_
            for tree in np.ravel(getattr(model, "estimators_", [model]))
            if hasattr(tree, "tree_")
        ]
        if trees:
            exact_thresholds(converted, trees)
    except Exception as error:
        raise ColearnError(f"Cannot convert a {name} to ONNX: {error}") from error
    return converted


def deser_model(data: bytes) -> Any:
    """Open the bytes of an ONNX file, which may come from anybody, as an ``onnx.ModelProto``.

    Raises:
        ColearnError: Too large, no ONNX model, or one that would read other files.
    """
    if len(data) > MODEL_BYTES_MAX:
        raise ColearnError(f"An ONNX model may have {MODEL_BYTES_MAX} bytes, got {len(data)}.")
    try:
        model = onnx.load_model_from_string(bytes(data))
        outside = external_tensors(model)
        if not outside:
            onnx.checker.check_model(model)
    except Exception as error:
        raise ColearnError(f"These bytes are no ONNX model: {str(error)[:200]}") from error
    if outside:
        raise ColearnError(
            f"This ONNX model keeps {outside[0][:80]!r} in another file, and none is read.",
            hint="Ask for the model with its weights inside.",
        )
    return model


def as_onnx_model(model: Any) -> ColearnModel:
    """Return a fitted estimator as the interface hands models out."""
    return ColearnModel(model_format=ModelFormat.ONNX, model=convert_model_to_onnx(model))
