"""SAM and SAM-HQ with the ViT of transformers."""

from __future__ import annotations

from typing import Any

from samadapt.models.hf.attention import use_relative_attention
from samadapt.models.parts.sam import SamDecoderModel, SamHqDecoderModel


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
