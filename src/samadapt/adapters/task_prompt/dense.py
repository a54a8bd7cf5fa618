"""`DensePrompt`: the task's addition to the dense prompt."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from samadapt.errors import AdapterError
from samadapt.models.interface import PromptEmbedding

_SIDE = 7
"""Cells along the side of a convolution."""


class DensePrompt(nn.Module):
    """Changes the prompt before it is fused with the image. Our own addition to PLM.

        h0 = W1 f_I + W2 mean(f)            f_I image features, f the transformed tokens
        hk = h(k-1) + up(Mk GELU(Dk down(LN(h(k-1)))))          k = 1 .. K
        dense += g W3 GELU(hK)              prior += g w4 GELU(hK)

    W and M act on each position separately; Dk is a depthwise convolution of 7 x 7 on a grid
    2^(K-k+1) times coarser, since the surroundings identify a nose better than its skin does.

    nano compares clicks with the image in dense maps and a first guess (the prior), before its
    decoder uses the tokens, so that tokens alone cannot change them. W3 and w4 start as 0; the
    gain g makes them take effect after a few steps.

    Args:
        channels: C.
        hidden: width of h.
        context: K, number of convolutions.
        gain: g.
        has_prior: whether the decoder has a prior.
    """

    def __init__(
        self, channels: int, hidden: int, context: int, gain: float, has_prior: bool
    ) -> None:
        super().__init__()
        self.gain = gain
        self.image = nn.Linear(channels, hidden)
        self.token = nn.Linear(channels, hidden)
        self.context = nn.ModuleList(Context(hidden, 2 ** (context - k)) for k in range(context))
        self.dense = nn.Linear(hidden, channels)
        self.prior = nn.Linear(hidden, 1) if has_prior else None
        for layer in (self.dense, self.prior):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the additions to the dense prompt and to the prior.

        Args:
            image: features (B, C, h, w).
            tokens: transformed (B, N, C).

        Returns:
            (B, C, h, w), and (B, 1, h, w) or None.
        """
        seen: Tensor = self.image(image.permute(0, 2, 3, 1))
        hidden = seen + self.token(tokens.mean(1))[:, None, None]
        for block in self.context:
            hidden = block(hidden)
        hidden = F.gelu(hidden)
        dense: Tensor = self.gain * self.dense(hidden).permute(0, 3, 1, 2)
        prior = None if self.prior is None else self.gain * self.prior(hidden).permute(0, 3, 1, 2)
        return dense, prior

    def added_to(
        self, embedded: PromptEmbedding, image: Tensor, strength: float
    ) -> PromptEmbedding:
        """The prompt with `strength` times the task's dense prompt and prior added.

        Args:
            embedded: B prompts, their tokens transformed.
            image: features (1, C, h, w).
            strength: 0 to 1.

        Raises:
            AdapterError: the decoder has no prior to add to.
        """
        every = image.expand(embedded.tokens.shape[0], -1, -1, -1)
        dense, prior = self(every, embedded.tokens)
        changed = replace(embedded, dense=embedded.dense + strength * dense)
        if prior is None:
            return changed
        if embedded.prior is None:
            raise AdapterError(
                "this 'task-prompt' adapter adds to the decoder's prior, and this decoder has "
                "none: load the model that it was made for"
            )
        return replace(changed, prior=embedded.prior + strength * prior)


class Context(nn.Module):
    """Residual: LayerNorm, a depthwise convolution on a coarser grid, GELU, linear.

    Args:
        width: channels.
        coarser: side of the coarser grid's cells, in cells.
    """

    def __init__(self, width: int, coarser: int) -> None:
        super().__init__()
        self.coarser = coarser
        self.norm = nn.LayerNorm(width)
        self.around = nn.Conv2d(width, width, _SIDE, 1, _SIDE // 2, groups=width)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, h, w, C) to the same shape."""
        fine = self.norm(hidden).permute(0, 3, 1, 2)
        coarse = F.avg_pool2d(fine, self.coarser, ceil_mode=True, count_include_pad=False)
        coarse = self.mix(F.gelu(self.around(coarse)))
        found = F.interpolate(coarse, fine.shape[-2:], mode="bilinear", align_corners=False)
        return hidden + found.permute(0, 2, 3, 1)
