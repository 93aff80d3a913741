"""Models as files for others: checked against the original before the file is there (7.9)."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from colearn.errors import ColearnError, ConfigError
from colearn.interface import MachineLearningInterface, ModelFormat

__all__ = ["TOLERANCE", "Export", "export_model", "facts_of", "refuse_existing", "write_new"]

TOLERANCE = 1e-4
"""The largest difference between the two models that is taken for rounding."""


@dataclass(frozen=True, slots=True)
class Export:
    """A model that was written.

    Attributes:
        path: The file.
        adapter: The learner's class.
        rows: How many rows both models were asked about.
        difference: The largest difference between their answers.
        size: The file's length in bytes.
        metadata: What the file says of itself.
    """

    path: Path
    adapter: str
    rows: int
    difference: float
    size: int
    metadata: dict[str, str]


def export_model(
    learner: MachineLearningInterface,
    path: Path,
    check: Any,
    *,
    metadata: Mapping[str, str],
    tolerance: float = TOLERANCE,
    force: bool = False,
) -> Export:
    """Write a learner's current model as ONNX, if it says in onnxruntime what the learner says.

    Both are asked about the rows of `check` and about random rows around them, rounded to
    float32 for both. The file appears complete or not at all.

    Args:
        learner: It has `mli_get_current_model` and `predictions`, as every learner of this
            package.
        path: The file.
        check: Rows of X, (rows, ...).
        metadata: What the file is to say of itself.
        tolerance: The largest difference allowed.
        force: Whether to replace a file that is there.

    Raises:
        ConfigError: The file exists, there is no row to check with, or a tolerance that is none.
        MissingExtraError: The extra `onnx` is not installed.
        ColearnError: The model cannot be exported, differs, or the file cannot be written.
    """
    if not 0 <= tolerance < float("inf"):
        raise ConfigError(f"The tolerance must be a number from 0, got {tolerance!r}.")
    if not force:
        refuse_existing(path)
    from colearn.learners._onnx_check import agreement, sample_around  # noqa: PLC0415  (its extra)
    from colearn.learners._onnx_graph import describe  # noqa: PLC0415

    adapter = type(learner).__name__
    predict = getattr(learner, "predictions", None)
    if predict is None:
        raise ColearnError(
            f"A {adapter} has no `predictions`, so its export could not be checked.",
            hint="Call its mli_get_current_model() and write the result yourself.",
        )
    X = sample_around(check)
    if not len(X):
        raise ConfigError("There is no row to check the export with.")
    model = _onnx_of(learner)
    classes = getattr(getattr(learner, "schema", None), "classes", None)
    facts = dict(metadata)
    describe(model, facts)
    found = agreement(model, X, predict(X), classes, tolerance)
    data = model.SerializeToString()
    write_new(path, data, force=force)
    return Export(path, adapter, found.rows, found.difference, len(data), facts)


def facts_of(
    learner: MachineLearningInterface, *, name: str, experiment: str, round_number: int, head: str
) -> dict[str, str]:
    """Return what an exported file says of itself, as its ``metadata_props``.

    Args:
        learner: Holds the model.
        name: The experiment's name; empty where it has none.
        experiment: Which experiment of which ledger: the digest of the genesis and its number.
        round_number: The round that accepted the model; 0 for model 0.
        head: The ledger's head when it was exported, HEIGHT:HASH (7.8).
    """
    weights = learner.mli_get_current_weights().weights
    schema = getattr(learner, "schema", None)
    features = None if schema is None else list(schema.features)
    classes = None if schema is None or schema.classes is None else list(schema.classes)
    return {
        "colearn.version": version("colearn"),
        "colearn.experiment": name,
        "colearn.experiment_id": experiment,
        "colearn.round": str(round_number),
        "colearn.model": weights.cid,
        "colearn.ledger_head": head,
        "colearn.features": json.dumps(features),
        "colearn.classes": json.dumps(classes),
    }


def refuse_existing(path: Path) -> None:
    """Refuse to write over something.

    Raises:
        ConfigError: There is something of this name.
    """
    if os.path.lexists(path):
        raise ConfigError(f"{path} exists already.", hint="Name another file, or use --force.")


def _onnx_of(learner: MachineLearningInterface) -> Any:
    handed = learner.mli_get_current_model()
    if handed.model_format is not ModelFormat.ONNX or handed.model is None:
        raise ColearnError(f"{type(learner).__name__} does not hand out its model as ONNX.")
    return handed.model


def write_new(path: Path, data: bytes, *, force: bool) -> None:
    """Write a file in one step: a reader sees all of it or nothing of it.

    Raises:
        ConfigError: The file exists, and `force` does not allow to replace it.
        ColearnError: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if force:
            draft.replace(path)
        else:
            # A link fails where the name was taken meanwhile; a rename would replace what has it.
            os.link(draft, path)
    except FileExistsError as error:
        raise ConfigError(
            f"{path} exists already.", hint="Name another file, or use --force."
        ) from error
    except OSError as error:
        raise ColearnError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Free some space or choose another folder.",
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink()
