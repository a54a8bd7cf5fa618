"""Deformable sampling (DSP): image features from moved places, with learned amplitudes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableSampling(nn.Module):
    """DSP of Stable-SAM (Fan et al., ICLR 2025, arXiv 2311.15776, section 4).

    x* = x W + b                                      learned amplitudes (1x1 convolution)
    dp = R tanh(GELU(LN(DW5x5(x*))) V + c)            offsets, in cells of the feature grid
    out(p) = x*(p + dp(p))                            bilinear, clamped at the border

    V and c start as 0: untrained, nothing moves. W starts as a random rotation; with the identity
    x* would equal x, and the router would get no gradient. The range R is not published; the soft
    bound on the offsets is our choice.

    Args:
        channels: C.
        reach: R, how far a sample may move along each axis, in cells.
        deformable: False leaves out the offsets, so that only the amplitudes are learned.
    """

    def __init__(self, channels: int, reach: float, deformable: bool = True) -> None:
        super().__init__()
        self.reach = reach
        self.deformable = deformable
        self.project = nn.Linear(channels, channels)
        nn.init.orthogonal_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        if deformable:
            self.spread = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
            self.norm = nn.LayerNorm(channels)
            self.offset = nn.Linear(channels, 2)
            nn.init.zeros_(self.offset.weight)
            nn.init.zeros_(self.offset.bias)

    def forward(self, features: Tensor, grid: tuple[int, int]) -> Tensor:
        """Image features (B, h*w, C), row-major over `grid` = (h, w), to the same shape."""
        projected: Tensor = self.project(features)
        if not self.deformable:
            return projected
        return sample_at(projected, self.offsets(projected, grid), grid)

    def offsets(self, projected: Tensor, grid: tuple[int, int]) -> Tensor:
        """Offsets (B, h*w, 2) as (x, y), in cells, from the projected features (B, h*w, C)."""
        batch, _, channels = projected.shape
        there = projected.view(batch, *grid, channels).permute(0, 3, 1, 2)
        spread = self.spread(there).permute(0, 2, 3, 1).reshape(projected.shape)
        moved: Tensor = self.offset(F.gelu(self.norm(spread)))
        return self.reach * torch.tanh(moved)


def sample_at(features: Tensor, offsets: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bilinear samples at p + offset for every cell p; positions beyond the border are clamped.

    An offset of whole cells gives exactly the feature of that cell. `embedding_bag` sums the four
    weighted rows; on a CPU it is several times faster than `grid_sample`, and exact for whole
    cells.

    Args:
        features: (B, h*w, C), row-major over `grid`.
        offsets: (B, h*w, 2) as (x, y), in cells.
        grid: (h, w).

    Returns:
        (B, h*w, C).
    """
    height, width = grid
    batch, count, channels = features.shape
    across = torch.arange(width, device=features.device).expand(height, width).flatten()
    down = torch.arange(height, device=features.device)[:, None].expand(height, width).flatten()
    x = (across + offsets[..., 0]).clamp(0, width - 1)
    y = (down + offsets[..., 1]).clamp(0, height - 1)
    left, top = x.detach().floor(), y.detach().floor()
    right_share, lower_share = x - left, y - top
    shares = torch.stack(
        [
            (1 - lower_share) * (1 - right_share),
            (1 - lower_share) * right_share,
            lower_share * (1 - right_share),
            lower_share * right_share,
        ],
        dim=-1,
    )
    x0, y0 = left.long(), top.long()
    x1, y1 = (x0 + 1).clamp_max(width - 1), (y0 + 1).clamp_max(height - 1)
    first = (torch.arange(batch, device=features.device) * count)[:, None, None]
    rows = first + torch.stack(
        [y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1], dim=-1
    )
    weights = shares.view(-1, 4).to(features.dtype)
    if torch.compiler.is_compiling():  # exported graphs have no such operation
        moved = features.reshape(-1, channels)[rows.view(-1, 4)] * weights[..., None]
        return moved.sum(dim=1).view(batch, count, channels)
    summed = F.embedding_bag(
        rows.view(-1, 4),
        features.reshape(-1, channels),
        mode="sum",
        per_sample_weights=weights,
    )
    return summed.view(batch, count, channels)
