from __future__ import annotations

import hashlib
import os

# Two tests at a time on two cores: one thread each, in programs that tests start as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No model of this machine may be chosen where a command names none.
os.environ["SAMADAPT_MODELS"] = os.environ["HF_HUB_CACHE"] = os.devnull + "-models"

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from fakes import FakeModel, blobs
from samadapt.adapters import registry
from samadapt.models.embedding import ImageEmbedding
from toy_adapter import ToyAdapter

# The same examples on every run, and no failures because the machine is busy.
settings.register_profile("samadapt", deadline=None, derandomize=True, database=None)
settings.load_profile("samadapt")


@pytest.fixture(autouse=True)
def own_cache(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keep embeddings apart from those of the user and of other tests."""
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]
    monkeypatch.setenv("SAMADAPT_CACHE", str(tmp_path_factory.getbasetemp() / "caches" / name))


@pytest.fixture
def fake_model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def image() -> NDArray[np.uint8]:
    """40 x 56 RGB with a red disc at (14, 12), a green square and a blue bar."""
    return blobs()


@pytest.fixture
def embedding(fake_model: FakeModel, image: NDArray[np.uint8]) -> ImageEmbedding:
    return fake_model.encode(image)


@pytest.fixture
def toy_method(monkeypatch: pytest.MonkeyPatch) -> type[ToyAdapter]:
    """The toy adapter as a registered method, for one test."""
    registry.method_names()  # methods register when they are first imported: not into a copy
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    registry.register("toy")(ToyAdapter)
    return ToyAdapter
