"""Adapters that have an effect without having been trained."""

from __future__ import annotations

from dataclasses import replace

import torch

import samadapt
from samadapt.adapters.registry import create_adapter
from samadapt.models.base import SegmentationModel


def trained(spec: str, model: SegmentationModel) -> samadapt.Adapter:
    """An adapter of this method whose parameters are all moved from where they start."""
    adapter = create_adapter(spec, model)
    generator = torch.Generator().manual_seed(5)
    assert adapter.module is not None
    with torch.no_grad():
        for parameter in adapter.module.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    if isinstance(adapter, samadapt.TaskPromptAdapter):  # as after training: it yields to clicks
        adapter.config = replace(adapter.config, strength=0.5)
    return adapter
