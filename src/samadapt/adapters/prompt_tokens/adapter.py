"""`PromptTokensAdapter`: a few learned tokens, appended to every prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.fitted import FittedAdapter
from samadapt.adapters.fitting import TASK_RECIPE, Fitting
from samadapt.adapters.registry import register
from samadapt.adapters.tokens import starting_tokens
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import PromptEmbedding

NUMBERS = 2048
"""Number of learned parameters: 8 tokens of SAM's width 256, or 16 of nano's width 128."""


@dataclass(frozen=True, kw_only=True)
class PromptTokensConfig(AdapterConfig):
    """Config of learned prompt tokens.

    Attributes:
        category: the task they were taught, None for all objects.
        tokens: number of tokens; 0 until the adapter is bound to a model.
        scale: root mean square of the tokens that training starts from.
        channels: C of its model; 0 until it is bound to one.
        parameters: exact number of learned parameters; 0 until it is bound to a model.
    """

    method: str = "tokens"
    category: str | None = None
    tokens: int = 0
    scale: float = 0.5
    channels: int = 0
    parameters: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_whole(0, "tokens", "channels")
        self.check_positive("scale")


@register("tokens")
class PromptTokensAdapter(FittedAdapter["LearnedTokens"]):
    """Prompt tuning: T learned tokens after the prompt's own, 2,048 numbers in all (PTSAM).

    Acts at seam 1. The tokens are t_i + d_i with fixed, distinct t_i (see `starting_tokens`), and
    d_i learned from 0. An untrained adapter appends nothing, so that no output bit changes; the
    tokens are in use from the first step of training on.
    """

    about = "a few prompt tokens"
    fitting = Fitting(recipe={**TASK_RECIPE, "learning_rate": 1e-2}, row="tokens")
    config_class: ClassVar[type[PromptTokensConfig]] = PromptTokensConfig
    config: PromptTokensConfig

    def __init__(self, config: PromptTokensConfig | None = None) -> None:
        super().__init__(config)
        if self.config.channels:
            self._build(self.config.channels)

    def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
        """Append the T tokens to the prompt's N."""
        module, tokens = self.module, embedded.tokens
        if module is None or not module.is_in_use:
            return embedded
        learned = self._on(tokens.device)().expand(tokens.shape[0], -1, -1)
        return embedded.with_tokens(torch.cat([tokens, learned], dim=1))

    def check_export(self) -> None:
        """Raise `AdapterError` for an untrained adapter."""
        self._check_in_use(self.module is not None and self.module.is_in_use)

    @property
    def width(self) -> int:
        """C of its model; 0 before it is bound to one."""
        return self.config.channels

    def bind(self, model: SegmentationModel) -> None:
        """Bind this adapter to `model`, or check that it was made for `model`."""
        super().bind(model)
        if self.module is None:
            self._build(model.spec.width)
        if self.module is not None:
            self.module.to(model.device)

    def _build(self, channels: int) -> None:
        # At most C - 1 tokens can be distinct, which limits only tiny models.
        count = self.config.tokens or max(1, min(NUMBERS // channels, channels - 1))
        self.module = LearnedTokens(starting_tokens(count, channels, self.config.scale))
        self.module.requires_grad_(False)
        self.config = replace(
            self.config, tokens=count, channels=channels, parameters=count * channels
        )


class LearnedTokens(nn.Module):
    """T tokens: a fixed start plus a learned offset."""

    start: Tensor

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.register_buffer("start", start, persistent=False)
        self.change = nn.Parameter(torch.zeros_like(start))

    @property
    def is_in_use(self) -> bool:
        """Whether the tokens are trained, or in training."""
        if torch.compiler.is_compiling():  # no branch on values: exports need a trained adapter
            return True
        learns = self.change.requires_grad and torch.is_grad_enabled()
        return learns or bool(self.change.any())

    def forward(self) -> Tensor:
        """(T, C)."""
        return self.start + self.change
