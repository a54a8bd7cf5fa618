from __future__ import annotations

import numpy as np
import pytest

from fakes import FakeModel
from samadapt.benchmark.cache import EmbeddingCache


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


def use(cache: EmbeddingCache, model: FakeModel, keys: str) -> int:
    """Ask for embeddings in this order; how many had to be encoded."""
    before = model.encoded
    for key in keys:
        cache.get(key, lambda: model.encode(np.zeros((8, 8, 3), np.uint8)))
    return model.encoded - before


def size(model: FakeModel) -> int:
    return model.encode(np.zeros((8, 8, 3), np.uint8)).nbytes


def test_recently_used_ones_are_kept(model: FakeModel):
    cache = EmbeddingCache(2 * size(model))
    assert use(cache, model, "abab") == 2
    assert use(cache, model, "ac") == 1
    assert use(cache, model, "a") == 0, "a was used after b, so b had to go"
    assert use(cache, model, "b") == 1


def test_memory_stays_within_the_limit(model: FakeModel):
    limit = 3 * size(model)
    cache = EmbeddingCache(limit)
    for key in "abcdefgh":
        use(cache, model, key)
        assert cache.nbytes <= limit


def test_the_last_one_is_always_kept(model: FakeModel):
    cache = EmbeddingCache(0)
    assert use(cache, model, "aabba") == 3
    assert cache.nbytes == size(model)
