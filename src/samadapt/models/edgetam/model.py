"""EdgeTAM (Zhou et al., 2025) from its checkpoint, on single images."""

from __future__ import annotations

from typing import Any

import torch

from samadapt.models.checkpoint_file import Checkpoint, Shapes
from samadapt.models.edgetam.repvit import RepVit, RepVitConfig
from samadapt.models.parts.conv_norm import fuse_all
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

IMAGE_SIZE = 1024
"""Side of the input; it cannot be read off tensor shapes."""
_TRUNK = "image_encoder.trunk.body."
_STAGES = 4
_LAYOUT = Layout(
    "EdgeTAM",
    (
        (r"image_encoder\.trunk\.body\.(stem\..+)", r"vision_encoder.backbone.\1"),
        (
            r"image_encoder\.trunk\.body\.stages_(\d+)\.(.+)",
            r"vision_encoder.backbone.stages.\1.\2",
        ),
    ),
)


class EdgeTamSegmenter(Sam2Segmenter):
    """SAM 2's prompt encoder and mask decoder on RepViT."""

    def _prepare_encoder(self, encoder: Any) -> None:
        super()._prepare_encoder(encoder)
        fuse_all(encoder)


def published_like(checkpoint: Checkpoint) -> str | None:
    """Name of the model if the file holds SAM 2 with a RepViT, even if tensors are missing."""
    return (
        "edgetam"
        if checkpoint.has(f"{_TRUNK}stem.") or checkpoint.has(f"{_TRUNK}stages_")
        else None
    )


def load_checkpoint(checkpoint: Checkpoint, name: str, options: LoadOptions) -> EdgeTamSegmenter:
    """Load the original checkpoint without its memory for videos.

    Raises:
        CheckpointError: tensors that are missing, unknown, or of the wrong shape.
    """
    from transformers import Sam2Config, Sam2Model

    checkpoint = own_names(checkpoint)
    shapes = checkpoint.shapes
    with reading_shapes(checkpoint.path, _LAYOUT.what):
        encoder = recognise(shapes)
        # The configuration of the Hiera that RepViT replaces is the default one.
        config: Any = Sam2Config(
            vision_config={
                "model_type": "sam2_vision_model",
                **vision_arguments(shapes, None, encoder.widths, IMAGE_SIZE),
            },
            attn_implementation="sdpa",
            **decoder_arguments(shapes, IMAGE_SIZE),
        )
    checkpoint.check_finite()
    with quiet_transformers(), torch.device("meta"):
        network: Any = Sam2Model(config)
        network.vision_encoder.backbone = RepVit(encoder)
    fill(network, convert_sam2(checkpoint, _LAYOUT), checkpoint.path, _LAYOUT.what)
    return EdgeTamSegmenter.wrap(network, name, options)


def recognise(shapes: Shapes) -> RepVitConfig:
    """The encoder's sizes.

    Raises:
        KeyError: a key tensor is missing.
    """
    first = [f"{_TRUNK}stages_{i}.blocks.0." for i in range(_STAGES)]
    return RepVitConfig(
        widths=tuple(shapes[f"{block}token_mixer.conv.c.weight"][0] for block in first),
        depths=tuple(count(shapes, f"{_TRUNK}stages_{i}.blocks.") for i in range(_STAGES)),
        squeezed=tuple(shapes[f"{block}se.fc1.weight"][0] for block in first),
    )
