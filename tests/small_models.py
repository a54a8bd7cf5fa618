"""Real architectures, tiny and with random weights, for tests outside `tests/models`."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

from samadapt.models.base import SegmentationModel
from samadapt.models.hashing import hash_tensors
from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.model import NanoModel
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.weights import NanoWeights

TINY_NANO = NanoConfig(
    input_side=64,
    channels=16,
    key_channels=8,
    fine_channels=8,
    context_channels=16,
    context_blocks=1,
    heads=2,
    close_up_side=64,
    trunk_widths=(8, 8, 8, 8, 8, 12, 12, 16),
    trunk_repeats=(1, 1, 1, 1, 1, 1, 1),
)
NAMES = ("nano", "sam", "sam_hq", "sam2", "sam3")


def tiny_nano(seed: int = 0) -> NanoModel:
    """nano of width 16 with random weights; other seeds are other weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NanoNetwork(TINY_NANO)
    return NanoModel(NanoWeights(network, hash_tensors(network.state_dict()), {}), "tiny-nano")


def tiny_model(name: str) -> SegmentationModel:
    """A tiny model of one of `NAMES`; the others than nano have width 32."""
    if name == "nano":
        return tiny_nano()
    family = _families().FAMILIES[name]
    model: SegmentationModel = family.wrap(_network(name))
    return model


@cache
def _network(name: str) -> Any:
    return _families().FAMILIES[name].build()


def _families() -> Any:
    """`tests/models/tiny_models.py`, wherever pytest was started."""
    if "tiny_models" not in sys.modules:
        path = Path(__file__).parent / "models" / "tiny_models.py"
        spec = importlib.util.spec_from_file_location("tiny_models", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["tiny_models"] = module
        spec.loader.exec_module(module)
    return sys.modules["tiny_models"]
