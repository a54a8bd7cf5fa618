"""Where an image feature lies, in the code that the model's own prompt tokens are made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from samadapt.models.base import SegmentationModel

_NAMES = ("positional_embedding", "frequencies")


def frequencies_of(model: SegmentationModel) -> Tensor:
    """Frequencies (2, C/2) of the model's random Fourier features, or 0 where it has none.

    All families that descend from SAM have one such matrix (Tancik et al. 2020); without it
    nothing tells the attention where a feature lies, but the rest works.
    """
    wanted = (2, model.embedding_channels // 2)
    for value in vars(model).values():
        if isinstance(value, nn.Module):
            for name, tensor in [*value.named_parameters(), *value.named_buffers()]:
                if name.rpartition(".")[2] in _NAMES and tuple(tensor.shape) == wanted:
                    return tensor.detach().float().clone()
    return torch.zeros(wanted)


def positions(frequencies: Tensor, grid: tuple[int, int], cells: int) -> Tensor:
    """Codes (h*w, C) of the cells' centres, row-major.

    code(p) = [sin, cos](2 pi (2 p - 1) F), p = (x, y) as shares of the model's input side.

    Args:
        frequencies: F (2, C/2).
        grid: (h, w).
        cells: along the input side, see `SegmentationModel.position_cells`.
    """
    height, width = grid
    side = cells or max(grid)
    device = frequencies.device
    ys = (torch.arange(height, device=device) + 0.5) / side
    xs = (torch.arange(width, device=device) + 0.5) / side
    places = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1).view(-1, 2)
    phase = 2 * math.pi * ((2 * places - 1) @ frequencies)
    return torch.cat([phase.sin(), phase.cos()], dim=-1)
