"""Loading of original SAM, SAM-HQ and SAM 2 checkpoints into transformers' models."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from samadapt.errors import CheckpointError
from samadapt.models.checkpoint_file import Checkpoint
from samadapt.models.hf.architecture import Recognised, is_vit, recognise
from samadapt.models.hf.hiera import is_hiera, load_hiera, recognise_hiera
from samadapt.models.hf.sam import MedSamSegmenter, SamHqSegmenter, SamSegmenter
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
from samadapt.models.parts.sam2_layout import own_names
from samadapt.models.registry import LoadOptions

_VIT = (
    (r"image_encoder\.pos_embed", r"vision_encoder.pos_embed"),
    (r"image_encoder\.patch_embed\.proj", r"vision_encoder.patch_embed.projection"),
    (r"image_encoder\.blocks\.(\d+)\.norm([12])", r"vision_encoder.layers.\1.layer_norm\2"),
    (r"image_encoder\.blocks\.(\d+)\.attn\.(\w+)", r"vision_encoder.layers.\1.attn.\2"),
    (r"image_encoder\.blocks\.(\d+)\.mlp\.lin([12])", r"vision_encoder.layers.\1.mlp.lin\2"),
    (r"image_encoder\.neck\.0", r"vision_encoder.neck.conv1"),
    (r"image_encoder\.neck\.1", r"vision_encoder.neck.layer_norm1"),
    (r"image_encoder\.neck\.2", r"vision_encoder.neck.conv2"),
    (r"image_encoder\.neck\.3", r"vision_encoder.neck.layer_norm2"),
)
_SAM = Layout("SAM", (*_VIT, *PROMPT_ENCODER, *POINTS, *SAM_DECODER))
_SIZES = {"ViT-B": "base", "ViT-L": "large", "ViT-H": "huge"}
_SAM_HQ = Layout("SAM-HQ", (*_VIT, *PROMPT_ENCODER, *POINTS, *HQ_DECODER), HQ_MLPS)


def is_original(checkpoint: Checkpoint) -> bool:
    """Whether the file is a checkpoint of SAM, SAM-HQ or SAM 2, even if tensors are missing."""
    return is_vit(checkpoint) or is_hiera(checkpoint)


def published_name(checkpoint: Checkpoint) -> str | None:
    """The repository on the Hub of the published model with this architecture, if there is one.

    Raises:
        CheckpointError: key tensors are missing or do not fit together.
    """
    if is_hiera(checkpoint):
        version = "sam2.1" if checkpoint.has("no_obj_embed_spatial") else "sam2"
        return f"facebook/{version}-hiera-{recognise_hiera(own_names(checkpoint))[1].name}"
    recognised = recognise(checkpoint)
    size = _SIZES.get(recognised.variant.removeprefix("SAM-HQ, "))
    prefix = "syscv-community/sam-hq-vit" if recognised.hq else "facebook/sam-vit"
    return None if size is None else f"{prefix}-{size}"


def load_original(
    checkpoint: Checkpoint, name: str, options: LoadOptions, *, is_medsam: bool = False
) -> TransformersModel:
    """Load an original checkpoint of SAM, SAM-HQ or SAM 2.

    SAM and SAM-HQ may be of any depth and width, fine-tuned ones included. Layer-norm epsilons
    are those of the transformers model, so that the same weights give the same masks from either
    file format.

    Args:
        checkpoint: the tensors.
        name: stable name of the weights.
        options: of loading.
        is_medsam: whether the model is MedSAM, which cannot be read off its tensors.

    Raises:
        CheckpointError: another architecture, tensors that are missing, unknown, or of the wrong
            shape.
    """
    if is_medsam and (is_hiera(checkpoint) or is_hq(checkpoint)):
        raise CheckpointError(
            f"{checkpoint.path} is no MedSAM, which has the architecture of SAM: load it by its "
            'path alone, without "medsam:"'
        )
    if is_hiera(checkpoint):
        return load_hiera(checkpoint, name, options)
    recognised = recognise(checkpoint)
    checkpoint.check_finite()
    network = _empty(recognised)
    layout = _SAM_HQ if recognised.hq else _SAM
    fill(network, convert(checkpoint, layout), checkpoint.path, recognised.variant)
    if is_medsam:
        return MedSamSegmenter.wrap(network, name, options)
    segmenter = SamHqSegmenter if recognised.hq else SamSegmenter
    return segmenter.wrap(network, name, options)


def _empty(recognised: Recognised) -> nn.Module:
    """A network of transformers whose tensors have shapes but no memory yet."""
    import transformers

    kind = "SamHQ" if recognised.hq else "Sam"
    configuration: Any = getattr(transformers, f"{kind}Config")
    with quiet_transformers(), torch.device("meta"):
        config = configuration(
            vision_config=dict(recognised.vision),
            prompt_encoder_config=dict(recognised.prompt_encoder),
            mask_decoder_config=dict(recognised.mask_decoder),
            attn_implementation="sdpa",
        )
        network: nn.Module = getattr(transformers, f"{kind}Model")(config)
    return network
