"""Regions of a mask at working size: clicked parts, distances and the border."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.benchmark.baselines.working_image import BACKGROUND, OBJECT, UNKNOWN


def confirmed(mask: NDArray[np.bool_], seeds: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the parts of a mask with a positive click, holes without a negative click filled.

    Parts are 4-connected, as are holes; a hole is a part of the outside that neither touches the
    image's border nor holds a negative click.
    """
    clicked = _parts_with(mask, seeds == OBJECT)
    outside = ~clicked
    return ~_parts_with(outside, border(mask.shape) | (seeds == BACKGROUND))


def likely_background(
    places: NDArray[np.bool_],
    seeds: NDArray[np.uint8],
    before: NDArray[np.bool_] | None,
    gap: float,
) -> NDArray[np.bool_]:
    """Return the pixels of `places` on the border that are likely background.

    Args:
        places: (h, w).
        seeds: (h, w); seeds are left out.
        before: the mask before (h, w), whose pixels are left out; None for none.
        gap: pixels nearer than this to a positive seed are left out, as a share of the longest
            side.
    """
    far = distance_from(seeds == OBJECT) > gap * max(seeds.shape)
    found = places & far & (seeds == UNKNOWN)
    return np.asarray(found if before is None else found & ~before)


def distance_from(pixels: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the Euclidean distance (h, w) from the nearest of `pixels`, at least one."""
    away = np.ascontiguousarray(~pixels).view(np.uint8)
    return np.asarray(cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def border(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the outermost pixels of an image of this shape, (h, w)."""
    frame = np.ones(shape, np.bool_)
    frame[1:-1, 1:-1] = False
    return frame


def _parts_with(mask: NDArray[np.bool_], marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the 4-connected parts of `mask` that hold at least one marked pixel."""
    count, parts = cv2.connectedComponents(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=4
    )
    kept = np.zeros(count, np.bool_)
    kept[parts[marks]] = True
    kept[0] = False
    return np.asarray(kept[parts])
