from __future__ import annotations

import pytest
from adapter_contract import AdapterContract

from samadapt.adapters.base import Adapter
from samadapt.adapters.online import OnlineAdapter, OnlineSettings
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
