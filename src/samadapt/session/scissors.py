"""Intelligent scissors (Mortensen & Barrett 1995): a path between two points along edges."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.errors import PromptError

_MARGIN = 48
"""Margin around the two points, in pixels, within which the path may run."""
_WEAK_EDGE, _STRONG_EDGE = 32, 100
_STEEPEST = 200.0


def edge_path(
    pixels: NDArray[np.uint8], start: tuple[float, float], end: tuple[float, float]
) -> list[tuple[float, float]]:
    """The path from `start` to `end` that costs least, where strong edges cost little.

    Args:
        pixels: (H, W, 3) RGB.
        start: (x, y) in pixels.
        end: (x, y) in pixels.

    Returns:
        Pixel centres (x, y) from start to end, each touching the one before.

    Raises:
        PromptError: a place outside the image.
    """
    height, width = pixels.shape[:2]
    for x, y in (start, end):
        if not (0 <= x < width and 0 <= y < height):
            raise PromptError(
                f"({x}, {y}) lies outside the image of {width} x {height} pixels: click inside it"
            )
    (ax, ay), (bx, by) = ((int(x), int(y)) for x, y in (start, end))
    left, top = max(0, min(ax, bx) - _MARGIN), max(0, min(ay, by) - _MARGIN)
    right, bottom = min(width, max(ax, bx) + _MARGIN + 1), min(height, max(ay, by) + _MARGIN + 1)
    tool = cv2.segmentation.IntelligentScissorsMB()
    tool.setEdgeFeatureCannyParameters(_WEAK_EDGE, _STRONG_EDGE)
    tool.setGradientMagnitudeMaxLimit(_STEEPEST)
    tool.applyImage(np.ascontiguousarray(pixels[top:bottom, left:right]))
    tool.buildMap((ax - left, ay - top))
    found = tool.getContour((bx - left, by - top)).reshape(-1, 2)
    return [(float(x) + left + 0.5, float(y) + top + 0.5) for x, y in found]
