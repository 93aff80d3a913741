"""Weights: named arrays, their canonical bytes, their digest and the checks on them.

Protocol 6.3, 6.4 and P3.5.
"""

from colearn.weights.checks import require_like
from colearn.weights.codec import decode, encode
from colearn.weights.limits import DEFAULT_LIMITS, WeightsLimits
from colearn.weights.named import NamedArrays, Spread, content_id, form_of, freeze
from colearn.weights.trees import NO_NODE, Trees

__all__ = [
    "DEFAULT_LIMITS",
    "NO_NODE",
    "NamedArrays",
    "Spread",
    "Trees",
    "WeightsLimits",
    "content_id",
    "decode",
    "encode",
    "form_of",
    "freeze",
    "require_like",
]
