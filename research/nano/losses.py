"""Losses for training nano. All masks are soft targets at the logits' resolution."""

from __future__ import annotations

from itertools import permutations

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


def candidate_loss(costs: Tensor, valid: Tensor, pull: float = 0.05) -> Tensor:
    """Loss (B,) of K candidate masks that together shall cover every valid level.

    A click may mean any of several nested masks (levels). Each valid one is taught to a candidate
    of its own, in the cheapest assignment; with one valid level that is the best candidate
    (multiple choice learning, Guzman-Rivera et al. 2012). All candidates are pulled a little
    towards all levels, so that none is left behind.

    Args:
        costs: (B, L, K) mask loss of each candidate against each level, L <= K.
        valid: (B, L) bool, which levels there are; without any the loss is 0.
        pull: share of the mean over candidates.
    """
    levels, count = costs.shape[1:]
    orders = torch.tensor(list(permutations(range(count), levels)), device=costs.device)
    there = valid.to(costs.dtype)
    matched = costs[:, torch.arange(levels, device=costs.device), orders]  # (B, orders, L)
    cheapest = (matched * there[:, None]).sum(-1).amin(-1)
    return cheapest + pull * (costs.mean(-1) * there).sum(-1)


def ranking_loss(
    scores: Tensor, overlaps: Tensor, margin: float = 0.05, temperature: float = 0.1
) -> Tensor:
    """Pairwise logistic loss: the better mask of a pair shall have the better score.

    RankNet with soft targets (Burges et al. 2005, eq. 3): for masks i and j the probability
    sigmoid((s_i - s_j) / T) shall be sigmoid((IoU_i - IoU_j) / T). It is smallest where scores
    differ as much as the IoUs do, and so does not pull scores away from the IoUs they predict.

    Args:
        scores: (B, K) predicted IoUs.
        overlaps: (B, K) true IoUs.
        margin: pairs whose IoUs differ by less are left out.
        temperature: T.

    Returns:
        Mean over the pairs that count; 0 if there is none.
    """
    first, second = torch.triu_indices(scores.shape[1], scores.shape[1], 1, device=scores.device)
    found = (scores[:, first] - scores[:, second]) / temperature
    true = overlaps[:, first] - overlaps[:, second]
    losses = F.binary_cross_entropy_with_logits(
        found, (true / temperature).sigmoid(), reduction="none"
    )
    distinct = (true.abs() > margin).to(losses.dtype)
    return (losses * distinct).sum() / distinct.sum().clamp_min(1)


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
    # Drawn without replacement and without waiting for the device (Efraimidis and Spirakis 2006).
    weights = _balance(flat_regions)
    drawn = (torch.rand_like(weights).log() / weights).topk(pixels, dim=1).indices
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
    ordered = regions.sort(dim=1).values
    after = torch.searchsorted(ordered, regions.contiguous(), right=True)
    before = torch.searchsorted(ordered, regions.contiguous())
    return (after - before).float() ** -0.5
