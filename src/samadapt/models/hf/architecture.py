"""Recognition of the SAM variant in an original checkpoint by the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from samadapt.models.checkpoint_file import Checkpoint, Shapes
from samadapt.models.parts.layout import is_hq
from samadapt.models.parts.shapes import count, mask_decoder, prompt_encoder, reading_shapes

_VARIANTS = {(768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}
_BLOCKS = "image_encoder.blocks."


@dataclass(frozen=True, slots=True)
class Recognised:
    """The architecture found in a checkpoint.

    Attributes:
        variant: "ViT-B", "ViT-L", "ViT-H" or a description of another size.
        vision, prompt_encoder, mask_decoder: arguments of transformers' SAM configurations.
        hq: whether it is SAM-HQ.
    """

    variant: str
    vision: Mapping[str, Any]
    prompt_encoder: Mapping[str, Any]
    mask_decoder: Mapping[str, Any]
    hq: bool = False


def is_vit(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint holds SAM's ViT; the names of its MLP layers are unique to it."""
    return checkpoint.has(_BLOCKS) and not checkpoint.has(f"{_BLOCKS}0.mlp.fc1.")


def recognise(checkpoint: Checkpoint) -> Recognised:
    """Read the dimensions of a SAM or SAM-HQ off the shapes of its tensors.

    Raises:
        CheckpointError: it lacks key tensors, or they do not fit together.
    """
    shapes, hq = checkpoint.shapes, is_hq(checkpoint)
    with reading_shapes(checkpoint.path, "SAM-HQ" if hq else "SAM"):
        vision = _vision(shapes)
        decoder = mask_decoder(shapes)
        if hq:
            decoder["vit_dim"] = shapes["mask_decoder.compress_vit_feat.0.weight"][0]
        prompts = prompt_encoder(shapes, vision["image_size"], vision["patch_size"])
        return Recognised(_variant(vision, hq), vision, prompts, decoder, hq)


# -- private --------------------------------------------------------------------------------


def _vision(shapes: Shapes) -> dict[str, Any]:
    _, grid, columns, width = shapes["image_encoder.pos_embed"]
    patch = shapes["image_encoder.patch_embed.proj.weight"][-1]
    depth = count(shapes, _BLOCKS)
    rows = [shapes[f"{_BLOCKS}{i}.attn.rel_pos_h"][0] for i in range(depth)]
    head = shapes[f"{_BLOCKS}0.attn.rel_pos_h"][1]
    if grid != columns or width % head:
        raise ValueError(f"positions {grid} x {columns}, width {width}, heads of {head}")
    windows = {(n + 1) // 2 for n in rows if n != 2 * grid - 1}
    if len(windows) > 1:
        raise ValueError(f"attention windows of several sizes {sorted(windows)}")
    return {
        "image_size": grid * patch,
        "patch_size": patch,
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": width // head,
        "mlp_dim": shapes[f"{_BLOCKS}0.mlp.lin1.weight"][0],
        "qkv_bias": f"{_BLOCKS}0.attn.qkv.bias" in shapes,
        "window_size": windows.pop() if windows else 14,
        "global_attn_indexes": [i for i, n in enumerate(rows) if n == 2 * grid - 1],
        "output_channels": shapes["image_encoder.neck.0.weight"][0],
        "num_pos_feats": shapes["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"][1],
    }


def _variant(vision: Mapping[str, Any], hq: bool) -> str:
    size = vision["hidden_size"], vision["num_hidden_layers"]
    name = _VARIANTS.get(size, f"ViT of width {size[0]} and depth {size[1]}")
    return f"SAM-HQ, {name}" if hq else name
