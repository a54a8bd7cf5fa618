"""Losses for training nano. All masks are soft targets at the logits' resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def normalized_focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss divided by its own total weight, per mask (Sofiiuk et al. 2019, eq. 3).

    Args:
        logits: (..., h, w).
        target: (..., h, w) in 0..1.
        gamma: focus on wrong pixels.

    Returns:
        (...,) mean loss per mask; easy pixels lose their say, but the total does not fade.
    """
    probability = logits.sigmoid()
    weight = (probability - target).abs().detach() ** gamma
    error = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (weight * error).sum((-2, -1)) / weight.sum((-2, -1)).clamp_min(1.0)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - Dice of the probabilities, per mask (...,)."""
    probability = logits.sigmoid()
    overlap = (probability * target).sum((-2, -1))
    total = (probability + target).sum((-2, -1))
    return 1 - (2 * overlap + 1) / (total + 1)


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Normalised focal plus cross-entropy plus Dice, per mask (...,)."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((-2, -1))
    return normalized_focal_loss(logits, target) + entropy + dice_loss(logits, target)


def soft_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU (...,) of the thresholded masks."""
    predicted, true = logits > 0, target > 0.5
    union = (predicted | true).sum((-2, -1)).clamp_min(1)
    return (predicted & true).sum((-2, -1)) / union


def region_contrastive_loss(
    keys: Tensor, regions: Tensor, pixels: int = 192, temperature: float = 0.1
) -> Tensor:
    """Supervised contrastive loss over pixels of one image (Khosla et al. 2020, eq. 2).

    Args:
        keys: (B, C, h, w) unit-length features.
        regions: (B, h, w) region numbers; 0 is unknown and serves only as a negative.
        pixels: positions drawn per image, small regions more often than their area says.
        temperature: of the softmax.
    """
    batch, channels = keys.shape[:2]
    flat_keys = keys.reshape(batch, channels, -1).float()
    flat_regions = regions.reshape(batch, -1)
    pixels = min(pixels, flat_regions.shape[1])
    drawn = torch.multinomial(_balance(flat_regions), pixels)
    chosen = flat_keys.gather(2, drawn[:, None].expand(-1, channels, -1))
    number = flat_regions.gather(1, drawn)
    with torch.autocast(keys.device.type, enabled=False):
        similarity = chosen.transpose(1, 2) @ chosen / temperature
    itself = torch.eye(pixels, dtype=torch.bool, device=keys.device)
    same = (number[:, :, None] == number[:, None, :]) & ~itself & (number > 0)[:, :, None]
    log_share = similarity.masked_fill(itself, -1e4).log_softmax(dim=-1)
    count = same.sum(-1)
    loss = -(log_share * same).sum(-1) / count.clamp_min(1)
    anchors = count > 0
    return (loss * anchors).sum() / anchors.sum().clamp_min(1)


def _balance(regions: Tensor) -> Tensor:
    """Weights (B, N) that fall with the square root of each region's size."""
    sizes = torch.zeros(len(regions), int(regions.max()) + 1, device=regions.device)
    sizes.scatter_add_(1, regions, torch.ones_like(regions, dtype=sizes.dtype))
    return sizes.gather(1, regions) ** -0.5
