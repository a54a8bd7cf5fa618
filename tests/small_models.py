"""Real architectures, tiny and with random weights, for tests outside `tests/models`."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch

from samadapt.models.base import SegmentationModel
from samadapt.models.edgetam import model as edgetam_model
from samadapt.models.hashing import hash_tensors
from samadapt.models.mobile_sam import model as mobile_model
from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.model import NanoModel
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.weights import NanoWeights
from samadapt.models.registry import load

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
FROM_FILES = ("mobile_sam", "light_hq", "edgetam")
"""Families that come as checkpoints alone."""


def tiny_nano(seed: int = 0) -> NanoModel:
    """nano of width 16 with random weights; other seeds are other weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NanoNetwork(TINY_NANO)
    return NanoModel(NanoWeights(network, hash_tensors(network.state_dict()), {}), "tiny-nano")


def tiny_model(name: str) -> SegmentationModel:
    """A tiny model of one of `NAMES` or `FROM_FILES`; the others than nano have width 32."""
    if name == "nano":
        return tiny_nano()
    if name in FROM_FILES:
        return _from_file(name)
    model: SegmentationModel = _helper("tiny_models").FAMILIES[name].wrap(_network(name))
    return model


@cache
def _from_file(name: str) -> SegmentationModel:
    _helper("original_layouts")
    checkpoints = _helper("tiny_checkpoints")
    networks = {source: _network(source) for source in ("sam", "sam_hq", "sam2")}
    if name == "edgetam":
        tensors = checkpoints.edgetam(networks)
    else:
        tensors = checkpoints.mobile_sam(networks, hq=name == "light_hq")
    with (
        patch.object(mobile_model, "IMAGE_SIZE", 64),
        patch.object(edgetam_model, "IMAGE_SIZE", 64),
        TemporaryDirectory() as place,
    ):
        path = Path(place) / f"{name}.pt"
        torch.save(tensors, path)
        return load(path, "cpu", "float32")


@cache
def _network(name: str) -> Any:
    return _helper("tiny_models").FAMILIES[name].build()


def _helper(name: str) -> Any:
    """A module of `tests/models`, wherever pytest was started."""
    if name not in sys.modules:
        path = Path(__file__).parent / "models" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
