"""nano's mask decoder: dense fusion of image and prompt, then SAM's two-way transformer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.layers import MLP, Attention, ChannelNorm, ContextBlock, ResidualLN
from samadapt.models.nano.prompt_encoder import EncodedPrompts
from samadapt.models.seams import install_mask_attention_seam

MASKS = 4
"""One mask for clear prompts (token 0) and three candidates for an ambiguous one (tokens 1-3)."""


class NanoMaskDecoder(nn.Module):
    """Image features and encoded prompts to mask logits at stride 4 and predicted IoUs."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        channels, fine = config.channels, config.fine_channels
        self.fusion = DenseFusion(config)
        self.output_tokens = nn.Parameter(torch.randn(1 + MASKS, channels) * 0.5)
        self.transformer = TwoWayTransformer(config)
        self.upscale = nn.Sequential(ChannelNorm(channels), nn.Conv2d(channels, fine, 1))
        self.fine_maps = nn.Conv2d(3, fine, 3, 1, 1)
        self.head = nn.Sequential(
            ChannelNorm(fine),
            nn.ReLU(),
            nn.Conv2d(fine, fine, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(fine, fine, 3, 1, 1),
        )
        self.hypernetworks = nn.ModuleList(MLP(channels, channels, fine, 3) for _ in range(MASKS))
        self.prior_gain = nn.Parameter(torch.ones(MASKS))
        self.score_head = MLP(channels, channels, MASKS, 3)

    def forward(
        self, image: Tensor, fine: Tensor, positions: Tensor, prompts: EncodedPrompts
    ) -> tuple[Tensor, Tensor]:
        """Decode B prompts.

        Args:
            image: (B, C, h, w).
            fine: (B, Cf, 2h, 2w).
            positions: (1, C, h, w) positional encoding.
            prompts: encoded prompts.

        Returns:
            Logits (B, 4, 2h, 2w) and predicted IoUs (B, 4).
        """
        batch, channels, height, width = image.shape
        x = self.fusion(image + prompts.dense)
        outputs = self.output_tokens.expand(batch, -1, -1)
        tokens = torch.cat([outputs, prompts.tokens], dim=1)
        bias = F.pad(prompts.token_bias, (outputs.shape[1], 0))[:, None, None, :]
        tokens, flat = self.transformer(
            tokens, _flatten(x), _flatten(positions.expand(batch, -1, -1, -1)), bias
        )
        x = x + flat.view(batch, height, width, channels).permute(0, 3, 1, 2)
        pixels = _double(self.upscale(x)) + fine + self.fine_maps(prompts.fine.to(fine.dtype))
        pixels = pixels + self.head(pixels)
        weights = torch.stack(
            [net(tokens[:, 1 + i]) for i, net in enumerate(self.hypernetworks)], dim=1
        )
        flat = _flatten(pixels) @ weights.to(pixels.dtype).transpose(1, 2)
        correction = flat.transpose(1, 2).view(batch, MASKS, 2 * height, 2 * width)
        prior = _double(prompts.prior.float()) * self.prior_gain.view(1, -1, 1, 1)
        return correction.float() + prior, self.score_head(tokens[:, 0]).float().sigmoid()


class DenseFusion(nn.Module):
    """Lets the prompt maps spread over the image: strides 8, 16, 32 and back (a small U-net)."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        channels, wide = config.channels, config.context_channels
        self.block8 = ResidualLN(channels)
        self.down16 = nn.Conv2d(channels, channels, 3, 2, 1)
        self.block16 = ResidualLN(channels)
        self.down32 = nn.Conv2d(channels, wide, 3, 2, 1)
        self.block32 = ContextBlock(wide, config.heads, expansion=2)
        self.up16 = nn.Conv2d(wide, channels, 1)
        self.up8 = nn.Conv2d(channels, channels, 1)
        self.after8 = ResidualLN(channels)

    def forward(self, x8: Tensor) -> Tensor:
        """(B, C, h, w), h and w multiples of 4, to the same shape."""
        x8 = self.block8(x8)
        x16 = self.block16(self.down16(F.relu(x8)))
        x32 = self.block32(self.down32(F.relu(x16)))
        x16 = x16 + _double(self.up16(x32))
        return torch.as_tensor(self.after8(x8 + _double(self.up8(F.relu(x16)))))


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


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
