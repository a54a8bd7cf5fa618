"""nano's image encoder: plain 3x3 convolutions, a little global attention, a feature pyramid."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.layers import ContextBlock, ConvBN, ResidualBN


class NanoFeatures(NamedTuple):
    """Features of B images.

    Attributes:
        image: (B, C, h, w) at stride 8.
        keys: (B, Ck, h, w) at stride 8, unit length along the channels: the similarity prior.
        fine: (B, Cf, 2h, 2w) at stride 4, for the mask head.
    """

    image: Tensor
    keys: Tensor
    fine: Tensor

    def rows(self, index: Tensor) -> NanoFeatures:
        """Features of the images at `index` (B,), repeats allowed; channels-last."""
        return NanoFeatures(*(channels_last(x.index_select(0, index)) for x in self))


class NanoEncoder(nn.Module):
    """Image (B, 3, H, W), H and W multiples of 32, to `NanoFeatures`.

    Plain convolutions, not depth-wise ones: on a CPU they run near peak speed, while depth-wise
    ones wait for memory.
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        w4, w8, w16, w32 = config.widths
        d4, d8, d16, d32 = config.depths
        self.stem = nn.Sequential(ConvBN(3, w4 // 2, stride=2), ConvBN(w4 // 2, w4, stride=2))
        self.stage4 = nn.Sequential(*(ResidualBN(w4) for _ in range(d4)))
        self.stage8 = nn.Sequential(ConvBN(w4, w8, stride=2), *(ResidualBN(w8) for _ in range(d8)))
        self.stage16 = nn.Sequential(
            ConvBN(w8, w16, stride=2), *(ResidualBN(w16) for _ in range(d16))
        )
        self.stage32 = nn.Sequential(
            ConvBN(w16, w32, stride=2), *(ContextBlock(w32, config.heads) for _ in range(d32))
        )
        channels = config.channels
        self.lateral32 = nn.Conv2d(w32, w16, 1)
        self.merge16 = ConvBN(w16, w16)
        self.lateral16 = nn.Conv2d(w16, channels, 1)
        self.lateral8 = nn.Conv2d(w8, channels, 1)
        self.merge8 = nn.Sequential(ConvBN(channels, channels), nn.Conv2d(channels, channels, 1))
        self.key_head = nn.Conv2d(channels, config.key_channels, 1)
        self.lateral4 = nn.Conv2d(w4, config.fine_channels, 3, 1, 1)
        self.down_to_fine = nn.Conv2d(channels, config.fine_channels, 1)

    def forward(self, pixels: Tensor) -> NanoFeatures:
        """Encode normalised pixels (B, 3, H, W)."""
        x4 = self.stage4(self.stem(pixels))
        x8 = self.stage8(x4)
        x16 = self.stage16(x8)
        x32 = self.stage32(x16)
        y16 = self.merge16(x16 + _double(self.lateral32(x32)))
        image = self.merge8(self.lateral8(x8) + _double(self.lateral16(y16)))
        keys = F.normalize(self.key_head(image).float(), dim=1)
        fine = self.lateral4(x4) + _double(self.down_to_fine(image))
        return NanoFeatures(image, keys, fine)


def channels_last(x: Tensor) -> Tensor:
    """The layout in which a CPU convolves fastest."""
    return x.contiguous(memory_format=torch.channels_last)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
