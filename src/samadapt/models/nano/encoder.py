"""nano's image encoder: a pretrained trunk, a little global attention, a light feature pyramid."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.layers import ContextBlock, SeparableBlock, double
from samadapt.models.nano.trunk import READ_STAGES, Trunk


class NanoFeatures(NamedTuple):
    """Features of B images.

    Attributes:
        image: (B, C, h, w) at stride 8.
        keys: (B, Ck, h, w) at stride 8, unit length along the channels, for the similarity prior.
        fine: (B, Cf, 2h, 2w) at stride 4, for the mask head.
    """

    image: Tensor
    keys: Tensor
    fine: Tensor

    def rows(self, index: Tensor) -> NanoFeatures:
        """Features of the images at `index` (B,), repeats allowed; channels-last."""
        return NanoFeatures(*(channels_last(x.index_select(0, index)) for x in self))


class NanoEncoder(nn.Module):
    """Image (B, 3, H, W), H and W multiples of 32, to `NanoFeatures`."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        channels, wide, fine = config.channels, config.context_channels, config.fine_channels
        w2, w4, w8, w16, w32 = (config.trunk_widths[1 + stage] for stage in READ_STAGES)
        self.trunk = Trunk(config.trunk_widths, config.trunk_repeats)
        self.lateral32 = nn.Conv2d(w32, wide, 1)
        self.context = nn.Sequential(
            *(ContextBlock(wide, config.heads) for _ in range(config.context_blocks))
        )
        self.down_to_16 = nn.Conv2d(wide, channels, 1)
        self.lateral16 = nn.Conv2d(w16, channels, 1)
        self.merge16 = SeparableBlock(channels)
        self.down_to_8 = nn.Conv2d(channels, channels, 1)
        self.lateral8 = nn.Conv2d(w8, channels, 1)
        self.merge8 = nn.Sequential(SeparableBlock(channels), SeparableBlock(channels))
        self.image_head = nn.Conv2d(channels, channels, 1)
        self.key_head = nn.Conv2d(channels, config.key_channels, 1)
        self.lateral2 = nn.Conv2d(w2, fine, 3, 2, 1)
        self.lateral4 = nn.Conv2d(w4, fine, 1)
        self.down_to_fine = nn.Conv2d(channels, fine, 1)

    def forward(self, pixels: Tensor) -> NanoFeatures:
        """Encode normalised pixels (B, 3, H, W)."""
        x2, x4, x8, x16, x32 = self.trunk(pixels)
        y32 = self.context(self.lateral32(x32))
        y16 = self.merge16(self.lateral16(x16) + double(self.down_to_16(y32)))
        y8 = self.merge8(self.lateral8(x8) + double(self.down_to_8(y16)))
        image = self.image_head(y8)
        keys = F.normalize(torch.as_tensor(self.key_head(y8)).float(), dim=1)
        fine = self.lateral2(x2) + self.lateral4(x4) + double(self.down_to_fine(y8))
        return NanoFeatures(image, keys, fine)


def channels_last(x: Tensor) -> Tensor:
    """The layout in which a CPU convolves fastest."""
    return x.contiguous(memory_format=torch.channels_last)
