from __future__ import annotations

from dataclasses import replace

import pytest
from adapter_contract import AdapterContract

from samadapt.adapters.base import Adapter
from samadapt.adapters.online import OnlineAdapter, OnlineSettings
from samadapt.adapters.online.evidence import Evidence
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.session.session import Session


def quick(**changes: object) -> OnlineSettings:
    """Settings with strong effects in few steps."""
    values: dict[str, object] = {
        "click": {"loss": "sparse", "steps": 1, "rate": 0.02},
        "accept": {
            "steps": ["new.first", "replay.first", "new.last"],
            "rate": 0.02,
            "dice": 1.0,
            "erosion": 1,
        },
        "replay": {"objects": 3},
    }
    for name, value in changes.items():
        old = values.get(name, {})
        values[name] = (
            {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return OnlineSettings.from_dict(values)


def prove(adapter: Adapter) -> None:
    """Let the adapted decoder have been better at the first prompts of two objects."""
    assert isinstance(adapter, OnlineAdapter)
    learner = adapter._learner
    proven = replace(learner.book.active, evidence=Evidence(gains=(0.1, 0.1)))
    learner.book = learner.book.updated(proven)
    learner._next_object()
    adapter._publish()


class TestOnlineAdapter(AdapterContract):
    method = "online"

    def make(self) -> Adapter:
        return OnlineAdapter(settings=quick(guard={"evidence": 0}))

    def train(self, adapter: Adapter, model: SegmentationModel, embedding: ImageEmbedding) -> None:
        session = Session(model, [adapter])
        session.open(embedding=embedding)
        session.click(14.5, 12.5)
        session.accept()


class TestEveryPreset(TestOnlineAdapter):
    @pytest.fixture(autouse=True, params=["default", "schoen", "oaims"])
    def preset(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def make(self) -> Adapter:
        return OnlineAdapter.create(self.name)

    def train(self, adapter: Adapter, model: SegmentationModel, embedding: ImageEmbedding) -> None:
        super().train(adapter, model, embedding)
        prove(adapter)
