"""Original checkpoints of SAM 2's kind, with any image encoder, in the layout of `Sam2Model`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from samadapt.models.checkpoint_file import Checkpoint, Shapes
from samadapt.models.parts.layout import MASK_DECODER, MLPS, PROMPT_ENCODER, Layout, convert
from samadapt.models.parts.shapes import count, mask_decoder, prompt_encoder

STRIDE = 16
"""Input pixels per cell of the image features."""
_PARTS = ("sam_prompt_encoder.", "sam_mask_decoder.")
_VIDEO = (
    "memory_attention.",
    "memory_encoder.",
    "maskmem_tpos_enc",
    "no_mem_pos_enc",
    "no_obj_ptr",
    "no_obj_embed_spatial",
    "obj_ptr_proj.",
    "obj_ptr_tpos_proj.",
    "mask_downsample.",
    "spatial_perceiver.",
)
"""Prefixes of tensors that only videos use."""
_RENAMES = (
    (r"image_encoder\.neck\.convs\.(\d+)\.conv", r"vision_encoder.neck.convs.\1"),
    (r"no_mem_embed", r"no_memory_embedding"),
    (r"prompt_encoder\.point_embeddings\.(\d+)", r"prompt_encoder.point_embed.\1"),
    (r"mask_decoder\.(conv_s0|conv_s1|obj_score_token)", r"mask_decoder.\1"),
    *PROMPT_ENCODER,
    *MASK_DECODER,
)
_HEADS = MLPS | {
    r"mask_decoder\.pred_obj_score_head": "",
    r"mask_decoder\.transformer\.layers\.\d+\.mlp": "",
}
_POINTS = "prompt_encoder.point_embed"


def own_names(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with SAM's names for the parts that SAM 2 took over."""
    names = {
        name: name.removeprefix("sam_") if name.startswith(_PARTS) else name
        for name in checkpoint.tensors
    }
    tensors = {names[name]: tensor for name, tensor in checkpoint.tensors.items()}
    return replace(checkpoint, tensors=tensors)


def vision_arguments(
    shapes: Shapes, backbone: object, widths: Sequence[int], side: int
) -> dict[str, Any]:
    """Arguments of transformers' configuration of an image encoder with a feature pyramid.

    Args:
        shapes: by the names of `own_names`.
        backbone: configuration of the backbone.
        widths: channels of its stages, finest first.
        side: of the input in pixels.
    """
    return {
        "backbone_config": backbone,
        "backbone_channel_list": list(reversed(widths)),
        "backbone_feature_sizes": [[side // stride] * 2 for stride in (4, 8, STRIDE)],
        "fpn_hidden_size": shapes["image_encoder.neck.convs.0.conv.weight"][0],
    }


def decoder_arguments(shapes: Shapes, side: int) -> dict[str, dict[str, Any]]:
    """Arguments of transformers' configuration of the prompt encoder and the mask decoder."""
    return {
        "prompt_encoder_config": prompt_encoder(shapes, side, STRIDE),
        "mask_decoder_config": mask_decoder(shapes, "mlp.layers.0"),
    }


def convert_sam2(checkpoint: Checkpoint, layout: Layout) -> dict[str, Tensor]:
    """Rename the tensors of a checkpoint with `own_names`, without those for videos.

    Raises:
        CheckpointError: names that SAM 2 does not have.
    """
    whole = Layout(
        layout.what,
        (*layout.renames, *_RENAMES),
        _HEADS | dict(layout.mlps),
        _VIDEO + layout.left,
        layout.kept,
    )
    found = convert(checkpoint, whole)
    tensors = {name.replace(".out_proj.", ".o_proj."): value for name, value in found.items()}
    return _one_table(tensors)


def _one_table(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The embeddings of the kinds of points in one tensor."""
    rows = {name: value for name, value in tensors.items() if name.startswith(f"{_POINTS}.")}
    others = {name: value for name, value in tensors.items() if name not in rows}
    if not rows:
        return others
    numbers = range(count(dict.fromkeys(rows, ()), f"{_POINTS}."))
    ordered = [rows[f"{_POINTS}.{i}.weight"] for i in numbers]
    return others | {f"{_POINTS}.weight": torch.cat(ordered)}
