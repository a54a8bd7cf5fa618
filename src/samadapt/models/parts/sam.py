"""SAM's prompt encoder and mask decoder (Kirillov et al., 2023), and SAM-HQ's (Ke et al., 2023)."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from samadapt.errors import CheckpointError
from samadapt.models.export_parts import PaddingPoints
from samadapt.models.parts.hq_decoder import HqMaskDecoder
from samadapt.models.parts.model import TransformersModel
from samadapt.models.parts.preprocessing import Preprocessing
from samadapt.models.registry import LoadOptions


class SamDecoderModel(TransformersModel):
    """SAM with any image encoder; input images are padded to a square."""

    def __init__(
        self,
        network: Any,
        name: str,
        device: torch.device | str = "cpu",
        encoder_dtype: torch.dtype = torch.float32,
    ) -> None:
        side = int(network.config.vision_config.image_size)
        if side != network.prompt_encoder.input_image_size:
            raise CheckpointError(
                f"the configuration of {name} contradicts itself: images of {side} pixels, prompts "
                f"for {network.prompt_encoder.input_image_size}; correct image_size in config.json"
            )
        super().__init__(network, name, self._preprocessing_for(side), device, encoder_dtype)

    @staticmethod
    def _preprocessing_for(side: int) -> Preprocessing:
        return Preprocessing(name=f"sam-longest-{side}-1", side=side)

    def _encode(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"image": self.network.vision_encoder(pixels).last_hidden_state}

    def _no_tokens(self, count: int) -> Tensor:
        # SAM gives its decoder no sparse tokens in that case.
        return torch.zeros(count, 0, self.spec.width, device=self.device)

    def _decoder_inputs(self, features: dict[str, Tensor]) -> dict[str, Any]:
        return {}

    def _exported_prompts(self) -> tuple[PaddingPoints, tuple[Tensor, ...]]:
        corners = (layer.weight for layer in self.network.prompt_encoder.point_embed[2:4])
        return PaddingPoints(clicks=1), tuple(corners)


class SamHqDecoderModel(SamDecoderModel):
    """SAM-HQ: a high-quality token and early features of the encoder, on top of a frozen SAM.

    Args:
        network, name, device, encoder_dtype: as in `TransformersModel`.
        hq_token_only: the mask of the high-quality token alone, instead of its sum with SAM's.
    """

    _features = ("image", "early")

    def __init__(
        self,
        network: Any,
        name: str,
        device: torch.device | str = "cpu",
        encoder_dtype: torch.dtype = torch.float32,
        hq_token_only: bool = False,
    ) -> None:
        network.mask_decoder = HqMaskDecoder(network.mask_decoder)
        super().__init__(network, name, device, encoder_dtype)
        self.hq_token_only = hq_token_only

    @classmethod
    def wrap(cls, network: Any, name: str, options: LoadOptions) -> Self:
        """A model around a loaded network."""
        where, dtype = options.device, options.encoder_dtype
        return cls(network, name, where, dtype, options.hq_token_only)

    def _encode(self, pixels: Tensor) -> dict[str, Tensor]:
        output = self.network.vision_encoder(pixels)
        features = {"image": output.last_hidden_state}
        # The decoder reads only the first of the layers with global attention.
        for early in output.intermediate_embeddings[:1]:
            features["early"] = early.permute(0, 3, 1, 2)
        return features

    def _decoder_inputs(self, features: dict[str, Tensor]) -> dict[str, Any]:
        early = None
        if "early" in features:
            # Broadcast inside the decoder: it need not be projected once per prompt.
            early = [features["early"][:1].permute(0, 2, 3, 1)]
        return {"hq_token_only": self.hq_token_only, "intermediate_embeddings": early}
