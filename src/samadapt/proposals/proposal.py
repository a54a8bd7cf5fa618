"""`Proposal`: an object found without a click."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle


@dataclass(frozen=True, slots=True)
class Proposal:
    """One found object.

    Attributes:
        rle: its mask, compressed.
        score: 0..1, the higher the likelier; see `propose` and `propose_similar`.
        point: (x, y) of the point prompt that found it.
    """

    rle: Rle
    score: float
    point: tuple[float, float]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool at the image's original size."""
        return self.rle.mask()
