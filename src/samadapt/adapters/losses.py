"""Losses on decoder logits.

Losses for masks count only cells that show image rather than padding; losses for labels and
clicks count only labelled pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from samadapt.models.geometry import InputGeometry
from samadapt.prompts import Click


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
    """0 for each prompt, (B,): for methods that change masks after the decoder, not the decoder."""
    return logits.new_zeros(len(logits))


# -- labels and clicks ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels on a view's decoder grid, as shares of sure object and sure background in each cell.

    Attributes:
        positive: (h, w) share of sure object, 0..1.
        negative: (h, w) share of sure background, 0..1. Padding and the band between the two
            have neither.
    """

    positive: Tensor
    negative: Tensor


def logits_at(logits: Tensor, clicks: Sequence[Click], geometry: InputGeometry) -> Tensor:
    """Logits (B, N) at the exact positions of N clicks, bilinear between the cells' centres.

    Args:
        logits: (B, 1, h, w).
        clicks: in pixels of the original image.
        geometry: of the view that the logits show.
    """
    points = geometry.to_input(torch.tensor([(c.x, c.y) for c in clicks]))
    size = torch.tensor([geometry.padded[1], geometry.padded[0]])
    grid = (points / size * 2 - 1).to(logits.device)[None, None].expand(len(logits), -1, -1, -1)
    return F.grid_sample(logits, grid, padding_mode="border", align_corners=False)[:, 0, 0]


