"""XGBoost's trees as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from colearn.errors import WeightsError
from colearn.learners._boosted_trees import BoostedTrees

__all__ = ["XGBoostTrees"]


@dataclass(frozen=True, slots=True)
class XGBoostTrees(BoostedTrees):
    """XGBoost's trees, float32: a row goes left where its value is below the threshold.

    The base score is a probability for two classes, a margin for more, a value in regression.

    Attributes:
        default_left: (nodes,) uint8, 1 where a row without the value goes left; 0 in a leaf.
    """

    dtypes: ClassVar[Mapping[str, npt.DTypeLike]] = MappingProxyType(
        {
            "threshold": np.float32,
            "value": np.float32,
            "base_score": np.float32,
            "default_left": np.uint8,
        }
    )

    default_left: npt.NDArray[np.uint8]

    def _check_nodes(self, is_leaf: npt.NDArray[np.bool_]) -> None:
        if len(self.default_left) != len(is_leaf):
            raise WeightsError(
                f"Array 'default_left' must have {len(is_leaf)} nodes, got "
                f"{len(self.default_left)}."
            )
        self._refuse(self.default_left > 1, "default_left", "0 or 1")
        self._refuse(is_leaf & (self.default_left != 0), "default_left", "0 in a leaf")
