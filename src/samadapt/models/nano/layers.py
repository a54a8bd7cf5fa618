"""Building blocks shared by nano's encoder and decoder."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.models.attention import Attention as Attention


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (B, C, H, W), at every position by itself."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W); free of copies for channels-last tensors."""
        normal: Tensor = super().forward(x.permute(0, 2, 3, 1))
        return normal.permute(0, 3, 1, 2)


class SeparableBlock(nn.Module):
    """Depth-wise 3x3 convolution, norm per position, then an MLP, around a skip connection.

    The order of ConvNeXt (Liu et al. 2022, arXiv 2201.03545), with ReLU and little expansion.
    Most of the work is in 1x1 convolutions, which run near a CPU's peak speed.

    Args:
        channels: C.
        expansion: width of the MLP in multiples of C.
    """

    def __init__(self, channels: int, expansion: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels)
        self.norm = ChannelNorm(channels)
        self.expand = nn.Conv2d(channels, channels * expansion, 1)
        self.project = nn.Conv2d(channels * expansion, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y = F.relu(self.expand(self.norm(self.depthwise(x))), inplace=True)
        return x + torch.as_tensor(self.project(y))


class ContextBlock(nn.Module):
    """Self-attention over all positions and an MLP; positions from a depth-wise convolution."""

    def __init__(self, channels: int, heads: int, expansion: int = 3) -> None:
        super().__init__()
        self.position = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels)
        self.norm1 = nn.LayerNorm(channels)
        self.attention = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels * expansion),
            nn.GELU(),
            nn.Linear(channels * expansion, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        x = x + torch.as_tensor(self.position(x))
        batch, channels, height, width = x.shape
        tokens: Tensor = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        y = self.norm1(tokens)
        tokens = tokens + self.attention(query=y, key=y, value=y)
        tokens = tokens + torch.as_tensor(self.mlp(self.norm2(tokens)))
        return tokens.view(batch, height, width, channels).permute(0, 3, 1, 2)


class FourierPositions(nn.Module):
    """Random Fourier features of coordinates (Tancik et al. 2020), as in SAM's prompt encoder."""

    frequencies: Tensor

    def __init__(self, channels: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("frequencies", torch.randn(2, channels // 2, generator=generator))

    def forward(self, points: Tensor) -> Tensor:
        """(..., 2) coordinates as shares of the input side, to (..., C)."""
        phase = 2 * math.pi * ((2 * points.float() - 1) @ self.frequencies)
        return torch.cat([phase.sin(), phase.cos()], dim=-1)

    def grid(self, size: tuple[int, int], step: float, origin: tuple[float, float]) -> Tensor:
        """(1, C, h, w) for cells of `step` (share of the input side), from `origin` (x, y)."""
        device = self.frequencies.device
        ys = (torch.arange(size[0], device=device) + 0.5) * step + origin[1]
        xs = (torch.arange(size[1], device=device) + 0.5) * step + origin[0]
        points = torch.stack([xs[None, :].expand(*size), ys[:, None].expand(*size)], dim=-1)
        return torch.as_tensor(self(points)).permute(2, 0, 1)[None]


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int, depth: int) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * (depth - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return torch.as_tensor(self.layers[-1](x))


def double(x: Tensor) -> Tensor:
    """(B, C, H, W) to twice the height and width, bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
