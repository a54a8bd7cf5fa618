"""`EmbeddingCache`: the most recently used embeddings, within a memory limit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from samadapt.models.embedding import ImageEmbedding


class EmbeddingCache:
    """Keeps the most recently used embeddings up to `limit` bytes, and always the last one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[Hashable, ImageEmbedding] = OrderedDict()
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        """Return the memory of all embeddings that are kept."""
        return self._bytes

    def get(self, key: Hashable, encode: Callable[[], ImageEmbedding]) -> ImageEmbedding:
        """Return the embedding of `key`; call `encode` if it is not kept."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        embedding = encode()
        self._kept[key] = embedding
        self._bytes += embedding.nbytes
        while self._bytes > self._limit and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes
        return embedding
