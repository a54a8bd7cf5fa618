"""The whole nano network as one module, for training and for loading weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.decoder import NanoMaskDecoder
from samadapt.models.nano.encoder import NanoEncoder, NanoFeatures, channels_last
from samadapt.models.nano.prompt_encoder import NanoPromptEncoder, PromptBatch


def place(network: NanoNetwork, device: torch.device) -> NanoNetwork:
    """Move to `device`, convolutions laid out channels-last; the same object."""
    network.to(device)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = channels_last(parameter.data)
    return network


class NanoNetwork(nn.Module):
    """Encoder, prompt encoder and mask decoder."""

    def __init__(self, config: NanoConfig | None = None) -> None:
        super().__init__()
        self.config = config or NanoConfig()
        self.encoder = NanoEncoder(self.config)
        self.prompt_encoder = NanoPromptEncoder(self.config)
        self.decoder = NanoMaskDecoder(self.config)

    def forward(self, pixels: Tensor) -> NanoFeatures:
        """Encode normalised pixels (B, 3, H, W)."""
        features: NanoFeatures = self.encoder(pixels)
        return features

    def answer(
        self,
        features: NanoFeatures,
        prompts: PromptBatch,
        origin: tuple[float, float] = (0.0, 0.0),
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, 4, 4h, 4w), scores (B, 4) and prior (B, 1, h, w) for B prompts.

        Each prompt is answered on its own row of `features`.
        """
        encoded = self.prompt_encoder(features, prompts, origin)
        positions = self.positions(features, origin)
        logits, scores = self.decoder(features.image, features.fine, positions, encoded)
        return logits, scores, encoded.prior

    def positions(self, features: NanoFeatures, origin: tuple[float, float] = (0.0, 0.0)) -> Tensor:
        """Positional encoding (1, C, h/2, w/2) of the grid that the transformer attends to."""
        height, width = (v // 2 for v in features.image.shape[-2:])
        step = NanoConfig.ATTENTION_STRIDE / self.config.input_side
        return self.prompt_encoder.positions.grid((height, width), step, origin)
