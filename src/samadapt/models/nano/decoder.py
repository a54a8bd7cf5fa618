"""nano's mask decoder: dense fusion of image and prompt, then SAM's two-way transformer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.layers import (
    MLP,
    Attention,
    ChannelNorm,
    ContextBlock,
    SeparableBlock,
    double,
)
from samadapt.models.nano.prompt_encoder import FINE_MAPS, EncodedPrompts
from samadapt.models.seams import decoder_grid, install_mask_attention_seam

MASKS = 4
"""One mask for clear prompts (token 0) and three candidates for an ambiguous one (tokens 1-3)."""

SUBPIXELS = (NanoConfig.FINE_STRIDE // NanoConfig.MASK_STRIDE) ** 2
"""Logits per cell of the mask head's features."""


class NanoMaskDecoder(nn.Module):
    """Decodes image features and encoded prompts to mask logits at stride 2 and predicted IoUs.

    The two-way transformer sees the image at stride 16, as SAM's does. Each cell of the mask
    head's features, at stride 4, yields four sub-pixels (sub-pixel convolution, Shi et al. 2016,
    arXiv 1609.05158): each mask token makes one weight vector for each of them.
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        channels, fine = config.channels, config.fine_channels
        self.fusion = DenseFusion(config)
        self.output_tokens = nn.Parameter(torch.randn(1 + MASKS, channels) * 0.5)
        self.transformer = TwoWayTransformer(config)
        self.up8 = nn.Conv2d(channels, channels, 1)
        self.block8 = SeparableBlock(channels)
        self.upscale = nn.Sequential(ChannelNorm(channels), nn.Conv2d(channels, fine, 1))
        self.fine_maps = nn.Conv2d(FINE_MAPS, fine, 3, 1, 1)
        self.head = SeparableBlock(fine, 2)
        self.hypernetworks = nn.ModuleList(
            MLP(channels, channels, fine * SUBPIXELS, 3) for _ in range(MASKS)
        )
        self.prior_gain = nn.Parameter(torch.ones(MASKS))
        self.score_head = MLP(2 * channels + SCORE_CUES, channels, 1, 3)

    def forward(
        self, image: Tensor, fine: Tensor, positions: Tensor, prompts: EncodedPrompts
    ) -> tuple[Tensor, Tensor]:
        """Decode B prompts.

        Args:
            image: (B, C, h, w).
            fine: (B, Cf, 2h, 2w).
            positions: (1, C, h/2, w/2) positional encoding.
            prompts: encoded prompts.

        Returns:
            Logits (B, 4, 4h, 4w) and predicted IoUs (B, 4).
        """
        batch, channels, height, width = image.shape
        x8 = image + prompts.dense
        x16 = self.fusion(x8)
        outputs = self.output_tokens.expand(batch, -1, -1)
        tokens = torch.cat([outputs, prompts.tokens], dim=1)
        bias = F.pad(prompts.token_bias, (outputs.shape[1], 0))[:, None, None, :]
        grid = (height // 2, width // 2)
        with decoder_grid(grid):
            tokens, flat = self.transformer(
                tokens, _flatten(x16), _flatten(positions.expand(batch, -1, -1, -1)), bias
            )
        x16 = flat.view(batch, *grid, channels).permute(0, 3, 1, 2)
        x8 = self.block8(x8 + double(self.up8(x16)))
        pixels = double(self.upscale(x8)) + fine + self.fine_maps(prompts.fine.to(fine.dtype))
        logits = self._masks(self.head(pixels), tokens[:, 1 : 1 + MASKS])
        prior = F.interpolate(prompts.prior.float(), scale_factor=4.0, mode="bilinear")
        logits = torch.addcmul(logits, prior, self.prior_gain.view(1, -1, 1, 1))
        return logits, self._scores(tokens, logits)

    def _masks(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """Logits (B, 4, 2h, 2w) of features (B, Cf, h, w), one mask per token (B, 4, C)."""
        batch, fine, height, width = pixels.shape
        weights = torch.stack([net(tokens[:, i]) for i, net in enumerate(self.hypernetworks)], 1)
        weights = weights.view(batch, MASKS * SUBPIXELS, fine).to(pixels.dtype)
        flat = (_flatten(pixels) @ weights.transpose(1, 2)).view(batch, height, width, MASKS, 2, 2)
        return flat.permute(0, 3, 1, 4, 2, 5).reshape(batch, MASKS, 2 * height, 2 * width).float()

    def _scores(self, tokens: Tensor, logits: Tensor) -> Tensor:
        """Predicted IoUs (B, 4) from the score token, the mask tokens and the masks."""
        score = tokens[:, :1].expand(-1, MASKS, -1)
        known = torch.cat([score, tokens[:, 1 : 1 + MASKS], mask_cues(logits)], dim=-1)
        return torch.as_tensor(self.score_head(known))[..., 0].float().sigmoid()


SCORE_CUES = 4


def mask_cues(logits: Tensor) -> Tensor:
    """Cues (B, K, 4) of how certain masks (B, K, h, w) are; no gradient passes.

    Measured on every second row and column: mean probability inside the mask; stability, the IoU
    of the masks at thresholds 1 and -1 (as in SAM's automatic mask generator); log10 of the share
    of the image inside, plus 5; mean distance of all probabilities from 0.5.
    """
    logits = logits.detach()[..., ::2, ::2]
    probability = logits.sigmoid()
    inside = logits > 0
    area = inside.sum((-2, -1))
    sure = (probability * inside).sum((-2, -1)) / area.clamp_min(1)
    stability = (logits > 1).sum((-2, -1)) / (logits > -1).sum((-2, -1)).clamp_min(1)
    share = (area.clamp_min(1) / inside[0, 0].numel()).log10() + 5
    doubt = (probability - 0.5).abs().mean((-2, -1))
    return torch.stack([sure, stability, share, doubt], dim=-1)


class DenseFusion(nn.Module):
    """Spreads the prompt maps over the image: stride 8 to 16 and 32, and back to 16."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        channels, wide = config.channels, config.context_channels
        self.down16 = nn.Conv2d(channels, channels, 2, 2)
        self.block16 = SeparableBlock(channels, 2)
        self.down32 = nn.Conv2d(channels, wide, 2, 2)
        self.block32 = ContextBlock(wide, config.heads, expansion=2)
        self.up16 = nn.Conv2d(wide, channels, 1)
        self.after16 = SeparableBlock(channels, 2)

    def forward(self, x8: Tensor) -> Tensor:
        """(B, C, h, w), h and w multiples of 4, to (B, C, h/2, w/2)."""
        x16 = self.block16(self.down16(x8))
        x32 = self.block32(self.down32(x16))
        return torch.as_tensor(self.after16(x16 + double(self.up16(x32))))


class TwoWayTransformer(nn.Module):
    """SAM's two-way transformer: tokens and image features attend to each other in turn."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(config) for _ in range(config.decoder_layers))
        self.final_attn_token_to_image = Attention(
            config.channels, config.heads, config.channels // 2
        )
        self.norm_final = nn.LayerNorm(config.channels)
        install_mask_attention_seam(self.layers[-1].get_submodule("cross_attn_token_to_image"))

    def forward(
        self, tokens: Tensor, image: Tensor, positions: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, C) and image features (B, hw, C), both returned updated.

        Args:
            tokens: output and prompt tokens.
            image: image features, row-major.
            positions: (B, hw, C) or (1, hw, C) positional encoding of the image.
            bias: (B, 1, 1, T) added to attention scores over tokens (hides padding).
        """
        start = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, start, positions, bias)
        attended = self.final_attn_token_to_image(
            query=tokens + start, key=image + positions, value=image
        )
        return self.norm_final(tokens + attended), image


class TwoWayLayer(nn.Module):
    """Self-attention of tokens, tokens to image, MLP, image to tokens."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        channels, heads = config.channels, config.heads
        self.self_attn = Attention(channels, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = Attention(channels, heads, channels // 2)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, 4 * channels, channels, 2)
        self.norm3 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = Attention(channels, heads, channels // 2)
        self.norm4 = nn.LayerNorm(channels)

    def forward(
        self, tokens: Tensor, image: Tensor, start: Tensor, positions: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One exchange; see `TwoWayTransformer.forward`."""
        query = tokens + start
        tokens = self.norm1(
            tokens + self.self_attn(query=query, key=query, value=tokens, bias=bias)
        )
        keys = image + positions
        attended = self.cross_attn_token_to_image(query=tokens + start, key=keys, value=image)
        tokens = self.norm2(tokens + attended)
        tokens = self.norm3(tokens + self.mlp(tokens))
        answered = self.cross_attn_image_to_token(
            query=keys, key=tokens + start, value=tokens, bias=bias
        )
        return tokens, self.norm4(image + answered)


def _flatten(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(1, 2)
