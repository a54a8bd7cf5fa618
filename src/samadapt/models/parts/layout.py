"""Renaming of tensors from a model's own repository to the names of transformers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from samadapt.errors import CheckpointError
from samadapt.models.checkpoint_file import Checkpoint, some

_ENDS = ("", ".weight", ".bias")
_HQ_TOKEN = "mask_decoder.hf_token."  # noqa: S105
_POSITIONS = "pe_layer.positional_encoding_gaussian_matrix"
_ATTENTION = r"(self_attn|cross_attn_token_to_image|cross_attn_image_to_token)\.([qkv]|out)_proj"
_LAYER = r"mask_decoder\.transformer\.layers\.(\d+)"

PROMPT_ENCODER = (
    (r"prompt_encoder\.(not_a_point|no_mask)_embed", r"prompt_encoder.\1_embed"),
    (r"prompt_encoder\.mask_downscaling\.0", r"prompt_encoder.mask_embed.conv1"),
    (r"prompt_encoder\.mask_downscaling\.1", r"prompt_encoder.mask_embed.layer_norm1"),
    (r"prompt_encoder\.mask_downscaling\.3", r"prompt_encoder.mask_embed.conv2"),
    (r"prompt_encoder\.mask_downscaling\.4", r"prompt_encoder.mask_embed.layer_norm2"),
    (r"prompt_encoder\.mask_downscaling\.6", r"prompt_encoder.mask_embed.conv3"),
)
"""Renames shared by the prompt encoders of SAM and SAM 2."""
POINTS = ((r"prompt_encoder\.point_embeddings\.(\d+)", r"prompt_encoder.point_embed.\1"),)
"""SAM's embeddings of the kinds of points, one tensor each."""
MASK_DECODER = (
    (r"mask_decoder\.(iou_token|mask_tokens)", r"mask_decoder.\1"),
    (rf"{_LAYER}\.{_ATTENTION}", r"mask_decoder.transformer.layers.\1.\2.\3_proj"),
    (rf"{_LAYER}\.norm([1234])", r"mask_decoder.transformer.layers.\1.layer_norm\2"),
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
"""Renames shared by the mask decoders of SAM and SAM 2."""
SAM_DECODER = (
    *MASK_DECODER,
    (rf"{_LAYER}\.mlp\.lin([12])", r"mask_decoder.transformer.layers.\1.mlp.lin\2"),
)
HQ_DECODER = (
    *SAM_DECODER,
    (r"mask_decoder\.hf_token", r"mask_decoder.hq_token"),
    (r"mask_decoder\.compress_vit_feat\.0", r"mask_decoder.compress_vit_conv1"),
    (r"mask_decoder\.compress_vit_feat\.1", r"mask_decoder.compress_vit_norm"),
    (r"mask_decoder\.compress_vit_feat\.3", r"mask_decoder.compress_vit_conv2"),
    (r"mask_decoder\.embedding_encoder\.0", r"mask_decoder.encoder_conv1"),
    (r"mask_decoder\.embedding_encoder\.1", r"mask_decoder.encoder_norm"),
    (r"mask_decoder\.embedding_encoder\.3", r"mask_decoder.encoder_conv2"),
    (r"mask_decoder\.embedding_maskfeature\.0", r"mask_decoder.mask_conv1"),
    (r"mask_decoder\.embedding_maskfeature\.1", r"mask_decoder.mask_norm"),
    (r"mask_decoder\.embedding_maskfeature\.3", r"mask_decoder.mask_conv2"),
)
MLPS = {r"mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head)": ""}
"""MLPs of any depth: the original's prefix to transformers', "" where it is the same."""
HQ_MLPS = MLPS | {r"mask_decoder\.hf_mlp": "mask_decoder.hq_mask_mlp"}


class Layout(NamedTuple):
    """Rules for renaming the tensors of one kind of checkpoint to transformers' names.

    Attributes:
        what: the kind, for messages.
        renames: regular expressions for names up to ".weight" and ".bias".
        mlps: see `MLPS`.
        left: prefixes of tensors that are not loaded, such as a video model's memory.
        kept: prefixes of names that stay as they are.
    """

    what: str
    renames: Sequence[tuple[str, str]]
    mlps: Mapping[str, str] = MLPS
    left: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def is_hq(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint has the decoder of SAM-HQ."""
    return checkpoint.has(_HQ_TOKEN)


def convert(checkpoint: Checkpoint, layout: Layout) -> dict[str, Tensor]:
    """Rename the tensors to transformers' names, as float32.

    Raises:
        CheckpointError: names that the layout does not know.
    """
    mlps = _Mlps(checkpoint.tensors, layout.mlps)
    table = [(re.compile(source), target) for source, target in layout.renames]
    converted: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in checkpoint.tensors.items():
        if name.startswith(layout.left):
            continue
        targets = (name,) if name.startswith(layout.kept) else _targets(name, table, mlps)
        if not targets:
            unknown.append(name)
        for target in targets:
            converted[target] = tensor.float() if tensor.is_floating_point() else tensor
    if unknown:
        raise CheckpointError(
            f"{checkpoint.path} looks like {layout.what} but has {some(unknown)} that "
            f"{layout.what} does not: it was made by a changed architecture"
        )
    return converted


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: object, variant: str) -> None:
    """Load exactly the tensors of a network of transformers.

    Args:
        network: may be on the "meta" device.
        tensors: by transformers' names.
        path: of the file, for messages.
        variant: the recognised variant, for messages.

    Raises:
        CheckpointError: tensors that are missing, too many or of the wrong shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    missing = wanted.keys() - tensors.keys()
    if missing:
        raise CheckpointError(
            f"{path} ({variant}) lacks {some(missing)} (transformers' names): it is "
            "incomplete or not a whole SAM"
        )
    extra = tensors.keys() - wanted.keys()
    if extra:
        raise CheckpointError(f"{path} ({variant}) has too many tensors: {some(extra)}")
    for name, shape in wanted.items():
        if tuple(tensors[name].shape) != shape:
            raise CheckpointError(
                f"{path} ({variant}): {name} has shape {tuple(tensors[name].shape)} "
                f"where {shape} belongs"
            )
    network.load_state_dict(dict(tensors), assign=True)


# -- private --------------------------------------------------------------------------------


def _targets(
    name: str, table: Iterable[tuple[re.Pattern[str], str]], mlps: _Mlps
) -> tuple[str, ...]:
    if name == f"prompt_encoder.{_POSITIONS}":
        embedding = "positional_embedding"
        return f"shared_image_embedding.{embedding}", f"prompt_encoder.shared_embedding.{embedding}"
    if (target := mlps.target(name)) is not None:
        return (target,)
    for pattern, target in table:
        found = pattern.match(name)
        rest = name[found.end() :] if found else "?"
        if found and rest in _ENDS:
            return (found.expand(target) + rest,)
    return ()


class _Mlps:
    """`prefix.layers.0`, ..., `.N` to `prefix.proj_in`, `.layers.0`, ..., `.proj_out`."""

    def __init__(self, names: Iterable[str], prefixes: Mapping[str, str]) -> None:
        self._prefixes = prefixes
        either = "|".join(prefixes)
        self._pattern = re.compile(rf"(?P<prefix>{either})\.layers\.(?P<index>\d+)(?=\.)")
        self._depths: dict[str, int] = {}
        for name in names:
            if layer := self._pattern.match(name):
                prefix, index = layer["prefix"], int(layer["index"])
                self._depths[prefix] = max(self._depths.get(prefix, 0), index + 1)

    def target(self, name: str) -> str | None:
        layer = self._pattern.match(name)
        if layer is None:
            return None
        prefix, index = layer["prefix"], int(layer["index"])
        last = self._depths[prefix] - 1
        part = {0: "proj_in", last: "proj_out"}.get(index, f"layers.{index - 1}")
        for source, new in self._prefixes.items():
            if new and re.fullmatch(source, prefix):
                prefix = re.sub(source, new, prefix)
        return f"{prefix}.{part}{name[layer.end() :]}"
