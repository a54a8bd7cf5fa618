"""`PromptLearning`: transforms prompt tokens by attention to the image and to task tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.adapters.task_prompt.positions import positions
from samadapt.models.attention import Attention


class PromptLearning(nn.Module):
    """PLM (Kim et al., arXiv 2403.09199), as a block of SAM's transformer; the widths are ours.

    With x the prompt tokens f_P, u learned tokens of the task, f_I the image features and e their
    positional codes:

        s  = [f_P, u]
        x1 = LN(s  + SelfAttention(s, s, s))
        x2 = LN(x1 + CrossAttention(query x1 + s, key f_I + e, value f_I))
        x3 = LN(x2 + W2 GELU(W1 x2))
        f  = s + W0 x3

    W0 starts as 0, so that the prompt's tokens pass unchanged before training.

    Args:
        channels: C.
        heads: of both attentions.
        width: inner width of both attentions.
        hidden: width of the MLP.
        start: learned tokens u (T, C) to start from; T may be 0.
        frequencies: (2, C/2) of the positional codes.
        cells: see `positions`.
    """

    frequencies: Tensor

    def __init__(
        self,
        channels: int,
        heads: int,
        width: int,
        hidden: int,
        start: Tensor,
        frequencies: Tensor,
        cells: int,
    ) -> None:
        super().__init__()
        self.cells = cells
        self.task = nn.Parameter(start.clone())
        self.self_attention = Attention(channels, heads, width)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attention = Attention(channels, heads, width)
        self.norm2 = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, hidden)
        self.reduce = nn.Linear(hidden, channels)
        self.norm3 = nn.LayerNorm(channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("frequencies", frequencies)

    @property
    def is_in_use(self) -> bool:
        """Whether the module is trained, or in training."""
        weight, bias = self.out.weight, self.out.bias
        if torch.compiler.is_compiling():  # no branch on values: exports need a trained adapter
            return True
        learns = weight.requires_grad and torch.is_grad_enabled()
        return learns or bool(weight.any()) or bool(bias.any())

    def forward(self, tokens: Tensor, image: Tensor) -> Tensor:
        """Transform tokens.

        Args:
            tokens: (B, N, C).
            image: features (1, C, h, w) or (B, C, h, w).

        Returns:
            (B, N + T, C), the task's tokens last.
        """
        batch = tokens.shape[0]
        grid = image.shape[-2], image.shape[-1]
        values = image.flatten(2).transpose(1, 2)
        keys = values + positions(self.frequencies, grid, self.cells)
        start = torch.cat([tokens, self.task.expand(batch, -1, -1)], dim=1)
        seen = self.self_attention(query=start, key=start, value=start)
        x: Tensor = self.norm1(start + seen)
        seen = self.cross_attention(query=x + start, key=keys, value=values)
        x = self.norm2(x + seen)
        x = self.norm3(x + self.reduce(F.gelu(self.expand(x))))
        return start + torch.as_tensor(self.out(x))
