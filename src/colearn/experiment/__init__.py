"""Experiments: a group of learners, what they did, and what it was worth."""

from colearn.experiment.collective import Collective
from colearn.experiment.comparison import Alone, Comparison, compare
from colearn.experiment.config import ExperimentConfig, load_config, parse_config
from colearn.experiment.folder import RunFolder
from colearn.experiment.hostile import VoteInverter
from colearn.experiment.plan import Plan, plan
from colearn.experiment.records import RoundRecord, Sink

__all__ = [
    "Alone",
    "Collective",
    "Comparison",
    "ExperimentConfig",
    "Plan",
    "RoundRecord",
    "RunFolder",
    "Sink",
    "VoteInverter",
    "compare",
    "load_config",
    "parse_config",
    "plan",
]
