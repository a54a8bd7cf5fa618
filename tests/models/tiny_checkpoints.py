"""Small checkpoints of the families that come as files, with random weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from original_layouts import original_hq_names, original_names, original_sam2_names
from torch import Tensor

from samadapt.models.edgetam.repvit import RepVit, RepVitConfig
from samadapt.models.mobile_sam.tiny_vit import TinyVit, TinyVitConfig

TINY_VIT = TinyVitConfig(64, (8, 16, 20, 24), (1, 1, 2, 1), (2, 2, 3), (3, 3, 4), 32)
REPVIT = RepVitConfig((8, 8, 16, 16), (1, 2, 3, 1), (8, 8, 8, 8))


def mobile_sam(networks: dict[str, Any], hq: bool = False) -> dict[str, Tensor]:
    """MobileSAM, or Light HQ-SAM, as their repositories save them."""
    state = networks["sam_hq" if hq else "sam"].state_dict()
    names = original_hq_names(0) if hq else original_names(0)
    tensors = random_state(TinyVit(TINY_VIT), "image_encoder.")
    tensors |= _decoder(names, state)
    tensors["image_encoder.norm_head.weight"] = torch.ones(24)
    tensors["image_encoder.head.weight"] = torch.ones(5, 24)
    if hq:  # the early features have the width of the third stage
        tensors["mask_decoder.compress_vit_feat.0.weight"] = 0.2 * torch.randn(
            20, 32, 2, 2, generator=torch.Generator().manual_seed(2)
        )
    return tensors


def edgetam(networks: dict[str, Any]) -> dict[str, Tensor]:
    """EdgeTAM as its repository saves it."""
    state = networks["sam2"].state_dict()
    trunk = random_state(RepVit(REPVIT), "image_encoder.trunk.body.", gain=0.4)
    tensors = {name.replace(".stages.", ".stages_"): value for name, value in trunk.items()}
    names = original_sam2_names(0, (), levels=0)
    parts = ("sam_prompt_encoder.", "sam_mask_decoder.", "no_mem_embed")
    tensors |= {old: state[new].clone() for old, new in names.items() if old.startswith(parts)}
    for i, row in enumerate(state["prompt_encoder.point_embed.weight"]):
        tensors[f"sam_prompt_encoder.point_embeddings.{i}.weight"] = row[None].clone()
    generator = torch.Generator().manual_seed(5)
    for i, width in enumerate(reversed(REPVIT.widths)):
        conv = f"image_encoder.neck.convs.{i}.conv"
        tensors[f"{conv}.weight"] = torch.randn(32, width, 1, 1, generator=generator) / width**0.5
        tensors[f"{conv}.bias"] = 0.1 * torch.randn(32, generator=generator)
    tensors["spatial_perceiver.latents"] = torch.zeros(2)
    return tensors


def random_state(
    module: torch.nn.Module, prefix: str, gain: float = 1.0, seed: int = 4
) -> dict[str, Tensor]:
    """Tensors for a module: matrices scaled by their fan-in, norms near `gain`."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, value in sorted(module.state_dict().items()):
        if not value.is_floating_point():
            found[prefix + name] = value.clone()
            continue
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith("running_var"):
            noise = 0.5 + noise.abs()
        elif value.dim() == 1:
            noise = (gain if name.endswith("weight") else 0.0) + 0.1 * noise
        elif "biases" not in name:
            noise = 1.4 * noise / value[0].numel() ** 0.5
        found[prefix + name] = noise
    return found


def _decoder(names: dict[str, str], state: dict[str, Tensor]) -> dict[str, Tensor]:
    parts = ("prompt_encoder.", "mask_decoder.")
    return {old: state[new].clone() for old, new in names.items() if old.startswith(parts)}


def without(tensors: dict[str, Tensor], prefixes: Iterable[str]) -> dict[str, Tensor]:
    """The tensors whose names do not begin so."""
    return {k: v for k, v in tensors.items() if not k.startswith(tuple(prefixes))}
