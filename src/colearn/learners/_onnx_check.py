"""Whether an ONNX model says what the model it was made of says: asked in onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ColearnError, MissingExtraError
from colearn.learners._family import Features
from colearn.learners._scoring import Predictions

try:
    import onnxruntime
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "onnxruntime", extra="onnx") from error

__all__ = ["Agreement", "agreement", "as_input", "sample_around"]

_SILENT = 4
"""onnxruntime's log level that says nothing but fatal errors."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two models agree.

    Attributes:
        rows: How many rows both were asked about.
        difference: The largest difference: of probabilities as they are, of scores and values
            as a share of the value where that is above 1.
    """

    rows: int
    difference: float


def as_input(X: Any) -> Features:
    """Return X as an exported model takes it: float32, or int64 where it holds whole numbers.

    The model that was trained is shown these same rows. A float64 value between two float32 could
    otherwise fall on the other side of a tree's threshold, which says nothing about the export.
    """
    array = np.asarray(X)
    return np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.int64)


def sample_around(X: Features, count: int = 256, seed: int = 0) -> Features:
    """Return up to `count` rows of X, and as many random ones around them; float32 (rows, ...).

    A random row is one of X plus normal noise with each column's standard deviation. Rows of
    whole numbers, such as tokens, have no neighbourhood and stay alone.
    """
    rows = as_input(X[:count])
    if rows.dtype.kind != "f" or not len(rows):
        return rows
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=rows.shape) * rows.std(axis=0)
    return np.concatenate([rows, (rows + noise).astype(np.float32)])


def agreement(
    model: Any,
    X: Features,
    expected: Predictions,
    classes: tuple[int | str, ...] | None,
    tolerance: float,
) -> Agreement:
    """Compare an ``onnx.ModelProto`` with what its original says of the same rows.

    Args:
        model: Its input is X; its outputs are label and probabilities, label and scores, or
            variable.
        X: The rows as `as_input` returns them.
        expected: What the original says of them.
        classes: The class labels; None for regression.
        tolerance: The largest difference allowed. A label may differ only between two classes
            that the original holds apart by no more than twice that.

    Raises:
        ColearnError: They differ by more, or the ONNX model does not run.
    """
    answers = _answers(model, X)
    name = {"values": "variable", "margins": "scores", "probabilities": "probabilities"}
    wanted = name[expected.kind]
    if wanted not in answers or (classes is not None and "label" not in answers):
        raise ColearnError(f"The exported model has no output {wanted!r}, only {sorted(answers)}.")
    found = np.asarray(answers[wanted], np.float64).reshape(len(X), -1)
    scores = expected.scores.reshape(len(X), -1)
    if expected.kind == "margins" and scores.shape[1] == 2:
        # A learner halves scikit-learn's decision value, so that the hinge loss has its margin.
        scores = 2.0 * scores
    if found.shape != scores.shape:
        raise ColearnError(f"The exported model's {wanted} have the shape {found.shape}.")
    difference = _difference(found, scores, relative=expected.kind != "probabilities")
    # Written so that NaN is refused as well.
    if not difference <= tolerance:
        raise ColearnError(
            f"The exported model differs from the original by {difference:.3g} on {len(X)} rows, "
            f"and {tolerance:g} is allowed, so it was not written.",
            hint="Report it, or allow more with a larger tolerance.",
        )
    if classes is not None:
        _check_labels(np.asarray(answers["label"]), scores, classes, tolerance)
    return Agreement(len(X), difference)


def _answers(model: Any, X: Features) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, {"X": X}), strict=True))
    except Exception as error:
        raise ColearnError(f"The exported model does not run: {str(error)[:300]}") from error


def _difference(
    found: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], *, relative: bool
) -> float:
    with np.errstate(all="ignore"):
        apart = abs(found - scores)
        if relative:
            apart = apart / np.maximum(1.0, abs(scores))
    return float(apart.max())


def _check_labels(
    labels: npt.NDArray[Any],
    scores: npt.NDArray[np.float64],
    classes: tuple[int | str, ...],
    tolerance: float,
) -> None:
    place = {label: index for index, label in enumerate(classes)}
    chosen = [place.get(label) for label in labels.tolist()]
    for row, index in enumerate(chosen):
        best = float(scores[row].max())
        allowed = 2 * tolerance * max(1.0, abs(best))
        if index is None or best - float(scores[row, index]) > allowed:
            raise ColearnError(
                f"The exported model says {labels[row]!r} of a row that the original calls "
                f"{classes[int(scores[row].argmax())]!r}, so it was not written."
            )
