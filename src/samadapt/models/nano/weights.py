"""nano's weights file: safetensors in half precision, with the configuration inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from samadapt.data.files import replacing
from samadapt.errors import CheckpointError, first_line
from samadapt.models.hashing import hash_tensors, not_finite
from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.trunk import MEAN, SCALE

FORMAT = "samadapt-nano"


@dataclass(frozen=True, slots=True, eq=False)
class NanoWeights:
    """A loaded network in float32, the SHA-256 of its stored tensors, and the file's metadata."""

    network: NanoNetwork
    hash: str
    info: Mapping[str, Any]


def normalise(pixels: Tensor) -> Tensor:
    """RGB (B, H, W, 3) uint8 to (B, 3, H, W) float32, channels-last in memory."""
    return ((pixels.float() - MEAN) / SCALE).permute(0, 3, 1, 2)


def write_weights(network: NanoNetwork, path: Path, info: Mapping[str, Any]) -> None:
    """Write `path` atomically; matrices and kernels are stored in half precision.

    Vectors (biases, statistics) stay in float32: they are few, and variances can be larger than
    the largest half-precision number.

    Raises:
        CheckpointError: a weight is NaN or infinite, or becomes so in half precision.
        DataError: the file cannot be written.
    """
    tensors = {
        name: _packed(value.detach().cpu()).contiguous()
        for name, value in network.state_dict().items()
    }
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise CheckpointError(f"not written to {path}: tensor {name!r} is NaN or infinite")
    meta = {
        "format": FORMAT,
        "config": json.dumps(network.config.to_dict()),
        "info": json.dumps(dict(info)),
    }
    with replacing(path) as file:
        file.write(save(tensors, metadata=meta))


def _packed(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() and value.ndim >= 2 else value


def read_weights(path: Path) -> NanoWeights:
    """Read a nano weights file.

    Raises:
        CheckpointError: missing, damaged, not nano weights, or of another version.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            meta = file.metadata() or {}
            if meta.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path} holds no nano weights (its format says {meta.get('format')!r})"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            config = NanoConfig.from_dict(json.loads(meta["config"]))
            info = json.loads(meta.get("info", "{}"))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{path} cannot be read as weights of nano ({first_line(error)}): it is damaged or "
            "incomplete; get the file again"
        ) from None
    if (name := not_finite(tensors)) is not None:
        raise CheckpointError(f"{path} has numbers in {name} that are not finite: it is damaged")
    network = NanoNetwork(config)
    floats = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    wrong = _differences(network, floats)
    if wrong:
        raise CheckpointError(
            f"{path} does not fit this version of nano (tensor {wrong[0]!r}); "
            "use the weights that came with this version"
        )
    network.load_state_dict(floats)
    with torch.no_grad():
        return NanoWeights(network.eval(), hash_tensors(tensors), info)


def _differences(network: NanoNetwork, tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that are missing, superfluous, or of another shape than `network`'s."""
    expected = {name: value.shape for name, value in network.state_dict().items()}
    found = {name: value.shape for name, value in tensors.items()}
    return sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
