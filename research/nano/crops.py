"""Windows on an image: where a training sample is cut, and the cutting itself.

A window is an affine map (2, 3) from image to crop, in coordinates whose origin is the top-left
corner of the top-left pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

PADDING_GREY = 115
LARGEST_ZOOM = 5.0
"""Close-ups enlarge by no more than this."""

Window = NDArray[np.float64]


def random_window(
    rng: Generator, size: tuple[int, int], mask: NDArray[np.uint8], scale: float, side: int
) -> Window:
    """A crop of the image resampled by `scale` that shows part of `mask`; half of them mirrored.

    Args:
        rng: source of randomness.
        size: (height, width) of the image.
        mask: (h, w), the object to show, at any resolution.
        scale: crop pixels per image pixel.
        side: height and width of the crop.
    """
    height, width = size[0] * scale, size[1] * scale
    ys, xs = np.nonzero(mask)
    pick = int(rng.integers(len(ys))) if len(ys) else 0
    at = (width / 2, height / 2)
    if len(ys):
        at = (xs[pick] * width / mask.shape[1], ys[pick] * height / mask.shape[0])
    corner = []
    for extent, position in ((width, at[0]), (height, at[1])):
        if extent <= side:
            corner.append(-rng.uniform(0, side - extent) if rng.random() < 0.5 else 0.0)
        else:
            lowest, highest = max(0.0, position - side), min(extent - side, position)
            corner.append(rng.uniform(min(lowest, highest), highest))
    window = np.array([[scale, 0, -corner[0]], [0, scale, -corner[1]]])
    return _mirrored(rng, window, side)


def close_up(
    rng: Generator,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    side: int,
    margins: tuple[float, float] = (1.4, 2.5),
) -> Window:
    """A square window around one object, its box enlarged, off centre; half of them mirrored.

    Half of the windows that leave the image are moved inside, the others show padding.

    Args:
        rng: source of randomness.
        size: (height, width) of the image.
        box: (x, y, width, height) of the object.
        side: height and width of the crop.
        margins: the window's extent in multiples of the box's longer side, from and to; it is
            larger where the crop would enlarge by more than `LARGEST_ZOOM`.
    """
    x, y, width, height = box
    longer = max(width, height)
    enlarged = longer * math.exp(rng.uniform(math.log(margins[0]), math.log(margins[1])))
    extent = max(enlarged, side / LARGEST_ZOOM)
    room = 0.5 * (extent - longer)
    corner = []
    inside = rng.random() < 0.5
    for start, reach, whole in ((x, width, size[1]), (y, height, size[0])):
        centre = start + reach / 2 + rng.uniform(-0.6, 0.6) * room
        first = centre - extent / 2
        if inside and extent <= whole:
            first = min(max(first, 0.0), whole - extent)
        corner.append(first)
    scale = side / extent
    window = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    return _mirrored(rng, window, side)


def detail(
    rng: Generator,
    size: tuple[int, int],
    mask: NDArray[np.uint8],
    side: int,
    extents: tuple[float, float] = (0.25, 0.9),
) -> Window:
    """A square window on part of an object's outline; half of them mirrored.

    It is what a correction is answered on, see `samadapt.models.local_refinement`.

    Args:
        rng: source of randomness.
        size: (height, width) of the image.
        mask: (h, w) of the object, not empty, at any resolution.
        side: height and width of the crop.
        extents: the window's extent in multiples of the longer side of the object's box, from and
            to; it is larger where the crop would enlarge by more than `LARGEST_ZOOM`.
    """
    ys, xs = np.nonzero(mask & ~cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=0))
    pick = int(rng.integers(len(ys)))
    across, down = size[1] / mask.shape[1], size[0] / mask.shape[0]
    _, _, width, height = box_in(mask, size)
    share = math.exp(rng.uniform(math.log(extents[0]), math.log(extents[1])))
    extent = max(max(width, height) * share, side / LARGEST_ZOOM)
    corner = []
    for at, whole in (((xs[pick] + 0.5) * across, size[1]), ((ys[pick] + 0.5) * down, size[0])):
        first = at + rng.uniform(-0.3, 0.3) * extent - extent / 2
        if extent <= whole:
            first = min(max(first, 0.0), whole - extent)
        corner.append(first)
    scale = side / extent
    window = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    return _mirrored(rng, window, side)


def cut_image(image: NDArray[np.uint8], window: Window, side: int) -> NDArray[np.uint8]:
    """(side, side, 3) uint8 of an RGB image; grey where the window leaves it."""
    scale = math.sqrt(abs(np.linalg.det(window[:, :2])))
    source, shrunk = image, 1.0
    if scale < 0.7:  # warping alone would alias
        shrunk = scale
        extent = [max(1, round(v * scale)) for v in image.shape[1::-1]]
        source = cv2.resize(image, extent, interpolation=cv2.INTER_AREA)
    crop = cv2.warpAffine(
        source,
        _between_pixels(window, shrunk),
        (side, side),
        flags=cv2.INTER_LINEAR,
        borderValue=(PADDING_GREY,) * 3,
    )
    return np.asarray(crop, np.uint8)


def cut_masks(
    masks: Sequence[NDArray[np.uint8]], size: tuple[int, int], window: Window, side: int
) -> list[NDArray[np.bool_]]:
    """Masks (h, w) of 0 and 1 as bool (side, side), with smooth outlines however enlarged.

    Args:
        masks: at any resolution.
        size: (height, width) of the image to which the window belongs.
        window: where to cut.
        side: height and width of the crops.
    """
    return [_cut_mask(mask, size, window, side) for mask in masks]


def box_in(mask: NDArray[np.uint8], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Box (x, y, width, height) of a mask (h, w), in pixels of an image (height, width)."""
    across, down = size[1] / mask.shape[1], size[0] / mask.shape[0]
    x, y, width, height = cv2.boundingRect(mask)
    return x * across, y * down, width * across, height * down


def cut_labels(labels: NDArray[np.int32], window: Window, side: int) -> NDArray[np.int64]:
    """Region numbers (side/8, side/8) at the centres of the crop's 8 x 8 cells; 0 outside."""
    matrix = _between_pixels(window)
    full = cv2.warpAffine(labels.astype(np.float32), matrix, (side, side), flags=cv2.INTER_NEAREST)
    return np.asarray(full[4::8, 4::8], np.int64)


def _cut_mask(
    mask: NDArray[np.uint8], size: tuple[int, int], window: Window, side: int
) -> NDArray[np.bool_]:
    x, y, width, height = box_in(mask, size)
    corners = np.array([[x, y, 1.0], [x + width, y + height, 1.0]]) @ window.T
    if (corners.max(0) <= 0).any() or (corners.min(0) >= side).any():
        return np.zeros((side, side), bool)
    grey = mask * np.uint8(255)
    if mask.shape != size:
        window = window @ np.diag([size[1] / mask.shape[1], size[0] / mask.shape[0], 1.0])
        grey = cv2.GaussianBlur(grey, (3, 3), 0.7)
    matrix = _between_pixels(window)
    return np.asarray(cv2.warpAffine(grey, matrix, (side, side), flags=cv2.INTER_LINEAR) > 127)


def _mirrored(rng: Generator, window: Window, side: int) -> Window:
    if rng.random() < 0.5:
        window[0] = -window[0]
        window[0, 2] += side
    return window


def _between_pixels(window: Window, shrunk: float = 1.0) -> Window:
    """The same map for OpenCV, which counts from pixel centres; from an image shrunk before."""
    linear = window[:, :2] / shrunk
    shift = window[:, 2] + linear @ (0.5, 0.5) - 0.5
    return np.column_stack([linear, shift])
