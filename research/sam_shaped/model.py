"""`SamShapedSegmenter`: SAM's prompt encoder and mask decoder on nano's image encoder."""

from __future__ import annotations

from typing import Any

from research.sam_shaped.preprocessing import square_preprocessing
from samadapt.models.parts.preprocessing import Preprocessing
from samadapt.models.parts.sam import SamDecoderModel


class SamShapedSegmenter(SamDecoderModel):
    """Everything after the image embedding is SAM's, so that adapters act as they do on SAM."""

    def _prepare_encoder(self, encoder: Any) -> None:
        pass

    @staticmethod
    def _preprocessing_for(side: int) -> Preprocessing:
        return square_preprocessing(side)
