"""Targets of the point mover: the true position of each point, and the gain of the move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from samadapt.adapters.point_matching.contours import Points, draw, trace
from samadapt.adapters.point_matching.matching import partners, targets
from samadapt.adapters.point_matching.module import Moved
from samadapt.adapters.point_matching.points import Outline, PointSet
from samadapt.adapters.point_matching.sampling import Frame
from samadapt.metrics import boundary_iou, iou

_FINER = 2
"""Masks are compared on a grid finer than the decoder's by this factor."""

_DILATION = 0.02
"""Width of the boundary, as a share of the image's diagonal, as in `boundary_iou`."""


@dataclass(frozen=True, slots=True, eq=False)
class PointTargets:
    """Target positions of points.

    Attributes:
        places: (P, 2) in input pixels; undefined for a point without a partner.
        known: (P,) bool, whether the point has a partner.
    """

    places: Tensor
    known: Tensor


def point_targets(
    outlines: Sequence[Outline], truth: Sequence[Sequence[Points]], limit: float, slack: float
) -> PointTargets:
    """True points for the points of B masks.

    Args:
        outlines: of the predicted masks.
        truth: contours of the true masks, in input pixels.
        limit: contours further apart than this, in sizes of the object, are not matched.
        slack: see `targets`.
    """
    places, known = [np.zeros((0, 2))], [np.zeros(0, np.bool_)]
    for outline, true in zip(outlines, truth, strict=True):
        used = [i for i, count in enumerate(outline.counts) if count]
        contours = [outline.contours[i] for i in used]
        found = partners(contours, true, limit * outline.size)
        for index, contour, partner in zip(used, contours, found, strict=True):
            count = outline.counts[index]
            known.append(np.full(count, partner is not None))
            if partner is None:
                places.append(np.zeros((count, 2)))
            else:
                where = np.arange(count) / count
                places.append(targets(contour, true[partner], where, slack))
    return PointTargets(
        torch.tensor(np.concatenate(places), dtype=torch.float32),
        torch.tensor(np.concatenate(known)),
    )


def point_loss(moved: Moved, points: PointSet, wanted: PointTargets, beta: float) -> Tensor:
    """Mean smooth-L1 distance to the true points, over points and rounds, for each mask (B,).

        sum_xy smooth_l1((p - g) / size, beta) / beta

    Args:
        moved: predicted positions.
        points: positions before the move.
        wanted: true positions.
        beta: from this distance on, in sizes of the object, the loss grows linearly.
    """
    device = points.places.device
    known, goal = wanted.known.to(device), wanted.places.to(device)
    size = points.sizes[points.owner, None]
    owner = points.owner[known]
    counts = torch.bincount(owner, minlength=len(points.sizes)).clamp_min(1)
    total = moved.confidence.new_zeros(len(points.sizes))
    for places in moved.places:
        error = ((places - goal) / size)[known]
        each = F.smooth_l1_loss(error, torch.zeros_like(error), beta=beta, reduction="none")
        total = total.index_add(0, owner, each.sum(-1) / beta)
    return total / counts / max(1, len(moved.places))


def gains(
    outlines: Sequence[Outline], moved: Sequence[Points], target: Tensor, frame: Frame, share: float
) -> NDArray[np.float64]:
    """Return the gain in IoU of each redrawn mask over the mask before, (B,) in -1..1.

    It is the mean of the gains in boundary IoU and in IoU.

    Args:
        outlines: before the move.
        moved: offsets (P_b, 2) of each mask's points, in input pixels.
        target: (B, h, w) soft true masks.
        frame: placement of their cells in the input.
        share: width of the boundary, as a share of the diagonal of (h, w).
    """
    found = np.zeros(len(outlines))
    size = (target.shape[-2] * _FINER, target.shape[-1] * _FINER)
    fine = F.interpolate(target[:, None], size, mode="bilinear", align_corners=False)[:, 0] > 0.5
    for row, (outline, offsets) in enumerate(zip(outlines, moved, strict=True)):
        true = fine[row].cpu().numpy()
        if not len(offsets) or not true.any():
            continue
        before = draw([frame.to_pixels(c) * _FINER for c in outline.contours], size)
        after = draw([frame.to_pixels(c) * _FINER for c in outline.moved(offsets)], size)
        window = _around(true | before | after, max(2, math.ceil(share * math.hypot(*size)) + 1))
        true, before, after = true[window], before[window], after[window]
        narrow = share * math.hypot(*size) / math.hypot(*true.shape)
        found[row] = (
            boundary_iou(after, true, narrow)
            - boundary_iou(before, true, narrow)
            + iou(after, true)
            - iou(before, true)
        ) / 2
    return found


def boundary_share(
    frame: Frame, original: tuple[int, int], scale: float, size: Sequence[int]
) -> float:
    """The boundary's width of `boundary_iou` on an image, as a share of the diagonal of (h, w).

    Args:
        frame: placement of the cells in the input.
        original: (height, width) of the image.
        scale: input pixels per original pixel.
        size: (h, w).
    """
    pixels = _DILATION * math.hypot(*original) * scale
    return pixels / max(frame.scale) / math.hypot(*size)


def contours_of(pictures: Tensor, frame: Frame) -> list[list[Points]]:
    """Contours at 0, in input pixels, of pictures (B, H, W)."""
    arrays = pictures.detach().float().cpu().numpy()
    return [[frame.to_input(contour) for contour in trace(array)] for array in arrays]


def _around(mask: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
    )
