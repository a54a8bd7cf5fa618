"""Small networks of every family with random weights, and predictions written out by hand."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from samadapt.models.hf.sam import SamHqSegmenter, SamSegmenter
from samadapt.models.hf.sam3 import Sam3TrackerSegmenter
from samadapt.models.parts.model import TransformersModel
from samadapt.models.parts.quiet import quiet_transformers
from samadapt.models.parts.sam2 import Sam2Segmenter

DECODER = {
    "hidden_size": 32,
    "mlp_dim": 48,
    "num_attention_heads": 8,
    "iou_head_hidden_dim": 24,
}
VIT = {
    "hidden_size": 24,
    "output_channels": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "image_size": 64,
    "patch_size": 8,
    "window_size": 3,
    "global_attn_indexes": [1],
    "num_pos_feats": 16,
    "mlp_dim": 40,
}
VIT_PROMPTS = {"hidden_size": 32, "image_size": 64, "patch_size": 8, "mask_input_channels": 8}
HIERA = {
    "model_type": "sam2_vision_model",
    "backbone_config": {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 2, 2],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [3, 3],
    },
    "backbone_channel_list": [64, 32, 16, 8],
    "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    "fpn_hidden_size": 32,
}
HIERA_PROMPTS = {"hidden_size": 32, "image_size": 64, "patch_size": 16, "mask_input_channels": 8}
SAM3_VISION = {
    "model_type": "sam3_vision_model",
    "backbone_config": {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
        "window_size": 2,
        "global_attn_indexes": [1],
        "pretrain_image_size": 28,
    },
    "fpn_hidden_size": 32,
    "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    "scale_factors": [4.0, 2.0, 1.0],
}
SAM3_PROMPTS = {"hidden_size": 32, "image_size": 56, "patch_size": 14, "mask_input_channels": 8}


@dataclass(frozen=True)
class Family:
    """One family: how to build it small, and what its documentation says about its input."""

    name: str
    network: str
    config: str
    vision: dict[str, Any]
    prompts: dict[str, Any]
    segmenter: type[TransformersModel]
    side: int
    squash: bool
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def build(self, seed: int = 7, **decoder: Any) -> Any:
        """A transformers network with random weights of a size that makes lively masks."""
        with quiet_transformers():
            config = getattr(transformers, self.config)(
                vision_config=copy.deepcopy(self.vision),
                prompt_encoder_config=dict(self.prompts),
                mask_decoder_config=DECODER | self._extra() | decoder,
            )
            network = getattr(transformers, self.network)(config).eval()
        if self.name == "sam_hq":
            draw_on_the_transformers_features(network.mask_decoder)
        return randomise(network, seed)

    def wrap(self, network: Any, **options: Any) -> Any:
        """Our model around a copy of `network`."""
        copied = copy.deepcopy(network)
        for module in copied.modules():  # what `build` added is the reference's alone
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()
        return self.segmenter(copied, f"tiny-{self.name}", **options)

    def _extra(self) -> dict[str, Any]:
        return {"vit_dim": self.vision["hidden_size"]} if self.name == "sam_hq" else {}


FAMILIES = {
    family.name: family
    for family in (
        Family("sam", "SamModel", "SamConfig", VIT, VIT_PROMPTS, SamSegmenter, 64, False),
        Family("sam_hq", "SamHQModel", "SamHQConfig", VIT, VIT_PROMPTS, SamHqSegmenter, 64, False),
        Family("sam2", "Sam2Model", "Sam2Config", HIERA, HIERA_PROMPTS, Sam2Segmenter, 64, True),
        Family(
            "sam3",
            "Sam3TrackerModel",
            "Sam3TrackerConfig",
            SAM3_VISION,
            SAM3_PROMPTS,
            Sam3TrackerSegmenter,
            56,
            True,
            (0.5, 0.5, 0.5),
            (0.5, 0.5, 0.5),
        ),
    )
}


def randomise(network: Any, seed: int) -> Any:
    """Fill all parameters: matrices scaled by their fan-in, norms near one, the rest small."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(network.state_dict().items()):
            noise = torch.randn(value.shape, generator=generator)
            if value.dim() < 2:
                near = 1.0 if name.endswith("weight") else 0.0
                value.copy_(near + 0.1 * noise)
            elif "positional_embedding" in name:
                value.copy_(noise)
            else:
                fan_in = value[0].numel() if value.shape[0] > 1 else 4
                value.copy_(1.2 * noise / fan_in**0.5)
        shared = network.shared_image_embedding.positional_embedding
        network.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    return network


