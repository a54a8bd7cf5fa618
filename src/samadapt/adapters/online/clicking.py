"""Simulated clicks for training and for evidence: where a mask differs from the accepted one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.prompts import Click


def next_click(accepted: NDArray[np.bool_], found: NDArray[np.bool_]) -> Click | None:
    """The centre of the larger error: the pixel deepest inside a missing or superfluous part.

    Args:
        accepted: the mask that is wanted, (H, W).
        found: the mask so far, (H, W).

    Returns:
        None where the masks are equal.
    """
    missing, extra = _depth(accepted & ~found), _depth(found & ~accepted)
    positive = bool(missing.max() >= extra.max())
    depth = missing if positive else extra
    return _deepest(depth, positive) if depth.max() > 0 else None


def click_per_error(
    accepted: NDArray[np.bool_], found: NDArray[np.bool_], most: int
) -> tuple[Click, ...]:
    """One click in the middle of each connected error, the largest errors first.

    Args:
        accepted: the mask that is wanted, (H, W).
        found: the mask so far, (H, W).
        most: no more clicks than this.
    """
    clicks: list[tuple[int, Click]] = []
    for region, positive in ((accepted & ~found, True), (found & ~accepted, False)):
        count, parts, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
        areas = statistics[1:count, cv2.CC_STAT_AREA]
        for index in np.argsort(-areas, kind="stable")[:most]:
            part = np.asarray(parts == index + 1)
            clicks.append((int(areas[index]), _deepest(_depth(part), positive)))
    clicks.sort(key=lambda pair: -pair[0])
    return tuple(click for _, click in clicks[:most])


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def _deepest(depth: NDArray[np.float32], positive: bool) -> Click:
    y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return Click(float(x) + 0.5, float(y) + 0.5, positive)


def _depth(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    padded = np.pad(region, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(depth[1:-1, 1:-1])
