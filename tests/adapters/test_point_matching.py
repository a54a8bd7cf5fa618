"""Point matching as an adapter: the contract, and that it does and does not change masks."""

from __future__ import annotations

import torch
from adapter_contract import AdapterContract

from samadapt.adapters.base import Adapter
from samadapt.adapters.point_matching import PointMatchingAdapter
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding


class TestPointMatching(AdapterContract):
    method = "point-matching"

    def make(self) -> Adapter:
        return PointMatchingAdapter()

    def train(self, adapter: Adapter, model: SegmentationModel, embedding: ImageEmbedding) -> None:
        """Let it move all points outwards, and be sure of it."""
        module = adapter.module
        assert module is not None
        with torch.no_grad():
            module.leave.bias[0] = 1.0
            module.judge[-1].bias[:] = 5.0
