"""The pure checks a proposal passes before any vote counts (protocol P3.5)."""

from __future__ import annotations

from colearn.errors import WeightsError
from colearn.weights.layout import Layout

__all__ = ["require_like"]


def require_like(proposed: Layout, model: Layout, *, grows: bool = False) -> None:
    """Refuse a proposal that has not the form of the model (P3.5).

    Finite values, dtypes, names and sizes within limits are checked where the arrays are frozen
    or decoded; this compares the two forms.

    Args:
        proposed: The form of the proposed weights.
        model: The form of the global model's weights.
        grows: Whether the family adds to its arrays, as forests do: then the first dimension of
            an array may be longer than the model's, never shorter.

    Raises:
        WeightsError: A missing or foreign array, another dtype or shape; names the array.
    """
    if proposed is model or proposed.forms == model.forms:
        return
    before = {name: (dtype, shape) for name, dtype, shape in model.forms}
    missing = before.keys() - set(proposed.names)
    if missing:
        raise WeightsError(f"Array {min(missing)!r} is missing from the proposal.")
    for name, dtype, shape in proposed.forms:
        if name not in before:
            raise WeightsError(f"Array {name!r} is not in the model.")
        expected_dtype, expected_shape = before[name]
        if dtype != expected_dtype:
            raise WeightsError(f"Array {name!r} must have dtype {expected_dtype}, got {dtype}.")
        if shape != expected_shape and not (grows and _has_grown(shape, expected_shape)):
            raise WeightsError(f"Array {name!r} must have shape {expected_shape}, got {shape}.")


def _has_grown(shape: tuple[int, ...], before: tuple[int, ...]) -> bool:
    return len(shape) == len(before) > 0 and shape[0] >= before[0] and shape[1:] == before[1:]