def draw_on_the_transformers_features(decoder: Any) -> None:
    """Let transformers' SAM-HQ draw masks where the original does: on the transformer's output.

    Its decoder up-samples the features that went in, so what goes into the first up-sampling is
    exchanged here for what came out.
    """
    found: list[Tensor] = []

    def keep(module: Any, args: Any, output: tuple[Tensor, Tensor]) -> None:
        found[:] = [output[1]]

    def exchange(module: Any, args: tuple[Tensor]) -> tuple[Tensor]:
        batch, prompts, cells, channels = found[0].shape
        side = round(cells**0.5)
        columns = found[0].reshape(batch * prompts, side, side, channels)
        return (columns.permute(0, 3, 1, 2),)

    decoder.transformer.register_forward_hook(keep)
    decoder.upscale_conv1.register_forward_pre_hook(exchange)


def picture(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """RGB (H, W, 3) uint8: smooth colour blobs, different everywhere."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    return np.array(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Answer:
    """What transformers says, brought to the original size by hand."""

    masks: NDArray[np.bool_]
    full: NDArray[np.float64]
    scores: NDArray[np.float32]
    logits: NDArray[np.float32]


def answer_by_hand(
    family: Family,
    network: Any,
    image: NDArray[np.uint8],
    points: Sequence[tuple[float, float]] = (),
    labels: Sequence[int] = (),
    box: Sequence[float] | None = None,
    mask: NDArray[np.float32] | None = None,
    multimask: bool = False,
    **options: Any,
) -> Answer:
    """Resize, normalise, pad, map the prompt, run transformers, up-sample: step by step."""
    height, width = image.shape[:2]
    side = family.side
    if family.squash:
        new_height = new_width = side
    elif height >= width:
        new_height, new_width = side, max(1, round(width * side / height))
    else:
        new_height, new_width = max(1, round(height * side / width)), side
    resized = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR)
    values = (np.asarray(resized) / 255.0 - np.array(family.mean)) / np.array(family.std)
    canvas = np.zeros((side, side, 3))
    canvas[:new_height, :new_width] = values

    # Position p of the original lies at p * scale; transformers adds 0.5 to what it is given.
    scale = np.array([new_width / width, new_height / height])
    inputs: dict[str, Tensor] = {}
    if len(points):
        inputs["input_points"] = _tensor(np.array(points) * scale - 0.5)[None, None]
        inputs["input_labels"] = torch.tensor(list(labels))[None, None]
    if box is not None:
        corners = np.array(box).reshape(2, 2) * scale - 0.5
        inputs["input_boxes"] = _tensor(corners.reshape(4))[None, None]
    if mask is not None:
        inputs["input_masks"] = _tensor(mask)[None, None]
    with torch.no_grad():
        output = network(
            pixel_values=_tensor(canvas.transpose(2, 0, 1))[None],
            multimask_output=multimask,
            **inputs,
            **options,
        )
    logits = output.pred_masks[0, 0].numpy()
    full = np.stack([bilinear(one, (side, side)) for one in logits])
    full = full[:, :new_height, :new_width]
    full = np.stack([bilinear(one, (height, width)) for one in full])
    return Answer(full > 0, full, output.iou_scores[0, 0].numpy(), logits)


def bilinear(values: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """Bilinear resampling with half-pixel centres, borders repeated, no antialiasing."""
    rows = _weights(values.shape[0], size[0])
    columns = _weights(values.shape[1], size[1])
    return rows @ values.astype(np.float64) @ columns.T


@cache
def _weights(old: int, new: int) -> NDArray[np.float64]:
    matrix = np.zeros((new, old))
    for i in range(new):
        position = min(max((i + 0.5) * old / new - 0.5, 0.0), old - 1.0)
        low = int(np.floor(position))
        high = min(low + 1, old - 1)
        matrix[i, low] += 1 - (position - low)
        matrix[i, high] += position - low
    return matrix


def _tensor(values: Any) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)
