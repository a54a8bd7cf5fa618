"""The SAM 3 tracker on single images."""

from __future__ import annotations

from samadapt.models.parts.preprocessing import Preprocessing
from samadapt.models.parts.sam2 import Sam2Segmenter


class Sam3TrackerSegmenter(Sam2Segmenter):
    """The SAM 3 tracker's image mode: SAM 2's prompts and decoder on SAM 3's encoder."""

    @staticmethod
    def _preprocessing_for(side: int) -> Preprocessing:
        half = (0.5, 0.5, 0.5)
        name = f"sam3-squash-{side}-1"
        return Preprocessing(name=name, side=side, squash=True, mean=half, std=half)
