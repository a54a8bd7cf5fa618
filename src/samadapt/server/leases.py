"""`SharedAdapters`: several sessions at adapters that know one object at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from samadapt.adapters.base import Adapter, Interaction
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import ModelInterface, PromptEmbedding
from samadapt.models.seams import Seams
from samadapt.session.lease import AdapterLease


class SharedAdapters:
    """Adapters that sessions share, one after the other: whose object they are learning from.

    Whoever comes next tells the adapters of the own image first, so that nobody is answered with
    what another person's unfinished object taught. Only that, and learning itself, is done one
    after the other; predictions run at the same time, each with the decoder of its own turn.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner: SharedLease | None = None

    def lease(self, adapters: Sequence[Seams]) -> SharedLease:
        """A lease for one session."""
        return SharedLease(self, adapters)

    @contextmanager
    def turn(self, lease: SharedLease, embedding: ImageEmbedding | None) -> Iterator[None]:
        """It is this lease's turn until the block ends.

        Without an embedding the session tells the adapters of its image itself.
        """
        with self._lock:
            if self._owner is not lease:
                self._owner = lease
                if embedding is not None:
                    for adapter in lease.adapters:
                        if isinstance(adapter, Adapter) and adapter.learns_in_session:
                            adapter.on_open(embedding)
            yield

    def leave(self, lease: AdapterLease) -> None:
        """A session ends."""
        with self._lock:
            if self._owner is lease:
                self._owner = None


class SharedLease(AdapterLease):
    """One session's use of shared adapters: always in its own turn."""

    def __init__(self, shared: SharedAdapters, adapters: Sequence[Seams]) -> None:
        super().__init__(adapters)
        self._shared = shared

    def answering(self, model: SegmentationModel, embedding: ImageEmbedding) -> Sequence[Seams]:
        """The adapters as they are for this session now, whatever others teach them meanwhile."""
        if not any(adapter.learns_in_session for adapter in self.adapters):
            return self.adapters
        with self._shared.turn(self, embedding):
            return _pinned(model.decoder, self.adapters)

    def learners(self) -> Sequence[Adapter]:
        """The adapters that learn in sessions, each as this session teaches it."""
        learners = [a for a in super().learners() if a.learns_in_session]
        return [_Taught(adapter, self._shared, self) for adapter in learners]


class _Taught(Adapter):
    """An adapter as one session teaches it."""

    def __init__(self, adapter: Adapter, shared: SharedAdapters, lease: SharedLease) -> None:
        self._adapter, self._shared, self._lease = adapter, shared, lease
        self.config = adapter.config

    def on_open(self, embedding: ImageEmbedding) -> None:
        """An image was opened."""
        with self._shared.turn(self._lease, None):
            self._adapter.on_open(embedding)

    def on_click(self, interaction: Interaction) -> None:
        """A click or a box was answered."""
        with self._shared.turn(self._lease, interaction.embedding):
            self._adapter.on_click(interaction)

    def on_undo(self, interaction: Interaction) -> None:
        """The person went back."""
        with self._shared.turn(self._lease, interaction.embedding):
            self._adapter.on_undo(interaction)

    def on_accept(self, interaction: Interaction, mask: NDArray[np.bool_]) -> None:
        """The object was accepted."""
        with self._shared.turn(self._lease, interaction.embedding):
            self._adapter.on_accept(interaction, mask)

    def on_skip(self, interaction: Interaction) -> None:
        """The object was given up."""
        with self._shared.turn(self._lease, interaction.embedding):
            self._adapter.on_skip(interaction)


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
