"""Distances along paths that avoid edges of the image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.graph import MCP_Geometric

_SMOOTHING = 0.8
_SOBEL_GAIN = 8


def edge_cost(pixels: NDArray[np.uint8], step: float) -> NDArray[np.float64]:
    """Return the cost of a path per pixel, (h, w): `step` plus the colour gradient's magnitude.

    Args:
        pixels: (h, w, 3) RGB.
        step: in units of 8-bit L*a*b* per pixel; the larger, the more a distance is Euclidean.
    """
    colours = cv2.cvtColor(pixels, cv2.COLOR_RGB2Lab).astype(np.float32)
    colours = cv2.GaussianBlur(colours, (0, 0), _SMOOTHING)
    across = cv2.Sobel(colours, cv2.CV_32F, 1, 0, scale=1 / _SOBEL_GAIN)
    down = cv2.Sobel(colours, cv2.CV_32F, 0, 1, scale=1 / _SOBEL_GAIN)
    return np.asarray(np.sqrt((across**2 + down**2).sum(axis=-1)) + step, np.float64)


def geodesic_distance(cost: NDArray[np.float64], sources: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the cost (h, w) of the cheapest 8-connected path from `sources` (h, w), or inf."""
    if not sources.any():
        return np.full(cost.shape, np.inf)
    found, _ = MCP_Geometric(cost).find_costs(np.argwhere(sources))
    return np.asarray(found)
