"""The specification of an experiment: one canonical document that all members sign up to (6.1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from colearn.core import Rules
from colearn.errors import ConfigError
from colearn.shallow import read_json

__all__ = ["SPECIFICATION_BYTES_MAX", "read_specification", "specification_of"]

_FORMAT = "colearn-specification-1"

SPECIFICATION_BYTES_MAX = 2**20


def specification_of(
    rules: Rules,
    model: str,
    schema: Any,
    terms: Mapping[str, Any] | None = None,
    *,
    grows: bool = False,
) -> bytes:
    """Return the canonical JSON whose sha256 is in `create`.

    Args:
        rules: The rules of the ledger.
        model: Digest of model 0.
        schema: The learners' schema, or None where they declare none.
        grows: Whether proposals may add to the arrays (P3.5).
        terms: Whatever else was agreed: task, learner, preprocessing; values JSON can hold.

    Raises:
        ConfigError: `terms` holds something that JSON cannot.
    """
    document = {
        "format": _FORMAT,
        "grows": grows,
        "model": model,
        "rules": {
            "threshold": str(rules.threshold),
            **{
                name: getattr(rules, name)
                for name in (
                    "contribute_s", "propose_s", "vote_s", "reveal_s", "rounds",
                    "merge_tolerance", "early_close", "patience",
                )
            },
        },
        "schema": _schema(schema),
        "terms": dict(terms or {}),
    }  # fmt: skip
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The experiment's terms cannot be written as JSON: {error}.") from error
    return text.encode()


def read_specification(data: bytes) -> dict[str, Any]:
    """Read a specification.

    Raises:
        ConfigError: It is none, or not in its one canonical form.
    """
    try:
        document = read_json(data[: SPECIFICATION_BYTES_MAX + 1])
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
        fits = canonical.encode() == data and document["format"] == _FORMAT
    except (ValueError, TypeError, KeyError, RecursionError):
        fits = False
    if not fits:
        digest = hashlib.sha256(data).hexdigest()
        raise ConfigError(f"Expected a specification, got {len(data)} bytes of digest {digest}.")
    assert isinstance(document, dict)
    return document


def _schema(schema: Any) -> dict[str, Any] | None:
    features = getattr(schema, "features", None)
    if features is None:
        return None
    classes = getattr(schema, "classes", None)
    return {
        "features": list(features),
        "classes": None if classes is None else list(classes),
        "constant": getattr(schema, "constant", 0.0),
    }
