"""Colearn: a group of learners, each with private data, trains one model; no server is trusted.

Names are imported when they are first used, so that ``import colearn`` loads no framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colearn.driver import run_one_round as run_one_round
    from colearn.errors import ColearnError as ColearnError
    from colearn.experiment import Collective as Collective
    from colearn.interface import ColearnModel as ColearnModel
    from colearn.interface import DiffPrivBudget as DiffPrivBudget
    from colearn.interface import DiffPrivConfig as DiffPrivConfig
    from colearn.interface import ErrorCodes as ErrorCodes
    from colearn.interface import MachineLearningInterface as MachineLearningInterface
    from colearn.interface import ModelFormat as ModelFormat
    from colearn.interface import PrivacyUnit as PrivacyUnit
    from colearn.interface import ProposedWeights as ProposedWeights
    from colearn.interface import TrainingSummary as TrainingSummary
    from colearn.interface import VotePrivacyConfig as VotePrivacyConfig
    from colearn.interface import Weights as Weights
    from colearn.learners.forest import RandomForestLearner as RandomForestLearner
    from colearn.learners.keras import KerasLearner as KerasLearner
    from colearn.learners.lightgbm import LightGBMLearner as LightGBMLearner
    from colearn.learners.lora import LoraLearner as LoraLearner
    from colearn.learners.onnx import convert_model_to_onnx as convert_model_to_onnx
    from colearn.learners.onnx import deser_model as deser_model
    from colearn.learners.sklearn import SklearnLearner as SklearnLearner
    from colearn.learners.torch import TorchLearner as TorchLearner
    from colearn.learners.xgboost import XGBoostLearner as XGBoostLearner
    from colearn.privacy import Privacy as Privacy

_HOMES = {
    "Collective": "colearn.experiment",
    "ColearnError": "colearn.errors",
    "ColearnModel": "colearn.interface",
    "DiffPrivBudget": "colearn.interface",
    "DiffPrivConfig": "colearn.interface",
    "ErrorCodes": "colearn.interface",
    "KerasLearner": "colearn.learners",
    "LightGBMLearner": "colearn.learners",
    "LoraLearner": "colearn.learners",
    "MachineLearningInterface": "colearn.interface",
    "ModelFormat": "colearn.interface",
    "Privacy": "colearn.privacy",
    "PrivacyUnit": "colearn.interface",
    "ProposedWeights": "colearn.interface",
    "RandomForestLearner": "colearn.learners",
    "SklearnLearner": "colearn.learners",
    "TorchLearner": "colearn.learners",
    "TrainingSummary": "colearn.interface",
    "VotePrivacyConfig": "colearn.interface",
    "Weights": "colearn.interface",
    "XGBoostLearner": "colearn.learners",
    "convert_model_to_onnx": "colearn.learners.onnx",
    "deser_model": "colearn.learners.onnx",
    "run_one_round": "colearn.driver",
}

__all__ = [
    "ColearnError",
    "ColearnModel",
    "Collective",
    "DiffPrivBudget",
    "DiffPrivConfig",
    "ErrorCodes",
    "KerasLearner",
    "LightGBMLearner",
    "LoraLearner",
    "MachineLearningInterface",
    "ModelFormat",
    "Privacy",
    "PrivacyUnit",
    "ProposedWeights",
    "RandomForestLearner",
    "SklearnLearner",
    "TorchLearner",
    "TrainingSummary",
    "VotePrivacyConfig",
    "Weights",
    "XGBoostLearner",
    "convert_model_to_onnx",
    "deser_model",
    "run_one_round",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        return version("colearn")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
