"""LightGBM's trees as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from colearn.learners._boosted_trees import BoostedTrees

__all__ = ["THRESHOLD_MIN", "LightGBMTrees"]

THRESHOLD_MIN = float(np.float32(1e-35))
"""The smallest distance of a threshold from 0.

LightGBM reads values nearer to 0 than this as 0, and so never splits there. Where no tree does, a
row goes left exactly when its value is at most the threshold: in LightGBM, numpy and ONNX alike.
"""


@dataclass(frozen=True, slots=True)
class LightGBMTrees(BoostedTrees):
    """LightGBM's trees, float64: a row goes left where its value is at most the threshold.

    A missing value is at most nothing, so it goes right; a learner has none (6.2). The base score
    is a margin: 0 for classes, a value in regression.
    """

    dtypes: ClassVar[Mapping[str, npt.DTypeLike]] = MappingProxyType(
        {"threshold": np.float64, "value": np.float64, "base_score": np.float64}
    )

    def _check_nodes(self, is_leaf: npt.NDArray[np.bool_]) -> None:
        near = ~is_leaf & (abs(self.threshold) < THRESHOLD_MIN)
        self._refuse(near, "threshold", f"a number not nearer to 0 than {THRESHOLD_MIN:g}")
