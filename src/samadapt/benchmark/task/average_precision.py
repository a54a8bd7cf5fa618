"""Average precision of masks with scores, as COCO defines it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Least IoU of a mask that counts as a hit: 0.5, 0.55, ..., 0.95."""
MOST = 100
"""Largest number of masks per image, those with the highest scores."""
_RECALLS = np.linspace(0, 1, 101)
_HIT, _MISS, _CROWD = "1", "0", "x"


@dataclass(frozen=True, slots=True)
class Detection:
    """One predicted mask, matched to the objects of its image.

    Attributes:
        score: higher is more certain.
        hits: one character per threshold: "1" for an object, "0" for none, "x" for a crowd, which
            does not count.
    """

    score: float
    hits: str


@dataclass(frozen=True, slots=True)
class Detections:
    """Detections in one image, and the number of true objects without crowds."""

    found: tuple[Detection, ...]
    objects: int


def match(
    masks: Sequence[Rle],
    scores: Sequence[float],
    truths: Sequence[Rle],
    crowds: Sequence[bool] = (),
) -> Detections:
    """Assign masks to the objects of an image, the highest score first.

    At each threshold a mask is matched to the unmatched object with the largest IoU, if that is at
    least the threshold. An unmatched mask inside a crowd is ignored; its IoU with a crowd is the
    share of the mask in it.

    Args:
        masks: N predicted masks.
        scores: N.
        truths: M masks of the image, of the same size.
        crowds: M, True for a crowd; none are crowds if left out.
    """
    from pycocotools import mask as coco

    crowd = np.zeros(len(truths), np.bool_)
    crowd[: len(crowds)] = crowds
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")[:MOST]
    # Objects before crowds: a mask that fits both is matched to the object.
    places = np.argsort(crowd, kind="stable")
    crowd = crowd[places]
    ious = np.zeros((len(order), len(truths)))
    if len(order) and len(truths):
        ious = coco.iou(
            [_packed(masks[i]) for i in order],
            [_packed(truths[i]) for i in places],
            crowd.astype(int).tolist(),
        )
    columns = [_assign(ious, crowd, threshold) for threshold in THRESHOLDS]
    hits = ["".join(marks) for marks in zip(*columns, strict=True)]
    found = (Detection(float(scores[i]), mark) for i, mark in zip(order, hits, strict=True))
    return Detections(tuple(found), int((~crowd).sum()))


def average_precision(
    images: Sequence[Detections], thresholds: Sequence[float] = THRESHOLDS
) -> float | None:
    """Return the mean over thresholds of the area under the precision-recall curve, at 101 recalls.

    Returns:
        0..1; None where there is no object.
    """
    objects = sum(image.objects for image in images)
    if not objects:
        return None
    found = [detection for image in images for detection in image.found]
    order = np.argsort([-one.score for one in found], kind="stable")
    marks = np.array([list(found[i].hits) for i in order]).reshape(-1, len(THRESHOLDS))
    areas = [_area(marks[:, THRESHOLDS.index(threshold)], objects) for threshold in thresholds]
    return float(np.mean(areas))


def _assign(ious: NDArray[np.float64], crowd: NDArray[np.bool_], threshold: float) -> list[str]:
    free = np.ones(len(crowd), np.bool_)
    marks = []
    for row in ious:
        fits = (row >= threshold) & free
        objects = np.where(fits & ~crowd, row, -1.0)
        if objects.size and objects.max() >= 0:
            # Of equal IoUs the last one counts, as in COCO's own tools.
            free[len(objects) - 1 - int(objects[::-1].argmax())] = False
            marks.append(_HIT)
        else:
            marks.append(_CROWD if (fits & crowd).any() else _MISS)
    return marks


def _area(marks: NDArray[np.str_], objects: int) -> float:
    counted = marks[marks != _CROWD] == _HIT
    if not counted.size:
        return 0.0
    hits = np.cumsum(counted)
    recall = hits / objects
    precision = hits / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, _RECALLS, side="left")
    reached = precision[places[places < len(precision)]]
    return float(reached.sum() / len(_RECALLS))


def _packed(mask: Rle) -> dict[str, object]:
    return {"size": list(mask.size), "counts": mask.counts}
