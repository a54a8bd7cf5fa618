"""Losses on decoder logits, over those cells alone that show image rather than padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def entropy_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean binary cross-entropy over valid cells.

    Args:
        logits: (B, h, w).
        target: (B, h, w) in 0..1.
        valid: (h, w) bool.

    Returns:
        (B,).
    """
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (entropy * valid).sum((-2, -1)) / valid.sum().clamp_min(1)


def dice_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - (2 |p t| + 1) / (|p| + |t| + 1) over valid cells (Milletari et al. 2016), (B,)."""
    probability = logits.sigmoid() * valid
    truth = target * valid
    overlap = (probability * truth).sum((-2, -1))
    return 1 - (2 * overlap + 1) / ((probability + truth).sum((-2, -1)) + 1)


def mask_loss(logits: Tensor, target: Tensor, valid: Tensor, view: object = None) -> Tensor:
    """Dice plus cross-entropy, (B,); see `entropy_loss`."""
    return dice_loss(logits, target, valid) + entropy_loss(logits, target, valid)


def overlaps(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """IoU (B,) of the thresholded masks over valid cells; 1 where both are empty."""
    found, true = (logits > 0) & valid, (target > 0.5) & valid
    union = (found | true).sum((-2, -1))
    shared = (found & true).sum((-2, -1))
    return torch.where(union > 0, shared / union.clamp_min(1), 1.0)


def no_loss(logits: Tensor, target: Tensor, valid: Tensor, view: object = None) -> Tensor:
    """0 for each prompt, (B,): for methods that act on masks after the decoder and leave it be."""
    return logits.new_zeros(len(logits))
