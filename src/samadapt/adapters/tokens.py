"""Starting values of learned prompt tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def starting_tokens(count: int, channels: int, scale: float) -> Tensor:
    """Distinct tokens (T, C) to start from, not random: rows of the cosine transform.

    t_ic = s sqrt(2) cos(pi (i + 1) (2 c + 1) / (2 C)), orthogonal for T < C, root mean square s.
    """
    rows = torch.arange(1, count + 1, dtype=torch.float64)[:, None]
    columns = 2 * torch.arange(channels, dtype=torch.float64) + 1
    waves = torch.cos(math.pi * rows * columns / (2 * channels))
    return (scale * math.sqrt(2) * waves).float()
