"""Run SAM's prompt encoder and mask decoder on B prompts on several images, for training."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from research.sam_shaped.network import position_grid
from research.sam_shaped.prompts import TrainingPrompts


def decode(
    network: Any, images: Tensor, prompts: TrainingPrompts, multimask: bool
) -> tuple[Tensor, Tensor]:
    """Logits (B, K, 4h, 4w) and predicted IoUs (B, K) of B prompts.

    Args:
        network: of `build_network`.
        images: (B, C, h, w) the embedding that each prompt is answered on; the grid may be
            coarser than the network's.
        prompts: B of them.
        multimask: three candidates instead of one mask.
    """
    points = None if prompts.points is None else prompts.points[:, None] - 0.5
    labels = None if prompts.labels is None else prompts.labels[:, None]
    boxes = None if prompts.boxes is None else prompts.boxes[:, None] - 0.5
    sparse, dense = network.prompt_encoder(points, labels, boxes, prompts.masks)
    if prompts.masks is None:  # the same everywhere, but of the whole grid's size
        dense = network.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
    positions = position_grid(network, images.shape[-1])
    logits, scores = network.mask_decoder(
        image_embeddings=images,
        image_positional_embeddings=positions.expand(len(images), -1, -1, -1),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
    )[:2]
    return logits[:, 0].float(), scores[:, 0].float()
