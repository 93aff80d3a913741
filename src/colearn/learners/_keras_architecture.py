"""The way between a Keras model and named arrays (protocol 6.1, 6.3)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from colearn.errors import ConfigError
from colearn.learners._family import Arrays
from colearn.learners._keras_backend import as_array, keras, undisturbed
from colearn.schema import Schema

__all__ = ["KerasArchitecture", "ModelFactory"]

ModelFactory = Callable[..., Any]
"""Builds a new ``keras.Model`` at each call: from ``schema=`` where it has such a parameter."""

_DTYPES = {"float32", "float64", "bool", "uint8", "int8", "int16", "int32", "int64"}


class KerasArchitecture:
    """A model as its factory makes it; every computation has one of its own.

    The arrays are the model's weights, trainable or not, under their paths. The states of random
    generators, as of Dropout, are no part of it: they are drawn anew for every proposal.
    """

    def __init__(self, factory: ModelFactory, schema: Schema, model_seed: int) -> None:
        """Build the model twice, since every learner must get the same from the seed (6.1).

        Raises:
            ConfigError: No factory, or it fails; two models from one seed differ (names the
                array); no inputs known, nothing to train, two variables of one path, or a dtype
                that weights cannot have.
        """
        if not callable(factory) or isinstance(factory, keras.Model):
            form = "a model" if isinstance(factory, keras.Model) else type(factory).__name__
            raise ConfigError(
                f"The model factory must be callable, got {form}.",
                hint="Give a function that builds the model, so that each learner has its own.",
            )
        self._factory, self._seed = factory, model_seed
        self._given = {"schema": schema} if _takes_schema(factory) else {}
        first, again = self._built(), self._built()
        self._initial = self.arrays_of(first)
        if not first.trainable_variables:
            raise ConfigError("The model has no variables to train.")
        if {id(v) for v in first.weights} & {id(v) for v in again.weights}:
            raise ConfigError(
                "The model factory gave the same variables twice.",
                hint="It must build a new model at each call.",
            )
        _check_repeats(self._initial, self.arrays_of(again))

    def arrays(self) -> Arrays:
        """Return model 0."""
        return self._initial

    def model(self, arrays: Arrays) -> Any:
        """Return a model of its own with these weights."""
        model = self._built()
        with undisturbed(self._seed):
            for variable in model.weights:
                variable.assign(np.array(arrays[variable.path]))
        return model

    def arrays_of(self, model: Any) -> Arrays:
        """Return the weights of a model as arrays of their own.

        Raises:
            ConfigError: Two have one path, or one a dtype that weights cannot have.
        """
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        for variable in model.weights:
            if variable.path in arrays:
                raise ConfigError(
                    f"The model has two variables of the path {variable.path!r}.",
                    hint="Give its layers names of their own.",
                )
            if str(variable.dtype) not in _DTYPES:
                raise ConfigError(
                    f"The model's {variable.path!r} is {variable.dtype}, and weights cannot be.",
                    hint='Build it with the dtype policy "float32".',
                )
            arrays[variable.path] = as_array(variable.value)
        return arrays

    def _built(self) -> Any:
        try:
            with undisturbed(self._seed):
                model = self._factory(**self._given)
        except Exception as error:
            raise ConfigError(f"The model factory failed: {error}") from error
        if not isinstance(model, keras.Model):
            raise ConfigError(
                f"The model factory must return a keras.Model, got {type(model).__name__}."
            )
        if not model.built:
            raise ConfigError(
                "The model has no variables yet.",
                hint="Begin it with keras.Input(shape), or call its build in the factory.",
            )
        return model


def _takes_schema(factory: ModelFactory) -> bool:
    try:
        return "schema" in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False


def _check_repeats(first: Arrays, again: Arrays) -> None:
    for name in {**first, **again}:
        mine, theirs = first.get(name), again.get(name)
        if mine is None or theirs is None or mine.tobytes() != theirs.tobytes():
            raise ConfigError(
                f"The model factory is not deterministic: {name!r} differs between two models "
                "from the same seed, so learners would not start from the same model (6.1).",
                hint="Draw random numbers from Keras alone, and take nothing from the clock.",
            )