def balanced_entropy(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Half the mean binary cross-entropy over positives plus half that over negatives.

    L = 1/2 sum(p * softplus(-z)) / sum(p) + 1/2 sum(n * softplus(z)) / sum(n): normalised over
    the labelled pixels only (Schön et al. 2024). A side without labels adds 0.

    Args:
        logits: z, any shape.
        positive: p >= 0, weights as object; same shape.
        negative: n >= 0, weights as background; same shape.
    """
    object_loss = (positive * F.softplus(-logits)).sum() / positive.sum().clamp_min(1e-6)
    background_loss = (negative * F.softplus(logits)).sum() / negative.sum().clamp_min(1e-6)
    return (object_loss + background_loss) / 2


def click_loss(logits: Tensor, clicks: Sequence[Click], geometry: InputGeometry) -> Tensor:
    """`balanced_entropy` at the clicks, the sparse loss of Schön et al. 2024.

    Logits are sampled at the clicks' exact positions, so that no click is lost on a coarse grid.

    Args:
        logits: (1, 1, h, w).
        clicks: at least one.
        geometry: of the view that the logits show.
    """
    found = logits_at(logits, clicks, geometry)
    label = torch.tensor([float(c.positive) for c in clicks], device=logits.device)[None]
    return balanced_entropy(found, label, 1 - label)


def gaussian_click_loss(
    logits: Tensor, clicks: Sequence[Click], geometry: InputGeometry, sigma: float
) -> Tensor:
    """Cross-entropy around the clicks (OAIMS), weighted by w = exp(-d^2 / (2 sigma^2)).

    d is the distance to a click in original pixels. A pixel counts only if its current
    pseudo-label (the sign of the logit) is that of the click, so that a neighbourhood which the
    model labels otherwise is not forced. The click's own position always counts.

    Args:
        logits: (1, 1, h, w).
        clicks: at least one.
        geometry: of the view that the logits show.
        sigma: in pixels of the original image.
    """
    height, width = logits.shape[-2:]
    scale_x, scale_y = geometry.scale
    xs = (torch.arange(width) + 0.5) * geometry.padded[1] / width / scale_x
    ys = (torch.arange(height) + 0.5) * geometry.padded[0] / height / scale_y
    valid = geometry.valid((height, width)).float()
    sides = [torch.zeros(height, width), torch.zeros(height, width)]
    label = (logits.detach()[0, 0] > 0).cpu()
    for click in clicks:
        dx, dy = xs + geometry.corner[0] - click.x, ys + geometry.corner[1] - click.y
        weight = torch.exp(-(dx[None, :] ** 2 + dy[:, None] ** 2) / (2 * sigma**2)) * valid
        agreeing = weight * (label == click.positive)
        sides[click.label] = torch.maximum(sides[click.label], agreeing)
    device = logits.device
    around = balanced_entropy(logits[0, 0], sides[1].to(device), sides[0].to(device))
    return around + click_loss(logits, clicks, geometry)


def distillation_loss(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy (h, w) towards the teacher's probabilities, where the view shows image.

    Args:
        student: logits (1, 1, h, w).
        teacher: logits (1, 1, h, w), no gradient.
        valid: (h, w) bool.
    """
    target = teacher.detach().sigmoid()
    loss = F.binary_cross_entropy_with_logits(student, target, reduction="none")[0, 0]
    return (loss * valid).sum() / valid.sum().clamp_min(1)


def focal_entropy(logits: Tensor, labels: Labels, gamma: float = 2.0) -> Tensor:
    """Cross-entropy weighted by w = |s - t|^gamma and divided by the sum of w (at least 1).

    Sofiiuk et al. 2019, eq. 3, over labelled cells only, with s = sigmoid(z) and t the share of
    object in the labelled part of a cell. Wrong cells of object and background weigh the same. If
    the two sides were averaged separately, one missing cell of a small object would weigh as much
    as hundreds of superfluous cells, and masks would grow too large.

    Args:
        logits: z, (1, 1, h, w).
        labels: p and n, (h, w).
        gamma: focus on wrong cells.
    """
    z = logits[0, 0]
    positive, negative = labels.positive.to(z.device), labels.negative.to(z.device)
    known = positive + negative
    target = positive / known.clamp_min(1e-6)
    weight = (z.detach().sigmoid() - target).abs() ** gamma * known
    error = F.binary_cross_entropy_with_logits(z, target, reduction="none")
    return (weight * error).sum() / weight.sum().clamp_min(1)


def label_loss(
    logits: Tensor, labels: Labels, entropy: float, dice: float, focal: float = 0.0
) -> Tensor:
    """Entropy * `balanced_entropy` + focal * `focal_entropy` + dice * (1 - Dice).

    Dice = (2 sum(s * p) + 1) / (sum(s * (p + n)) + sum(p) + 1) with s = sigmoid(z). Unlabelled
    pixels are ignored.

    Args:
        logits: z, (1, 1, h, w).
        labels: p and n, (h, w).
        entropy: weight of the balanced cross-entropy.
        dice: weight of the Dice loss.
        focal: weight of the normalised focal loss.
    """
    z = logits[0, 0]
    positive, negative = labels.positive.to(z.device), labels.negative.to(z.device)
    loss = z.new_zeros(())
    if entropy:
        loss = loss + entropy * balanced_entropy(z, positive, negative)
    if focal:
        loss = loss + focal * focal_entropy(logits, labels)
    if dice:
        share = z.sigmoid()
        overlap = (share * positive).sum()
        total = (share * (positive + negative)).sum() + positive.sum()
        loss = loss + dice * (1 - (2 * overlap + 1) / (total + 1))
    return loss


def score_loss(logits: Tensor, scores: Tensor, labels: Labels) -> Tensor:
    """Mean squared error between predicted IoUs and the IoUs on labelled pixels.

    Args:
        logits: (1, K, h, w) of K candidates.
        scores: (1, K) their predicted IoUs.
        labels: p and n, (h, w).
    """
    positive, negative = labels.positive.to(logits.device), labels.negative.to(logits.device)
    found = (logits.detach()[0] > 0).float()
    both = (found * positive).sum((-2, -1))
    either = positive.sum() + (found * negative).sum((-2, -1))
    return (scores[0] - both / either.clamp_min(1e-6)).square().mean()
