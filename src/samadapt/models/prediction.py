"""`Prediction`: a model's answer to one prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samadapt.models.geometry import Window


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """K candidate masks for one prompt.

    Attributes:
        masks: (K, H, W) bool at the image's original size.
        scores: (K,) float32, the model's own estimate of each mask's IoU.
        logits: (K, h, w) float32 at the decoder's resolution; `Prompt(mask=...)` takes one.
        window: (x0, y0, x1, y1), the part of the image that the logits show when the model took
            a close-up; None for all of it. `Prompt(mask=..., window=...)` takes both.
    """

    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]
    logits: NDArray[np.float32]
    window: Window | None = None

    def __post_init__(self) -> None:
        for array in (self.masks, self.scores, self.logits):
            array.setflags(write=False)

    @property
    def best(self) -> int:
        """Index of the candidate with the highest score."""
        return int(np.argmax(self.scores))
