"""The original segment-anything checkpoints (.pth) to the layout of transformers' `SamModel`."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samadapt.errors import CheckpointError, first_line
from samadapt.models.hashing import not_finite
from samadapt.models.hf.architecture import Recognised, recognise
from samadapt.models.hf.files import some
from samadapt.models.hf.model import TransformersModel
from samadapt.models.hf.quiet import quiet_transformers
from samadapt.models.hf.sam import SamSegmenter
from samadapt.models.registry import LoadOptions

_ATTENTION = r"(self_attn|cross_attn_token_to_image|cross_attn_image_to_token)\.([qkv]|out)_proj"
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"image_encoder\.pos_embed", r"vision_encoder.pos_embed"),
    (r"image_encoder\.patch_embed\.proj", r"vision_encoder.patch_embed.projection"),
    (r"image_encoder\.blocks\.(\d+)\.norm([12])", r"vision_encoder.layers.\1.layer_norm\2"),
    (r"image_encoder\.blocks\.(\d+)\.attn\.(\w+)", r"vision_encoder.layers.\1.attn.\2"),
    (r"image_encoder\.blocks\.(\d+)\.mlp\.lin([12])", r"vision_encoder.layers.\1.mlp.lin\2"),
    (r"image_encoder\.neck\.0", r"vision_encoder.neck.conv1"),
    (r"image_encoder\.neck\.1", r"vision_encoder.neck.layer_norm1"),
    (r"image_encoder\.neck\.2", r"vision_encoder.neck.conv2"),
    (r"image_encoder\.neck\.3", r"vision_encoder.neck.layer_norm2"),
    (r"prompt_encoder\.point_embeddings\.(\d+)", r"prompt_encoder.point_embed.\1"),
    (r"prompt_encoder\.(not_a_point|no_mask)_embed", r"prompt_encoder.\1_embed"),
    (r"prompt_encoder\.mask_downscaling\.0", r"prompt_encoder.mask_embed.conv1"),
    (r"prompt_encoder\.mask_downscaling\.1", r"prompt_encoder.mask_embed.layer_norm1"),
    (r"prompt_encoder\.mask_downscaling\.3", r"prompt_encoder.mask_embed.conv2"),
    (r"prompt_encoder\.mask_downscaling\.4", r"prompt_encoder.mask_embed.layer_norm2"),
    (r"prompt_encoder\.mask_downscaling\.6", r"prompt_encoder.mask_embed.conv3"),
    (r"mask_decoder\.(iou_token|mask_tokens)", r"mask_decoder.\1"),
    (
        rf"mask_decoder\.transformer\.layers\.(\d+)\.{_ATTENTION}",
        r"mask_decoder.transformer.layers.\1.\2.\3_proj",
    ),
    (
        r"mask_decoder\.transformer\.layers\.(\d+)\.norm([1234])",
        r"mask_decoder.transformer.layers.\1.layer_norm\2",
    ),
    (
        r"mask_decoder\.transformer\.layers\.(\d+)\.mlp\.lin([12])",
        r"mask_decoder.transformer.layers.\1.mlp.lin\2",
    ),
    (
        r"mask_decoder\.transformer\.final_attn_token_to_image\.([qkv]|out)_proj",
        r"mask_decoder.transformer.final_attn_token_to_image.\1_proj",
    ),
    (
        r"mask_decoder\.transformer\.norm_final_attn",
        r"mask_decoder.transformer.layer_norm_final_attn",
    ),
    (r"mask_decoder\.output_upscaling\.0", r"mask_decoder.upscale_conv1"),
    (r"mask_decoder\.output_upscaling\.1", r"mask_decoder.upscale_layer_norm"),
    (r"mask_decoder\.output_upscaling\.3", r"mask_decoder.upscale_conv2"),
)
_TABLE = tuple((re.compile(source), target) for source, target in _RENAMES)
_MLP = re.compile(
    r"(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.(\d+)"
)
_NOT_TENSORS = re.compile(r"GLOBAL|Can only (create|build)")
"""How torch's reader words that it met something that it would have to run or construct."""
_POSITIONS = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


def load_original(path: Path, name: str, options: LoadOptions) -> TransformersModel:
    """Load a SAM checkpoint of the segment-anything repository, of any depth and width.

    Fine-tuned ones too, also inside {"model": ...} or {"state_dict": ...} and with the "module."
    that data-parallel training puts before each name. Layer-norm epsilons are those of the
    transformers model, so that the same weights give the same masks from either file format.

    Raises:
        CheckpointError: not a checkpoint, code instead of data, another architecture, tensors
            that are missing, unknown, or of the wrong shape.
    """
    state = read_state(path)
    recognised = recognise({name: tuple(tensor.shape) for name, tensor in state.items()}, path)
    if (broken := not_finite(state)) is not None:
        raise CheckpointError(f"{path} has numbers in {broken} that are not finite: it is damaged")
    network = _build(recognised, convert(state, path), path)
    return SamSegmenter.wrap(network, name, options)


