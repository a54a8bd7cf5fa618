"""The mean of weights files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from research.nano.average import average
from research.nano.card import _describe_training
from samadapt.errors import CheckpointError, DataError
from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.weights import read_weights, write_weights
from small_models import TINY_NANO

CONFIG = TINY_NANO


def written(path: Path, seed: int, config: NanoConfig = CONFIG, **info: object) -> Path:
    torch.manual_seed(seed)
    write_weights(NanoNetwork(config), path, info)
    return path


def test_every_number_is_the_mean_of_both(tmp_path: Path) -> None:
    a = written(tmp_path / "a.safetensors", 0, runs=[{"steps": 5}, {"steps": 6}])
    b = written(tmp_path / "b.safetensors", 1, runs=[{"steps": 5}, {"steps": 7}, {"steps": 8}])
    made = average([a, b], tmp_path / "mean.safetensors")
    one, two, mean = (
        read_weights(p).network.state_dict() for p in (a, b, tmp_path / "mean.safetensors")
    )
    assert any(not torch.equal(one[name], two[name]) for name in one)
    for name, value in mean.items():
        if value.is_floating_point():
            expected = (one[name] + two[name]) / 2
            # Matrices are stored in half precision.
            assert torch.allclose(value, expected, rtol=1e-3, atol=1e-6), name
    history = made.info["runs"]
    assert [run.get("steps") for run in history] == [5, 7, 8, 6, None]  # each once
    assert history[4]["of"] == [read_weights(a).hash, read_weights(b).hash]
    text = _describe_training(made.info)
    assert f"| 5 | mean of the weights `{history[4]['of'][0][:12]}` and" in text


def test_what_has_no_mean_is_refused(tmp_path: Path) -> None:
    a = written(tmp_path / "a.safetensors", 0)
    other = written(tmp_path / "b.safetensors", 0, replace(CONFIG, context_blocks=2))
    out = tmp_path / "mean.safetensors"
    with pytest.raises(DataError, match="two weights files"):
        average([a], out)
    with pytest.raises(DataError, match=r"b\.safetensors has another architecture"):
        average([a, other], out)
    (tmp_path / "c.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"c\.safetensors"):
        average([a, tmp_path / "c.safetensors"], out)
    assert not out.exists()
