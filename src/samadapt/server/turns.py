"""`Turns`: several sessions at adapters that know one object at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.adapters.base import Adapter, Interaction
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import ModelInterface, PromptEmbedding
from samadapt.models.seams import Seams


class Turns:
    """Whose object the adapters are learning from: sessions share them, one after the other.

    Whoever comes next tells the adapters of the own image first, so that nobody is answered with
    what another person's unfinished object taught. Only that, and learning itself, is done one
    after the other; predictions run at the same time, each with the decoder of its own turn.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner: object = None

    @contextmanager
    def of(
        self, session: object, embedding: ImageEmbedding, adapters: Sequence[Seams]
    ) -> Iterator[None]:
        """It is this session's turn until the block ends."""
        with self._lock:
            if self._owner is not session:
                self._owner = session
                for adapter in adapters:
                    if isinstance(adapter, Adapter) and adapter.learns_in_session:
                        adapter.on_open(embedding)
            yield

    @contextmanager
    def beginning(self, session: object) -> Iterator[None]:
        """As `of`, for a session that tells the adapters of its image itself."""
        with self._lock:
            self._owner = session
            yield

    def leave(self, session: object) -> None:
        """A session ends."""
        with self._lock:
            if self._owner is session:
                self._owner = None

    def pinned(
        self,
        session: object,
        model: SegmentationModel,
        embedding: ImageEmbedding,
        adapters: Sequence[Seams],
    ) -> tuple[Seams, ...]:
        """The adapters as they are for this session now, whatever others teach them meanwhile."""
        if not any(adapter.learns_in_session for adapter in adapters):
            return tuple(adapters)
        with self.of(session, embedding, adapters):
            return _pinned(model.decoder, adapters)


class Taught(Adapter):
    """An adapter as one session teaches it: always in its own turn."""

    def __init__(self, adapter: Adapter, turns: Turns, session: Any) -> None:
        self._adapter, self._turns, self._session = adapter, turns, session
        self.config = adapter.config

    def on_open(self, embedding: ImageEmbedding) -> None:
        """An image was opened."""
        with self._turns.beginning(self._session):
            self._adapter.on_open(embedding)

    def on_click(self, interaction: Interaction) -> None:
        """A click or a box was answered."""
        with self._turn(interaction):
            self._adapter.on_click(interaction)

    def on_undo(self, interaction: Interaction) -> None:
        """The person went back."""
        with self._turn(interaction):
            self._adapter.on_undo(interaction)

    def on_accept(self, interaction: Interaction, mask: NDArray[np.bool_]) -> None:
        """The object was accepted."""
        with self._turn(interaction):
            self._adapter.on_accept(interaction, mask)

    def on_skip(self, interaction: Interaction) -> None:
        """The object was given up."""
        with self._turn(interaction):
            self._adapter.on_skip(interaction)

    @contextmanager
    def _turn(self, interaction: Interaction) -> Iterator[None]:
        with self._turns.of(self._session, interaction.embedding, interaction.adapters):
            yield


class _Pinned(Seams):
    """An adapter whose decoder is the one of a certain moment."""

    def __init__(self, adapter: Seams, decoder: nn.Module) -> None:
        self._adapter, self._decoder = adapter, decoder

    @property
    def title(self) -> str:
        return self._adapter.title

    def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
        return self._adapter.prompt(embedded, embedding)

    def mask_attention(self, features: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return self._adapter.mask_attention(features, tokens, grid)

    def mask_decoder(self, base: nn.Module) -> nn.Module:
        return self._decoder

    def mask_boundary(self, logits: Tensor, embedding: ImageEmbedding) -> Tensor:
        return self._adapter.mask_boundary(logits, embedding)

    def judge(self, masks: Tensor, embedding: ImageEmbedding) -> Tensor | None:
        return self._adapter.judge(masks, embedding)

    def check_model(self, model: ModelInterface) -> None:
        self._adapter.check_model(model)


def _pinned(decoder: nn.Module, adapters: Sequence[Seams]) -> tuple[Seams, ...]:
    """Each with the decoder as it and those before it leave it."""
    found = list[Seams]()
    for adapter in adapters:
        decoder = adapter.mask_decoder(decoder)
        found.append(_Pinned(adapter, decoder))
    return tuple(found)
