"""SAM and SAM-HQ with the ViT of transformers."""

from __future__ import annotations

from typing import Any

from samadapt.models.hf.attention import use_relative_attention
from samadapt.models.parts.preprocessing import Preprocessing
from samadapt.models.parts.sam import SamDecoderModel, SamHqDecoderModel

_NONE = (0.0, 0.0, 0.0)
_ONE = (1.0, 1.0, 1.0)


class SamSegmenter(SamDecoderModel):
    """SAM with a ViT-B, ViT-L or ViT-H encoder."""

    def _prepare_encoder(self, encoder: Any) -> None:
        # Fused kernels of other devices add the bias faster than a loop over heads could.
        if self.device.type == "cpu":
            use_relative_attention(encoder)


class SamHqSegmenter(SamHqDecoderModel):
    """SAM-HQ with a ViT-B, ViT-L or ViT-H encoder."""

    def _prepare_encoder(self, encoder: Any) -> None:
        if self.device.type == "cpu":
            use_relative_attention(encoder)


class MedSamSegmenter(SamSegmenter):
    """SAM fine-tuned as MedSAM (Ma et al., 2024): images stretched to a square and to [0, 1]."""

    @staticmethod
    def _preprocessing_for(side: int) -> Preprocessing:
        return Preprocessing(
            name=f"medsam-squash-{side}-1",
            side=side,
            squash=True,
            mean=_NONE,
            std=_ONE,
            full_range=True,
        )
