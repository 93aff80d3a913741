"""LightGBM's trees as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from colearn.learners._boosted_trees import BoostedTrees

__all__ = ["LightGBMTrees", "beside_zero"]

ZERO = float(np.float32(1e-35))
"""LightGBM reads a value from minus this to this as 0.

Where no tree splits among them, a row goes left exactly when its value is at most the threshold: in
LightGBM, numpy and ONNX alike.
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
        near = ~is_leaf & (self.threshold >= -ZERO) & (self.threshold < ZERO)
        self._refuse(near, "threshold", f"below {-ZERO:g}, or {ZERO:g} and more")


def beside_zero(threshold: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return thresholds that LightGBM grew so that they keep to `ZERO`, (nodes,).

    It splits what it reads as 0 from the negative at -ZERO, which it reads as 0 itself. The next
    number below sends every value the same way.
    """
    return np.where(threshold == -ZERO, np.nextafter(-ZERO, -np.inf), threshold)
