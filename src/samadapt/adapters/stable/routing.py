"""Dynamic routing (DRP): weights of moved and plain features, from the mask's own token."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Normalisation: TypeAlias = Literal["free", "softmax"]
"""How alpha is bounded; our own choice, since the paper does not say it."""


class Router(nn.Module):
    """DRP of Stable-SAM (Fan et al., ICLR 2025, arXiv 2311.15776, section 4).

    z = GELU(LN(t W1 + b1)) W2 + b2
    "free":     alpha = (0, 1) + z
    "softmax":  alpha = (0, 1) + s (softmax(z) - (0, 1)), s a learned scale; alpha1 + alpha2 = 1

    W2 and b2, or s, start as 0: untrained, alpha is exactly (0, 1).
    """

    def __init__(self, channels: int, hidden: int, normalisation: Normalisation = "free") -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, 2)
        self.scale: nn.Parameter | None = None
        if normalisation == "softmax":
            self.scale = nn.Parameter(torch.zeros(1))
        else:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, token: Tensor) -> Tensor:
        """The mask's output token (B, C) to alpha (B, 2)."""
        found: Tensor = self.out(F.gelu(self.norm(self.hidden(token))))
        start = found.new_tensor([0.0, 1.0])
        if self.scale is None:
            return start + found
        return start + self.scale * (found.softmax(-1) - start)


class ConstantRouting(nn.Module):
    """DSP without DRP: the same learned alpha for every prompt; it starts as (0, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor([0.0, 1.0]))

    def forward(self, token: Tensor) -> Tensor:
        """(B, C) to alpha (B, 2)."""
        return self.alpha.expand(token.shape[0], 2)
