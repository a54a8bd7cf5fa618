"""Prompts for training, on tensors: exact and slightly wrong boxes, clicks, corrections."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from samadapt.prompts import Box
from samadapt.training.prompt_sampling import PromptKind, PromptSampler


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPrompts:
    """B prompts of one structure, in pixels of the input.

    Attributes:
        points: (B, N, 2), or None.
        labels: (B, N), or None.
        boxes: (B, 4), or None.
        masks: (B, 1, 4h, 4w) earlier logits, or None.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None

    def corrected(self, points: Tensor, labels: Tensor, masks: Tensor) -> TrainingPrompts:
        """The same with one more click each, (B, 2) and (B,), and the logits so far."""
        points, labels = points[:, None], labels[:, None]
        if self.points is not None and self.labels is not None:
            points = torch.cat([self.points, points], dim=1)
            labels = torch.cat([self.labels, labels], dim=1)
        return replace(self, points=points, labels=labels, masks=masks)


def first_prompts(
    masks: NDArray[np.uint8], kind: PromptKind, side: int, rng: Generator
) -> TrainingPrompts:
    """A first prompt for each of B objects.

    Args:
        masks: (B, S, S), none of them empty.
        kind: of the prompts.
        side: of the input that the masks lie over.
        rng: source of randomness.
    """
    scale = side / masks.shape[-1]
    drawn = [PromptSampler(mask.astype(bool)).draw(kind, rng) for mask in masks]
    if kind.points:
        points = torch.tensor([prompt.points for prompt in drawn], dtype=torch.float32)
        return TrainingPrompts(points * scale, torch.ones(points.shape[:2]))
    corners = [prompt.box.as_tuple() for prompt in drawn if isinstance(prompt.box, Box)]
    return TrainingPrompts(boxes=torch.tensor(corners) * scale)


def correcting_clicks(truth: Tensor, logits: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """A random wrong pixel of each mask, as SAM was trained with.

    Args:
        truth: (B, S, S) bool.
        logits: (B, S, S).
        side: of the input that the masks lie over.

    Returns:
        Points (B, 2) in pixels of the input, labels (B,). Where nothing is wrong, a random pixel
        of the object.
    """
    wrong = truth ^ (logits > 0)
    region = torch.where(wrong.flatten(1).any(1)[:, None, None], wrong, truth)
    drawn = torch.multinomial(region.flatten(1).float(), 1)[:, 0]
    rows, columns = drawn // truth.shape[-1], drawn % truth.shape[-1]
    labels = truth.flatten(1).gather(1, drawn[:, None])[:, 0].float()
    points = torch.stack([columns, rows], dim=1).float() + 0.5
    return points * (side / truth.shape[-1]), labels
