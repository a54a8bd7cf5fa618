"""Positional encodings of image features, with the frequencies of the model's prompt encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def positions(frequencies: Tensor, grid: tuple[int, int], cells: int) -> Tensor:
    """Codes (h*w, C) of the cells' centres, row-major.

    code(p) = [sin, cos](2 pi (2 p - 1) F), p = (x, y) as shares of the model's input side.

    Args:
        frequencies: F (2, C/2).
        grid: (h, w).
        cells: along the input side, see `DecoderSpec.position_cells`.
    """
    height, width = grid
    side = cells or max(grid)
    device = frequencies.device
    ys = (torch.arange(height, device=device) + 0.5) / side
    xs = (torch.arange(width, device=device) + 0.5) / side
    places = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1).view(-1, 2)
    phase = 2 * math.pi * ((2 * places - 1) @ frequencies)
    return torch.cat([phase.sin(), phase.cos()], dim=-1)
