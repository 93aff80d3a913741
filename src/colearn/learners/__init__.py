"""Learners for the frameworks people use, each in the module that imports its framework."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from colearn.errors import MissingExtraError

if TYPE_CHECKING:
    from colearn.learners.forest import RandomForestLearner as RandomForestLearner
    from colearn.learners.keras import KerasLearner as KerasLearner
    from colearn.learners.lightgbm import LightGBMLearner as LightGBMLearner
    from colearn.learners.lora import LoraLearner as LoraLearner
    from colearn.learners.sklearn import SklearnLearner as SklearnLearner
    from colearn.learners.torch import TorchLearner as TorchLearner
    from colearn.learners.xgboost import XGBoostLearner as XGBoostLearner

__all__ = [
    "KerasLearner",
    "LightGBMLearner",
    "LoraLearner",
    "RandomForestLearner",
    "SklearnLearner",
    "TorchLearner",
    "XGBoostLearner",
]

_HOMES = {
    "KerasLearner": ("colearn.learners.keras", "keras", "keras"),
    "LightGBMLearner": ("colearn.learners.lightgbm", "lightgbm", "lightgbm"),
    "LoraLearner": ("colearn.learners.lora", "peft", "lora"),
    "RandomForestLearner": ("colearn.learners.forest", "scikit-learn", "sklearn"),
    "SklearnLearner": ("colearn.learners.sklearn", "scikit-learn", "sklearn"),
    "TorchLearner": ("colearn.learners.torch", "torch", "torch"),
    "XGBoostLearner": ("colearn.learners.xgboost", "xgboost-cpu", "xgboost"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, package, extra = _HOMES[name]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "colearn":
            raise
        raise MissingExtraError(package, extra=extra) from error
