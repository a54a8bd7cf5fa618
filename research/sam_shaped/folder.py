"""A SAM-shaped model in a folder: config.json, model.safetensors, and a card written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from research.sam_shaped.family import MODEL_TYPE
from research.sam_shaped.network import build_network
from samadapt.data.files import replacing
from samadapt.errors import CheckpointError, first_line
from samadapt.models.hashing import not_finite
from samadapt.models.nano.config import NanoConfig
from samadapt.models.parts.layout import fill

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


def write_folder(network: Any, folder: Path) -> None:
    """Write a network of `build_network`; matrices and kernels in half precision.

    Raises:
        CheckpointError: a weight is NaN or infinite, or becomes so in half precision.
        DataError: the folder cannot be written to.
    """
    tensors = {
        name: _packed(value.detach().cpu()).contiguous().clone()
        for name, value in network.state_dict().items()
    }
    if (name := not_finite(tensors)) is not None:
        raise CheckpointError(f"not written to {folder}: numbers in {name} are not finite")
    decoder = network.config.mask_decoder_config
    config = {
        "model_type": MODEL_TYPE,
        "nano": network.vision_encoder.nano.to_dict(),
        "channels": decoder.hidden_size,
        "decoder": {"mlp_dim": decoder.mlp_dim, "iou_head_hidden_dim": decoder.iou_head_hidden_dim},
    }
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS) as file:
        file.write(save(tensors))
    with replacing(folder / CONFIG) as file:
        file.write(json.dumps(config, indent=1).encode())


def read_folder(folder: Path) -> Any:
    """The network of a folder, in float32.

    Raises:
        CheckpointError: files that are missing, damaged, or do not belong together.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        nano = NanoConfig.from_dict(config["nano"])
        network = build_network(nano, config["channels"], **config["decoder"])
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{folder} cannot be read as a SAM-shaped model ({first_line(error)}): it needs "
            f"{CONFIG} and {WEIGHTS} as `research.sam_shaped.export` writes them"
        ) from None
    if (name := not_finite(tensors)) is not None:
        raise CheckpointError(f"{folder} has numbers in {name} that are not finite: it is damaged")
    floats = {name: value.float() for name, value in tensors.items()}
    fill(network, floats, folder, "a SAM-shaped model")
    return network.eval()


def _packed(value: Tensor) -> Tensor:
    return value.half() if value.ndim >= 2 and value.dtype == torch.float32 else value
