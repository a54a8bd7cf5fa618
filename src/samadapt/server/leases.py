"""`SharedAdapters`: lets several sessions share adapters that know one object at a time."""

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
    """Lets sessions use the same adapters in turns.

    A session whose turn begins calls `on_open` with its own image first, so that its predictions do
    not use what the unfinished object of another session taught. Only this and learning are
    serialized; predictions run in parallel, each with the decoder as it was in the session's turn.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner: SharedLease | None = None

    def lease(self, adapters: Sequence[Seams]) -> SharedLease:
        """Return a new lease for one session."""
        return SharedLease(self, adapters)

    @contextmanager
    def turn(self, lease: SharedLease, embedding: ImageEmbedding | None) -> Iterator[None]:
        """Give a lease its turn until the block ends; other leases wait.

        Calls `on_open` of the adapters if another lease had the turn before, unless `embedding` is
        None: then the session calls it itself.
        """
        with self._lock:
            if self._owner is not lease:
                self._owner = lease
                if embedding is not None:
                    for adapter in lease.adapters:
                        if isinstance(adapter, Adapter) and adapter.learns_in_session:
                            adapter.on_open(embedding)
            yield

    def begin_again(self) -> None:
        """Call after the adapters changed: the next turn calls `on_open` in any case."""
        with self._lock:
            self._owner = None

    def leave(self, lease: AdapterLease) -> None:
        """End the turn of a lease whose session is closed."""
        with self._lock:
            if self._owner is lease:
                self._owner = None


class SharedLease(AdapterLease):
    """Lets one session use shared adapters, always in its own turn."""

    def __init__(self, shared: SharedAdapters, adapters: Sequence[Seams]) -> None:
        super().__init__(adapters)
        self._shared = shared

    def answering(self, model: SegmentationModel, embedding: ImageEmbedding) -> Sequence[Seams]:
        """Return the adapters in their present state, which later learning does not change."""
        if not any(adapter.learns_in_session for adapter in self.adapters):
            return self.adapters
        with self._shared.turn(self, embedding):
            return _pinned(model.decoder, self.adapters)

    def learners(self) -> Sequence[Adapter]:
        """Return the adapters that learn in sessions, wrapped to learn in this session's turn."""
        learners = [a for a in super().learners() if a.learns_in_session]
        return [_Taught(adapter, self._shared, self) for adapter in learners]


class _Taught(Adapter):
    """Wraps an adapter so that it receives the events of one session in the session's turn."""

    def __init__(self, adapter: Adapter, shared: SharedAdapters, lease: SharedLease) -> None:
        self._adapter, self._shared, self._lease = adapter, shared, lease
        self.config = adapter.config

    def on_open(self, embedding: ImageEmbedding) -> None:
        """Handle the opening of an image."""
        with self._shared.turn(self._lease, None):
            self._adapter.on_open(embedding)

    def on_click(self, interaction: Interaction) -> None:
        """Handle a click or a box that was answered with a mask."""
        with self._shared.turn(self._lease, interaction.embedding):
            self._adapter.on_click(interaction)

    def on_undo(self, interaction: Interaction) -> None:
        """Handle undo, redo or reset."""
        with self._shared.turn(self._lease, interaction.embedding):
            self._adapter.on_undo(interaction)

    def on_accept(self, interaction: Interaction, mask: NDArray[np.bool_]) -> None:
        """Handle an accepted object."""
        with self._shared.turn(self._lease, interaction.embedding):
            self._adapter.on_accept(interaction, mask)

    def on_skip(self, interaction: Interaction) -> None:
        """Handle an object that was skipped."""
        with self._shared.turn(self._lease, interaction.embedding):
            self._adapter.on_skip(interaction)

    def on_withdraw(self, embedding: ImageEmbedding, mask: NDArray[np.bool_]) -> None:
        """Handle an accepted object that was taken back."""
        with self._shared.turn(self._lease, embedding):
            self._adapter.on_withdraw(embedding, mask)

    def on_restore(self, embedding: ImageEmbedding, mask: NDArray[np.bool_]) -> None:
        """Handle a withdrawn object that was put back."""
        with self._shared.turn(self._lease, embedding):
            self._adapter.on_restore(embedding, mask)


class _Pinned(Seams):
    """An adapter whose mask decoder is fixed, as it was at a certain moment."""

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
    """Return the adapters, each with the decoder that it and those before it make of `decoder`."""
    found = list[Seams]()
    for adapter in adapters:
        decoder = adapter.mask_decoder(decoder)
        found.append(_Pinned(adapter, decoder))
    return tuple(found)
