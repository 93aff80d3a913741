"""Weights that nobody should accept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["edited_nodes", "foreign_weights", "malformed_arrays"]

_Arrays = dict[str, npt.NDArray[Any]]

_PLACES = (10**9, 10**8, 10**7, -7)
"""Places that no table of a small model has; the six edits that kill a voter are among them."""


def foreign_weights(arrays: Mapping[str, npt.NDArray[Any]]) -> Iterator[tuple[str, Any]]:
    """Yield things that are no weights of the model that `arrays` are, each with what it is.

    Every one breaks P3.5, also for a learner whose arrays grow.
    """
    plain = dict(arrays)
    name = min(plain, key=lambda each: (plain[each].dtype.kind != "f", each))
    array = plain[name]
    yield "no dict", list(plain.values())
    yield "None", None
    yield "no array at all", {}
    yield "an array missing", {each: plain[each] for each in plain if each != name}
    yield "an array too many", {**plain, "not_in_the_model": np.zeros(1)}
    yield (
        "another name",
        {("not_in_the_model" if each == name else each): plain[each] for each in plain},
    )
    yield "another shape", {**plain, name: array[..., np.newaxis]}
    other = np.float32 if array.dtype != np.float32 else np.float64
    yield "another dtype", {**plain, name: array.astype(other)}
    yield "objects in an array", {**plain, name: array.astype(object)}
    yield "a list for an array", {**plain, name: array.tolist()}
    if array.dtype.kind == "f" and array.size:
        for value in (np.nan, np.inf, -np.inf):
            yield f"the value {value}", {**plain, name: _with(array, 0, value)}


def edited_nodes(arrays: Mapping[str, npt.NDArray[Any]]) -> Iterator[tuple[str, _Arrays]]:
    """Yield arrays in which one whole number points where nothing is, each with what was done.

    Whole numbers of trees are places: a child, a feature, a tree's end. One that is out of range
    makes native code read foreign memory (6.3).
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "iu" or not array.size:
            continue
        info = np.iinfo(array.dtype)
        for place in (0, array.size - 1):
            for value in sorted({min(max(number, info.min), info.max) for number in _PLACES}):
                if value:
                    yield (
                        f"{name}[{place}] = {value}",
                        {**arrays, name: _with(array, place, value)},
                    )


def malformed_arrays(arrays: Mapping[str, npt.NDArray[Any]], seed: int) -> _Arrays:
    """Return a copy of `arrays` with one to three numbers changed, or an array of other length.

    Most of what comes out breaks a rule; some of it is well formed. The same seed gives the same.
    """
    rng = np.random.default_rng(seed)
    changed = {name: np.array(array) for name, array in arrays.items()}
    names = sorted(name for name, array in changed.items() if array.size and array.ndim)
    whole = [name for name in names if changed[name].dtype.kind in "iu"]
    for _ in range(int(rng.integers(1, 4))):
        if not names:
            break
        # Whole numbers are the dangerous ones, so they are changed more often.
        among = whole if whole and rng.random() < 0.7 else names
        name = among[rng.integers(len(among))]
        if rng.random() < 0.15:
            changed[name] = np.concatenate([changed[name], changed[name][:1]])
        elif changed[name].size:
            place = int(rng.integers(changed[name].size))
            changed[name] = _with(changed[name], place, _number(changed[name], rng))
    return changed


def _number(array: npt.NDArray[Any], rng: np.random.Generator) -> Any:
    if array.dtype.kind == "f":
        big = np.finfo(array.dtype).max
        return [np.nan, np.inf, big, -big, 0.0, -0.0, 1.0][rng.integers(7)]
    if array.dtype.kind == "b":
        return bool(rng.integers(2))
    info = np.iinfo(array.dtype)
    number = [info.max, info.min, 10**8, 0, -1, int(rng.integers(-3, 40))][rng.integers(6)]
    return min(max(int(number), info.min), info.max)


def _with(array: npt.NDArray[Any], place: int, value: Any) -> npt.NDArray[Any]:
    changed = np.array(array)
    changed.reshape(-1)[place] = value
    return changed
