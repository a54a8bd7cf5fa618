"""Non-maximum suppression over masks: of several masks of one object only the best is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samadapt.data.rle import Rle


def suppress(
    masks: Sequence[Rle],
    scores: Sequence[float],
    overlap: float,
    containment: float | None = None,
    most: int | None = None,
) -> list[int]:
    """Indices of the masks to keep, the best score first (ties: the earlier mask).

    A mask is dropped if its IoU with a better kept one exceeds `overlap`, or if the two overlap
    by more than `containment` of the smaller one. Masks are compared instead of boxes, so that
    slanted neighbours do not suppress each other.

    Args:
        masks: N of one image.
        scores: N.
        overlap: largest IoU of two masks that are kept.
        containment: largest share of the smaller one; None allows parts inside wholes.
        most: largest number of kept masks.
    """
    from pycocotools import mask as coco

    packed = [{"size": list(mask.size), "counts": mask.counts} for mask in masks]
    areas = np.array([mask.area for mask in masks], np.float64)
    boxes = np.array([mask.box for mask in masks], np.float64).reshape(-1, 4)
    ends = boxes[:, :2] + boxes[:, 2:]
    kept: list[int] = []
    for index in np.argsort(-np.asarray(scores, np.float64), kind="stable").tolist():
        if most is not None and len(kept) >= most:
            break
        if areas[index] == 0:
            continue
        before = np.array(kept, np.int64)
        apart = (boxes[before, :2] >= ends[index]) | (ends[before] <= boxes[index, :2])
        near = before[~apart.any(axis=1)]
        if near.size:
            better = [packed[other] for other in near]
            ious = coco.iou([packed[index]], better, [0] * len(better))[0]
            if ious.max() > overlap:
                continue
            # |a ∩ b| from the IoU: i = u (|a| + |b|) / (1 + u).
            shared = ious * (areas[index] + areas[near]) / (1 + ious)
            smaller = np.minimum(areas[index], areas[near])
            if containment is not None and (shared / smaller).max() > containment:
                continue
        kept.append(index)
    return kept
