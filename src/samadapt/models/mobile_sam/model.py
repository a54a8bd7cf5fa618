"""MobileSAM (Zhang et al., 2023) and Light HQ-SAM (Ke et al., 2023) from their checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from samadapt.models.checkpoint_file import Checkpoint, Shapes
from samadapt.models.mobile_sam.tiny_vit import TinyVit, TinyVitConfig
from samadapt.models.parts.conv_norm import fuse_all
from samadapt.models.parts.layout import (
    HQ_DECODER,
    HQ_MLPS,
    POINTS,
    PROMPT_ENCODER,
    SAM_DECODER,
    Layout,
    convert,
    fill,
    is_hq,
)
from samadapt.models.parts.model import TransformersModel
from samadapt.models.parts.quiet import quiet_transformers
from samadapt.models.parts.sam import SamDecoderModel, SamHqDecoderModel
from samadapt.models.parts.shapes import count, mask_decoder, prompt_encoder, reading_shapes
from samadapt.models.registry import LoadOptions

IMAGE_SIZE = 1024
"""Side of the input; it cannot be read off tensor shapes."""
_STRIDE = 16
_LAYERS = "image_encoder.layers."
_ENCODER = (r"image_encoder\.((?:patch_embed|layers|neck)\..+)", r"vision_encoder.\1")
_CLASSIFIER = ("image_encoder.norm_head.", "image_encoder.head.")
_MOBILE_SAM = Layout(
    "MobileSAM", (_ENCODER, *PROMPT_ENCODER, *POINTS, *SAM_DECODER), left=_CLASSIFIER
)
_LIGHT_HQ = Layout(
    "Light HQ-SAM", (_ENCODER, *PROMPT_ENCODER, *POINTS, *HQ_DECODER), HQ_MLPS, _CLASSIFIER
)


class MobileSamSegmenter(SamDecoderModel):
    """SAM's prompt encoder and mask decoder on TinyViT."""

    def _prepare_encoder(self, encoder: Any) -> None:
        fuse_all(encoder)


class LightHqSegmenter(SamHqDecoderModel):
    """SAM-HQ's decoder on TinyViT."""

    def _prepare_encoder(self, encoder: Any) -> None:
        fuse_all(encoder)


def published_like(checkpoint: Checkpoint) -> str | None:
    """Name of the model if the file holds SAM with a TinyViT, even if tensors are missing."""
    if not checkpoint.has("image_encoder.patch_embed.seq."):
        return None
    return "light-hq-sam" if is_hq(checkpoint) else "mobile-sam"


def load_checkpoint(checkpoint: Checkpoint, name: str, options: LoadOptions) -> TransformersModel:
    """Load an original checkpoint without its classification head, if it has one.

    Raises:
        CheckpointError: tensors that are missing, unknown, or of the wrong shape.
    """
    hq = is_hq(checkpoint)
    layout = _LIGHT_HQ if hq else _MOBILE_SAM
    with reading_shapes(checkpoint.path, layout.what):
        network = empty_network(checkpoint.shapes, hq)
    checkpoint.check_finite()
    fill(network, convert(checkpoint, layout), checkpoint.path, layout.what)
    segmenter = LightHqSegmenter if hq else MobileSamSegmenter
    return segmenter.wrap(network, name, options)


def empty_network(shapes: Shapes, hq: bool) -> nn.Module:
    """SAM or SAM-HQ of transformers with a TinyViT; tensors have shapes but no memory yet."""
    import transformers

    kind = "SamHQ" if hq else "Sam"
    encoder = recognise(shapes)
    decoder = mask_decoder(shapes)
    if hq:
        decoder["vit_dim"] = shapes["mask_decoder.compress_vit_feat.0.weight"][0]
    frequencies = shapes["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"][1]
    vision = {
        "image_size": encoder.image_size,
        "patch_size": _STRIDE,
        "output_channels": encoder.output,
        "num_pos_feats": frequencies,
        "num_hidden_layers": 0,  # the ViT, which TinyViT replaces
    }
    configuration: Any = getattr(transformers, f"{kind}Config")
    with quiet_transformers(), torch.device("meta"):
        config = configuration(
            vision_config=vision,
            prompt_encoder_config=prompt_encoder(shapes, encoder.image_size, _STRIDE),
            mask_decoder_config=decoder,
            attn_implementation="sdpa",
        )
        network: Any = getattr(transformers, f"{kind}Model")(config)
        network.vision_encoder = TinyVit(encoder)
    whole: nn.Module = network
    return whole


def recognise(shapes: Shapes) -> TinyVitConfig:
    """The encoder's sizes.

    Raises:
        KeyError: a key tensor is missing.
        ValueError: shapes that do not fit together.
    """
    stages = range(count(shapes, _LAYERS))
    attention = [shapes[f"{_LAYERS}{i}.blocks.0.attn.attention_biases"] for i in stages[1:]]
    first = shapes["image_encoder.patch_embed.seq.2.c.weight"][0]
    others = [shapes[f"{_LAYERS}{i}.blocks.0.mlp.norm.weight"][0] for i in stages[1:]]
    windows = tuple(round(offsets**0.5) for _, offsets in attention)
    if any(side**2 != offsets for side, (_, offsets) in zip(windows, attention, strict=True)):
        raise ValueError(f"attention biases of {[offsets for _, offsets in attention]} distances")
    return TinyVitConfig(
        image_size=IMAGE_SIZE,
        widths=(first, *others),
        depths=tuple(count(shapes, f"{_LAYERS}{i}.blocks.") for i in stages),
        heads=tuple(heads for heads, _ in attention),
        windows=windows,
        output=shapes["image_encoder.neck.0.weight"][0],
    )
