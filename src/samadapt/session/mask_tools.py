"""Tools for masks: pure functions from a mask (H, W) bool to another one.

Parts of an object are 8-connected, holes are 4-connected parts of the background that do not touch
the border of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.errors import SessionError

Mask = NDArray[np.bool_]

ISLAND_SHARE = 0.1
"""A part smaller than this share of the largest one is an island."""
PIECE_SHARE = 0.005
"""Pieces of a cut smaller than this share of the object do not become objects."""


def remove_islands(mask: Mask) -> Mask:
    """The mask without parts smaller than a tenth of its largest part."""
    parts, areas = _parts(mask)
    if areas.size == 0:
        return mask.copy()
    is_kept = np.concatenate([[False], areas >= ISLAND_SHARE * areas.max()])
    kept: Mask = is_kept[parts]
    return kept


def keep_largest(mask: Mask) -> Mask:
    """The largest part of the mask alone."""
    parts, areas = _parts(mask)
    return mask.copy() if areas.size == 0 else parts == 1 + int(np.argmax(areas))


def fill_holes(mask: Mask) -> Mask:
    """The mask with its holes filled."""
    framed = np.pad(~mask, 1, constant_values=True).view(np.uint8)
    _, parts = cv2.connectedComponents(framed, connectivity=4)
    filled: Mask = (parts != parts[0, 0])[1:-1, 1:-1]
    return filled


def smooth(mask: Mask, radius: float = 2.0) -> Mask:
    """The mask with a smoother outline: a pixel follows the majority around it.

    Args:
        mask: (H, W).
        radius: standard deviation of the Gaussian that weighs the pixels around, in pixels.
    """
    blurred = cv2.GaussianBlur(
        mask.astype(np.float32), (0, 0), radius, borderType=cv2.BORDER_REPLICATE
    )
    smoothed: Mask = blurred > 0.5 + 1e-6
    return smoothed


TOOLS: Mapping[str, Callable[[Mask], Mask]] = MappingProxyType(
    {
        "remove islands": remove_islands,
        "fill holes": fill_holes,
        "keep largest": keep_largest,
        "smooth": smooth,
    }
)
"""Tools whose only input is the mask, by their name in events."""


def apply_tool(name: str, mask: Mask) -> Mask:
    """Apply a tool to a mask.

    Raises:
        SessionError: there is no such tool, or nothing would be left.
    """
    tool = TOOLS.get(name)
    if tool is None:
        raise SessionError(f"mask tool {name!r}: use one of {list(TOOLS)}")
    found = tool(mask)
    if mask.any() and not found.any():
        raise SessionError(f"{name} would leave nothing of the object: it is too small or thin")
    return found


def split(mask: Mask, cut: Mask, pixels: NDArray[np.int64] | None = None) -> list[Mask]:
    """The pieces of a mask along a cut, the largest first; one piece if the cut divides nothing.

    Pixels under the cut go to the piece that is nearest, so the pieces cover the mask. Parts that
    the cut does not touch stay with the largest piece.

    Args:
        mask: (H, W).
        cut: (H, W), the pixels of a stroke.
        pixels: (H, W), how many pixels of the object each place stands for, where that is not one:
            what is large and what is a crumb is told by them.
    """
    weights = mask.astype(np.int64) if pixels is None else pixels
    parts, _ = _parts(mask)
    touched = np.isin(parts, np.unique(parts[mask & cut])) & mask
    count, left = cv2.connectedComponents((touched & ~cut).view(np.uint8), connectivity=4)
    areas = np.bincount(left.ravel(), weights.ravel(), minlength=count)
    large = [k for k in range(1, count) if areas[k] >= PIECE_SHARE * weights[touched].sum()]
    if len(large) < 2:
        return [mask.copy()]
    seeds = np.where(np.isin(left, large), left, 0)
    _, nearest = cv2.distanceTransformWithLabels(
        (seeds == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owners = np.zeros(int(nearest.max()) + 1, seeds.dtype)
    owners[nearest[seeds > 0]] = seeds[seeds > 0]
    pieces = [touched & (owners[nearest] == k) for k in large]
    pieces.sort(key=lambda piece: -int(weights[piece].sum()))
    return [pieces[0] | (mask & ~touched), *pieces[1:]]


def _parts(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The numbers of the parts (H, W), 0 outside, and the area of part 1, 2, ..."""
    count, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    return parts, np.bincount(parts.ravel(), minlength=count)[1:]
