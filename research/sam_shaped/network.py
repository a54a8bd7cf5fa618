"""The network: nano's frozen trunk and pyramid, a neck, SAM's own prompt encoder and decoder."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.encoder import NanoEncoder
from samadapt.models.nano.layers import ChannelNorm, SeparableBlock
from samadapt.models.parts.quiet import quiet_transformers

_FREQUENCY_SPREAD = 1.0
"""Standard deviation of the random frequencies of positions, SAM's own."""
_FOCUS = 1.5
"""How much sharper than by the bare likeness of positions attention begins."""


class EncoderOutput(NamedTuple):
    """What an image encoder of transformers returns.

    Attributes:
        last_hidden_state: the image embedding (B, C, h, w).
    """

    last_hidden_state: Tensor


class Neck(nn.Module):
    """Pyramid features (B, F, h, w) to SAM's image embedding (B, C, h, w).

    As with SAM's ViT, the embedding contains the position of each cell, which is learned.

    Args:
        inputs: F.
        channels: C.
        side: h and w.
    """

    def __init__(self, inputs: int, channels: int, side: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, channels, 1)
        self.position = nn.Parameter(torch.zeros(1, channels, side, side))
        self.block = SeparableBlock(channels)
        self.norm = ChannelNorm(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Embed features, also those of a grid that is a whole number of times coarser."""
        factor = self.position.shape[-1] // features.shape[-1]
        position = F.avg_pool2d(self.position, factor) if factor > 1 else self.position
        x: Tensor = self.norm(self.block(self.project(features) + position))
        return x


class NanoVisionEncoder(nn.Module):
    """Normalised pixels (B, 3, H, W) to SAM's image embedding at stride 8.

    Args:
        nano: sizes of the trunk and the pyramid.
        channels: C of the embedding.
    """

    def __init__(self, nano: NanoConfig, channels: int) -> None:
        super().__init__()
        self.nano = nano
        self.pyramid = NanoEncoder(nano)
        inputs = nano.channels + 4 * nano.fine_channels
        self.neck = Neck(inputs, channels, nano.input_side // NanoConfig.STRIDE)

    def features(self, pixels: Tensor) -> Tensor:
        """The frozen part: (B, F, h, w), the stride-8 features and, unfolded, the stride-4 ones."""
        found = self.pyramid(pixels)
        return torch.cat([found.image.float(), F.pixel_unshuffle(found.fine.float(), 2)], dim=1)

    def forward(self, pixels: Tensor) -> EncoderOutput:
        """Encode normalised pixels."""
        return EncoderOutput(self.neck(self.features(pixels)))


def build_network(nano: NanoConfig, channels: int = 256, **decoder: Any) -> Any:
    """`SamModel` of transformers with another image encoder; weights are random.

    Args:
        nano: sizes of the trunk and the pyramid; its `input_side` is the side of the input.
        channels: C, 256 in SAM.
        decoder: further settings of transformers' `SamMaskDecoderConfig`, to shrink it in tests.
    """
    import transformers

    with quiet_transformers():
        config = transformers.SamConfig(
            vision_config={
                "image_size": nano.input_side,
                "patch_size": NanoConfig.STRIDE,
                "output_channels": channels,
                "num_pos_feats": channels // 2,
                "num_hidden_layers": 0,  # the ViT, which nano's encoder replaces
                "hidden_size": 8,
                "num_attention_heads": 1,
            },
            prompt_encoder_config={
                "image_size": nano.input_side,
                "patch_size": NanoConfig.STRIDE,
                "hidden_size": channels,
            },
            mask_decoder_config={"hidden_size": channels, **decoder},
            attn_implementation="sdpa",
        )
        network: Any = transformers.SamModel(config)
    network.vision_encoder = NanoVisionEncoder(nano, channels)
    return network


@torch.no_grad()
def initialise(network: Any, mean: Tensor, std: Tensor, seed: int = 0) -> None:
    """Random weights with which SAM's decoder begins to learn at once.

    From the usual ones it ignores the prompt for very long. Here the queries and keys of the
    attention between tokens and image begin as the same projection, so that each token attends
    to where its prompt lies and each place to the prompts that lie there.

    Args:
        network: of `build_network`; its pyramid stays as it is.
        mean: (F,) mean of the pyramid's features, per channel.
        std: (F,) their standard deviation.
        seed: of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    decoder, prompts = network.mask_decoder, network.prompt_encoder
    for module in (*decoder.modules(), *prompts.modules()):
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    frequencies = network.shared_image_embedding.positional_embedding
    frequencies.copy_(torch.randn(frequencies.shape, generator=generator) * _FREQUENCY_SPREAD)
    prompts.shared_embedding.positional_embedding.copy_(frequencies)
    nn.init.zeros_(prompts.no_mask_embed.weight)
    prompts.mask_embed.conv3.weight.mul_(0.1)
    transformer = decoder.transformer
    attentions = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        attentions += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    for attention in attentions:
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        attention.q_proj.weight.mul_(_FOCUS)
    neck = network.vision_encoder.neck
    nn.init.kaiming_normal_(neck.project.weight, nonlinearity="linear", generator=generator)
    neck.project.weight.div_(std.view(1, -1, 1, 1))
    neck.project.bias.copy_(-(neck.project.weight[..., 0, 0] @ mean))
    neck.position.copy_(position_grid(network, neck.position.shape[-1]))


def position_grid(network: Any, side: int) -> Tensor:
    """Positional encoding (1, C, side, side) of a grid over the input."""
    steps = (torch.arange(side) + 0.5) / side
    points = torch.stack([steps.expand(side, side), steps[:, None].expand(side, side)], dim=-1)
    encoded: Tensor = network.shared_image_embedding(points[None])
    return encoded.permute(0, 3, 1, 2).contiguous()
