"""Original SAM 2 and 2.1 checkpoints: their image parts, in the layout of `Sam2Model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from samadapt.errors import CheckpointError
from samadapt.models.checkpoint_file import Checkpoint, Shapes
from samadapt.models.parts.layout import Layout, fill
from samadapt.models.parts.quiet import quiet_transformers
from samadapt.models.parts.sam2 import Sam2Segmenter
from samadapt.models.parts.sam2_layout import (
    convert_sam2,
    decoder_arguments,
    own_names,
    vision_arguments,
)
from samadapt.models.parts.shapes import count, reading_shapes
from samadapt.models.registry import LoadOptions

_TRUNK = "image_encoder.trunk."
_BACKBONE = r"vision_encoder.backbone."
_BLOCK = r"image_encoder\.trunk\.blocks\.(\d+)\."
_LAYOUT = Layout(
    "SAM 2",
    (
        (r"image_encoder\.trunk\.(pos_embed_window|pos_embed)", rf"{_BACKBONE}\1"),
        (r"image_encoder\.trunk\.patch_embed\.proj", rf"{_BACKBONE}patch_embed.projection"),
        (rf"{_BLOCK}norm([12])", rf"{_BACKBONE}blocks.\1.layer_norm\2"),
        (rf"{_BLOCK}(attn\.qkv|attn\.proj|proj)", rf"{_BACKBONE}blocks.\1.\2"),
    ),
    {rf"{_BLOCK}mlp": rf"{_BACKBONE}blocks.\1.mlp"},
)


@dataclass(frozen=True, slots=True)
class Hiera:
    """Settings of a SAM 2 image encoder that cannot be read off tensor shapes.

    Attributes:
        name: of the variant.
        heads: attention heads of the first stage; each stage doubles them.
        windows: sizes of the attention windows, stage by stage.
        whole: indices of the blocks with global attention.
        image_size: side of the input in pixels.
    """

    name: str
    heads: int
    windows: tuple[int, int, int, int]
    whole: tuple[int, ...]
    image_size: int = 1024


PUBLISHED: dict[tuple[int, tuple[int, ...]], Hiera] = {
    (96, (1, 2, 7, 2)): Hiera("tiny", 1, (8, 4, 14, 7), (5, 7, 9)),
    (96, (1, 2, 11, 2)): Hiera("small", 1, (8, 4, 14, 7), (7, 10, 13)),
    (112, (2, 3, 16, 3)): Hiera("base-plus", 2, (8, 4, 14, 7), (12, 16, 20)),
    (144, (2, 6, 36, 4)): Hiera("large", 2, (8, 4, 16, 8), (23, 33, 43)),
}
"""The encoders of SAM 2 and 2.1, by their first width and the number of blocks of each stage."""


def is_hiera(checkpoint: Checkpoint) -> bool:
    """Whether the file is a checkpoint of SAM 2, even if tensors are missing."""
    return checkpoint.has(f"{_TRUNK}blocks.")


def load_hiera(checkpoint: Checkpoint, name: str, options: LoadOptions) -> Sam2Segmenter:
    """Load an original SAM 2 or 2.1 without its memory for videos.

    Raises:
        CheckpointError: another size, or tensors that are missing, unknown or of wrong shape.
    """
    from transformers import Sam2Model

    checkpoint = own_names(checkpoint)
    config, variant = recognise_hiera(checkpoint)
    checkpoint.check_finite()
    with quiet_transformers(), torch.device("meta"):
        network: nn.Module = Sam2Model(config)
    fill(network, convert_sam2(checkpoint, _LAYOUT), checkpoint.path, f"SAM 2 {variant.name}")
    return Sam2Segmenter.wrap(network, name, options)


def recognise_hiera(checkpoint: Checkpoint) -> tuple[Any, Hiera]:
    """The configuration for transformers, and the published variant.

    Raises:
        CheckpointError: another size, or tensors that are missing.
    """
    from transformers import Sam2Config

    shapes = checkpoint.shapes
    with reading_shapes(checkpoint.path, "SAM 2"):
        outer = [_width(shapes, i) for i in range(count(shapes, f"{_TRUNK}blocks."))]
        widths = sorted(set(outer))
        blocks = tuple(outer.count(width) for width in widths)
        variant = PUBLISHED.get((outer[0], blocks))
        if variant is None:
            raise CheckpointError(
                f"{checkpoint.path} looks like SAM 2 but has an image encoder of width {outer[0]} "
                f"with {'+'.join(map(str, blocks))} blocks: only tiny, small, base-plus and large "
                "are known"
            )
        backbone = {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": widths[0],
            "image_size": [variant.image_size] * 2,
            "blocks_per_stage": list(blocks),
            "embed_dim_per_stage": widths,
            "num_attention_heads_per_stage": [variant.heads * 2**i for i in range(len(blocks))],
            "window_size_per_stage": list(variant.windows),
            "global_attention_blocks": list(variant.whole),
            "window_positional_embedding_background_size": list(shapes[f"{_TRUNK}pos_embed"][2:]),
        }
        vision = vision_arguments(shapes, backbone, widths, variant.image_size)
        vision["model_type"] = "sam2_vision_model"
        config: Any = Sam2Config(
            vision_config=vision,
            attn_implementation="sdpa",
            **decoder_arguments(shapes, variant.image_size),
        )
    return config, variant


def _width(shapes: Shapes, block: int) -> int:
    return shapes[f"{_TRUNK}blocks.{block}.norm2.weight"][0]
