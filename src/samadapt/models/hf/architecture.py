"""Which SAM is in an original checkpoint? The shapes of its tensors say it all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samadapt.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]

_DECODER_HEADS = 8
"""Heads of the mask decoder: the one number that no shape tells; SAM never had another."""
_VARIANTS = {(768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}
_OTHERS = (
    (
        "image_encoder.trunk.",
        "an original SAM 2 checkpoint",
        'load a converted one instead, such as "facebook/sam2.1-hiera-tiny"',
    ),
    (
        "mask_decoder.hf_token.",
        "an original SAM-HQ checkpoint",
        'load a converted one instead, such as "syscv-community/sam-hq-vit-base"',
    ),
    (
        "image_encoder.patch_embed.seq.",
        "a MobileSAM checkpoint",
        'MobileSAM is not supported; for a small model use "nano"',
    ),
    (
        "tracker.",
        "an original SAM 3 checkpoint",
        'load the converted one instead, "facebook/sam3"',
    ),
    (
        "vision_encoder.",
        "a checkpoint with the tensor names of transformers",
        "save it with save_pretrained() and give the folder",
    ),
)


@dataclass(frozen=True, slots=True)
class Recognised:
    """The architecture found in a checkpoint.

    Attributes:
        variant: "ViT-B", "ViT-L", "ViT-H" or a description of another size.
        vision, prompt_encoder, mask_decoder: arguments of transformers' SAM configurations.
    """

    variant: str
    vision: Mapping[str, Any]
    prompt_encoder: Mapping[str, Any]
    mask_decoder: Mapping[str, Any]


def recognise(shapes: Shapes, path: Path) -> Recognised:
    """Read a SAM's dimensions off the shapes of its tensors.

    Args:
        shapes: by the names of segment-anything.
        path: named in messages.

    Raises:
        CheckpointError: another architecture (says which), or a SAM that lacks key tensors.
    """
    for prefix, what, remedy in _OTHERS:
        if any(name.startswith(prefix) for name in shapes):
            raise CheckpointError(f"{path} is {what}: {remedy}")
    if not any(name.startswith("image_encoder.blocks.") for name in shapes):
        raise CheckpointError(
            f"{path} is not a SAM checkpoint (it begins with {', '.join(list(shapes)[:3])}): give "
            "a vit_b, vit_l or vit_h file of segment-anything"
        )
    try:
        vision = _vision(shapes)
        return Recognised(
            _variant(vision), vision, _prompt_encoder(shapes, vision), _mask_decoder(shapes)
        )
    except KeyError as error:
        raise CheckpointError(
            f"{path} looks like SAM but lacks {error.args[0]}: it is incomplete or not a whole SAM"
        ) from None
    except (IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{path} looks like SAM but its tensor shapes do not fit together ({error})"
        ) from None


# -- private --------------------------------------------------------------------------------


def _vision(shapes: Shapes) -> dict[str, Any]:
    _, grid, columns, width = shapes["image_encoder.pos_embed"]
    patch = shapes["image_encoder.patch_embed.proj.weight"][-1]
    depth = _count(shapes, "image_encoder.blocks.")
    rows = [shapes[f"image_encoder.blocks.{i}.attn.rel_pos_h"][0] for i in range(depth)]
    head = shapes["image_encoder.blocks.0.attn.rel_pos_h"][1]
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
        "mlp_dim": shapes["image_encoder.blocks.0.mlp.lin1.weight"][0],
        "qkv_bias": "image_encoder.blocks.0.attn.qkv.bias" in shapes,
        "window_size": windows.pop() if windows else 14,
        "global_attn_indexes": [i for i, n in enumerate(rows) if n == 2 * grid - 1],
        "output_channels": shapes["image_encoder.neck.0.weight"][0],
        "num_pos_feats": shapes["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"][1],
    }


def _prompt_encoder(shapes: Shapes, vision: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "hidden_size": shapes["prompt_encoder.no_mask_embed.weight"][1],
        "mask_input_channels": shapes["prompt_encoder.mask_downscaling.3.weight"][0],
        "num_point_embeddings": _count(shapes, "prompt_encoder.point_embeddings."),
    }


def _mask_decoder(shapes: Shapes) -> dict[str, Any]:
    layers = "mask_decoder.transformer.layers."
    width = shapes["mask_decoder.iou_token.weight"][1]
    inner = shapes[f"{layers}0.cross_attn_token_to_image.q_proj.weight"][0]
    return {
        "hidden_size": width,
        "num_hidden_layers": _count(shapes, layers),
        "num_attention_heads": _DECODER_HEADS,
        "attention_downsample_rate": width // inner,
        "mlp_dim": shapes[f"{layers}0.mlp.lin1.weight"][0],
        "num_multimask_outputs": shapes["mask_decoder.mask_tokens.weight"][0] - 1,
        "iou_head_depth": _count(shapes, "mask_decoder.iou_prediction_head.layers."),
        "iou_head_hidden_dim": shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
    }


def _count(shapes: Shapes, prefix: str) -> int:
    numbers = {
        int(name.removeprefix(prefix).split(".")[0]) for name in shapes if name.startswith(prefix)
    }
    if not numbers:
        raise KeyError(f"{prefix}*")
    return max(numbers) + 1


def _variant(vision: Mapping[str, Any]) -> str:
    size = vision["hidden_size"], vision["num_hidden_layers"]
    return _VARIANTS.get(size, f"ViT of width {size[0]} and depth {size[1]}")