def read_state(path: Path) -> dict[str, Tensor]:
    """The named tensors of a .pth file; nothing in it is ever executed.

    Raises:
        CheckpointError: damaged, not a checkpoint, or with objects other than tensors.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if _NOT_TENSORS.search(str(error)):
            raise CheckpointError(
                f"{path} holds Python objects besides tensors and could run code when opened, so "
                "it is refused: save the model's state_dict() alone"
            ) from None
        raise CheckpointError(_damaged(path, error)) from None
    except Exception as error:
        raise CheckpointError(_damaged(path, error)) from None
    for wrapper in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path} holds no named tensors: save the model's state_dict()")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} holds more than named tensors ({str(name)[:60]!r}): save the model's "
                "state_dict() alone"
            )
    return {name.removeprefix("module."): value for name, value in content.items()}


def convert(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Rename the tensors of an original checkpoint to transformers' names, as float32.

    Raises:
        CheckpointError: names that segment-anything does not have.
    """
    depths = _mlp_depths(state)
    converted: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in state.items():
        targets = _targets(name, depths)
        if not targets:
            unknown.append(name)
        for target in targets:
            converted[target] = tensor.float()
    if unknown:
        raise CheckpointError(
            f"{path} looks like SAM but has {some(unknown)} that SAM does not: it was made by a "
            "changed architecture"
        )
    return converted


# -- private --------------------------------------------------------------------------------


def _targets(name: str, depths: Mapping[str, int]) -> tuple[str, ...]:
    if name == _POSITIONS:
        embedding = "positional_embedding"
        return f"shared_image_embedding.{embedding}", f"prompt_encoder.shared_embedding.{embedding}"
    layer = _MLP.match(name)
    if layer:
        prefix, index = layer[1], int(layer[2])
        last = depths[prefix] - 1
        part = {0: "proj_in", last: "proj_out"}.get(index, f"layers.{index - 1}")
        return (f"{prefix}.{part}{name[layer.end() :]}",)
    for pattern, target in _TABLE:
        found = pattern.match(name)
        rest = name[found.end() :] if found else "?"
        if found and rest in ("", ".weight", ".bias"):
            return (found.expand(target) + rest,)
    return ()


def _mlp_depths(names: Iterable[str]) -> dict[str, int]:
    """Number of layers of each small MLP in the decoder, by its prefix."""
    depths: dict[str, int] = {}
    for name in names:
        layer = _MLP.match(name)
        if layer:
            depths[layer[1]] = max(depths.get(layer[1], 0), int(layer[2]) + 1)
    return depths


def _build(recognised: Recognised, tensors: Mapping[str, Tensor], path: Path) -> nn.Module:
    network = _empty(recognised)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    missing = wanted.keys() - tensors.keys()
    if missing:
        raise CheckpointError(
            f"{path} ({recognised.variant}) lacks {some(missing)} (transformers' names): it is "
            "incomplete or not a whole SAM"
        )
    extra = tensors.keys() - wanted.keys()
    if extra:
        raise CheckpointError(f"{path} ({recognised.variant}) has too many tensors: {some(extra)}")
    for name, shape in wanted.items():
        if tuple(tensors[name].shape) != shape:
            raise CheckpointError(
                f"{path} ({recognised.variant}): {name} has shape {tuple(tensors[name].shape)} "
                f"where {shape} belongs"
            )
    network.load_state_dict(dict(tensors), assign=True)
    return network


def _empty(recognised: Recognised) -> nn.Module:
    """A `SamModel` whose tensors have shapes but no memory yet."""
    from transformers import SamConfig, SamModel

    with quiet_transformers(), torch.device("meta"):
        config: Any = SamConfig(
            vision_config=dict(recognised.vision),
            prompt_encoder_config=dict(recognised.prompt_encoder),
            mask_decoder_config=dict(recognised.mask_decoder),
            attn_implementation="sdpa",
        )
        network: nn.Module = SamModel(config)
    return network


def _damaged(path: Path, error: BaseException) -> str:
    if isinstance(error, pickle.UnpicklingError):  # its text speaks of PyTorch's own options
        return (
            f"{path} cannot be read as a PyTorch checkpoint: it is damaged, cut off, of another "
            "format, or a pickle that could run code when opened, which is refused; download it "
            "again"
        )
    return (
        f"{path} cannot be read as a PyTorch checkpoint ({first_line(error)[:120]}): it is "
        "damaged, cut off or of another format; download it again"
    )
