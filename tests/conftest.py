from __future__ import annotations

import gc
import hashlib
import os

# Two tests at a time on two cores: one thread each, in programs that tests start as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No model of this machine may be chosen where a command names none.
os.environ["SAMADAPT_MODELS"] = os.environ["HF_HUB_CACHE"] = os.devnull + "-models"

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:  # the process that hands tests out to others needs no model
    import numpy as np
    from numpy.typing import NDArray

    from fakes import FakeModel
    from samadapt.models.embedding import ImageEmbedding
    from toy_adapter import ToyAdapter

# Nothing that is imported is ever garbage: it is not looked through again and again.
gc.disable()

# The same examples on every run, and no failures because the machine is busy. Many others, where
# SAMADAPT_HYPOTHESIS=thorough, for tests that name no number of their own.
_EACH = settings(deadline=None, database=None)
settings.register_profile("samadapt", _EACH, derandomize=True, max_examples=40)
settings.register_profile("thorough", _EACH, max_examples=1000)
settings.load_profile(os.environ.get("SAMADAPT_HYPOTHESIS", "samadapt"))


_SLOWEST = {"browser": 0, "server": 1, "training": 2}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with files that take longest, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: _SLOWEST.get(item.path.parent.name, len(_SLOWEST)))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


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
    from fakes import FakeModel

    return FakeModel()


@pytest.fixture
def image() -> NDArray[np.uint8]:
    """40 x 56 RGB with a red disc at (14, 12), a green square and a blue bar."""
    from fakes import blobs

    return blobs()


@pytest.fixture
def embedding(fake_model: FakeModel, image: NDArray[np.uint8]) -> ImageEmbedding:
    return fake_model.encode(image)


@pytest.fixture
def toy_method(monkeypatch: pytest.MonkeyPatch) -> type[ToyAdapter]:
    """The toy adapter as a registered method, for one test."""
    from samadapt.adapters import registry
    from toy_adapter import ToyAdapter

    registry.method_names()  # methods register when they are first imported: not into a copy
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    registry.register("toy")(ToyAdapter)
    return ToyAdapter
