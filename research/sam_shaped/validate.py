"""mIoU of a network on cached validation images, for exact boxes, noisy boxes and single clicks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from research.nano.losses import soft_iou
from research.sam_shaped.cache import read_cached
from research.sam_shaped.decode import decode
from research.sam_shaped.prompts import first_prompts
from samadapt.training.prompt_sampling import PromptKind

KINDS = {
    "box": (PromptKind(), False),
    "box0.4": (PromptKind(noise=0.4), False),
    "1p": (PromptKind(points=1), False),
    "1p best of 3": (PromptKind(points=1), True),
}
"""Prompts and whether three candidates answer them."""
_OBJECTS, _IMAGES = 2, 16
"""Objects per image and images: a few, as the machine has better things to do."""


@torch.no_grad()
def validate(network: Any, files: Sequence[Path], seed: int = 0) -> dict[str, float]:
    """Mean IoU on the decoder's grid; of three candidates that of the best."""
    overlaps: dict[str, list[float]] = {name: [] for name in KINDS}
    side = network.prompt_encoder.input_image_size
    for number, path in enumerate(files[:: max(1, len(files) // _IMAGES)]):
        image = read_cached(path)
        masks = image.masks[:_OBJECTS]
        truth = torch.from_numpy(masks).float()[:, None]
        with torch.autocast("cpu", torch.bfloat16):
            embedded = network.vision_encoder.neck(image.features[None].float())
            embedded = embedded.expand(len(masks), -1, -1, -1)
            for name, (kind, multimask) in KINDS.items():
                rng = np.random.default_rng([seed, number])
                prompts = first_prompts(masks, kind, side, rng)
                logits, _ = decode(network, embedded, prompts, multimask)
                best = soft_iou(logits, truth.expand_as(logits)).amax(1)
                overlaps[name] += best.tolist()
    return {name: round(float(np.mean(values)), 4) for name, values in overlaps.items()}
