"""`AdapterLease`: a session's access to its adapters."""

from __future__ import annotations

from collections.abc import Sequence

from samadapt.adapters.base import Adapter
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams


class AdapterLease:
    """Adapters that one session uses alone.

    A server shares adapters among sessions, with a lease of its own by which they take turns.

    Args:
        adapters: applied in order.
    """

    def __init__(self, adapters: Sequence[Seams]) -> None:
        self.adapters = tuple(adapters)

    def bind(self, model: SegmentationModel) -> None:
        """Bind all adapters to a model; see `Adapter.bind`."""
        for adapter in self.adapters:
            if isinstance(adapter, Adapter):
                adapter.bind(model)
            else:
                adapter.check_model(model)

    def answering(self, model: SegmentationModel, embedding: ImageEmbedding) -> Sequence[Seams]:
        """The adapters for a prediction."""
        return self.adapters

    def learners(self) -> Sequence[Adapter]:
        """The adapters that are notified of events, in order."""
        return [adapter for adapter in self.adapters if isinstance(adapter, Adapter)]
