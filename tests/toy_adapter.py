"""An adapter that learns from clicks, small enough to see through: it shifts the prompt tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.adapters.base import Adapter, Interaction
from samadapt.adapters.config import AdapterConfig
from samadapt.errors import AdapterError
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import PromptEmbedding


@dataclass(frozen=True, kw_only=True)
class ToyConfig(AdapterConfig):
    method: str = "toy"
    width: int = 8
    rate: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rate <= 0:
            raise AdapterError(f"rate={self.rate}: use a positive number")


class Shift(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.zeros(width))


@dataclass
class Seen:
    """What the hooks were told."""

    calls: list[str] = field(default_factory=list)
    interactions: list[Interaction] = field(default_factory=list)
    masks: list[NDArray[np.bool_]] = field(default_factory=list)

    def note(self, call: str, interaction: Interaction | None = None) -> None:
        self.calls.append(call)
        if interaction is not None:
            self.interactions.append(interaction)


class ToyAdapter(Adapter):
    method = "toy"
    learns_in_session = True
    config_class = ToyConfig
    config: ToyConfig
    module: Shift

    def __init__(self, config: ToyConfig | None = None) -> None:
        super().__init__(config)
        self.module = Shift(self.config.width)
        self.seen = Seen()
        self._states: dict[int, Tensor] = {0: self._amount()}

    @classmethod
    def create(cls, variant: str | None = None) -> ToyAdapter:
        return cls(ToyConfig(rate=0.5)) if variant == "fast" else super().create(variant)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._states = {0: self._amount()}

    def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
        return embedded.with_tokens(embedded.tokens + self.module.amount)

    def on_open(self, embedding: ImageEmbedding) -> None:
        self.seen.note("open")
        self._restore(0)

    def on_click(self, interaction: Interaction) -> None:
        self.seen.note("click", interaction)
        out = interaction.model.decode(
            interaction.embedding, interaction.prompts[-1:], adapters=interaction.adapters
        )
        assert interaction.mask is not None
        wanted = torch.tensor(float(interaction.clicks[-1].positive if interaction.clicks else 1))
        loss = F.binary_cross_entropy_with_logits(out.logits.mean(), wanted)
        (step,) = torch.autograd.grad(loss, [self.module.amount])
        with torch.no_grad():
            self.module.amount -= self.config.rate * step
        self._states[interaction.step] = self._amount()

    def on_undo(self, interaction: Interaction) -> None:
        self.seen.note("undo", interaction)
        self._restore(interaction.step)

    def on_accept(self, interaction: Interaction, mask: NDArray[np.bool_]) -> None:
        self.seen.note("accept", interaction)
        self.seen.masks.append(mask)
        self._states = {0: self._amount()}

    def on_skip(self, interaction: Interaction) -> None:
        self.seen.note("skip", interaction)
        self._restore(0)
        self._states = {0: self._amount()}

    def _amount(self) -> Tensor:
        return self.module.amount.detach().clone()

    def _restore(self, step: int) -> None:
        with torch.no_grad():
            self.module.amount.copy_(self._states.get(step, self._states[0]))
