"""Multi-head attention as in SAM's mask decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention with an optional narrower inner width (as in SAM's decoder).

    Written with explicit matrix products: with a handful of queries over thousands of keys their
    backward pass is several times cheaper on a CPU than that of fused attention.
    """

    def __init__(self, channels: int, heads: int, inner: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.inner = inner or channels
        self.q_proj = nn.Linear(channels, self.inner)
        self.k_proj = nn.Linear(channels, self.inner)
        self.v_proj = nn.Linear(channels, self.inner)
        self.out_proj = nn.Linear(self.inner, channels)

    def forward(
        self, *, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """Attend.

        Args:
            query: (B, Tq, C).
            key: (B, Tk, C).
            value: (B, Tk, C).
            bias: added to the attention scores, broadcastable to (B, heads, Tq, Tk).

        Returns:
            (B, Tq, C).
        """
        q, k, v = self._split(self.q_proj(query)), self.k_proj(key), self._split(self.v_proj(value))
        scores = (q * q.shape[-1] ** -0.5) @ self._split(k).transpose(-1, -2)
        if bias is not None:
            scores = scores + bias
        out = scores.softmax(dim=-1).to(v.dtype) @ v
        return torch.as_tensor(self.out_proj(out.transpose(1, 2).flatten(2)))

    def _split(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        return x.view(batch, length, self.heads, -1).transpose(1, 2)
