"""Motion between two slices: moves a mask to its object's position in the other slice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from samadapt.models.embedding import ImageEmbedding

Mask = NDArray[np.bool_]

_CLOSE_UP = 256
"""Longer side, in pixels, of the close-up on which optical flow is computed."""
_MAGNIFICATION = 4.0
"""Largest enlargement of a close-up."""
_SURROUNDINGS = 0.6
"""Margin of the close-up around an object, as a share of its side."""
_LEAST = 16
"""Smallest margin of the close-up, in pixels."""
_REACH = 0.12
"""Largest shift in the search for an object, as a share of the grid's side."""
_RIM = 5
"""Margin around an object, in pixels, that is compared too."""
_WORTH = 0.9
"""The shift by features is used if its error is at most this share of the error without it."""


@dataclass(frozen=True, slots=True, eq=False)
class SliceView:
    """A slice in the form for motion.

    Attributes:
        grey: (H, W) uint8.
        embedding: of the whole slice.
    """

    grey: NDArray[np.uint8]
    embedding: ImageEmbedding

    @classmethod
    def of(cls, pixels: NDArray[np.uint8], embedding: ImageEmbedding) -> SliceView:
        """From pixels (H, W, 3)."""
        return cls(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8), embedding)


class Motion:
    """The motion from one slice to another.

    Dense optical flow (DIS; Kroeger et al., ECCV 2016) follows small motion and changes of shape.
    For larger motion the model's features give the shift under which the object's features agree
    best with those of the other slice. The motion that explains the pixels better is used.
    """

    def __init__(self, before: SliceView, after: SliceView) -> None:
        self._before, self._after = before, after

    def carry(self, mask: Mask) -> Mask:
        """The mask (H, W) moved to the other slice; empty if the object left the picture."""
        if not mask.any():
            return mask.copy()
        best, least = np.zeros_like(mask), math.inf
        for shift in dict.fromkeys(((0, 0), self._jump(mask))):
            moved, error = self._moved(mask, shift)
            if error < _WORTH * least:
                best, least = moved, error
        return best

    # -- private --------------------------------------------------------------------------

    def _moved(self, mask: Mask, shift: tuple[int, int]) -> tuple[Mask, float]:
        """The mask shifted and then warped by flow, with its error in the pixels."""
        x0, y0, x1, y1 = _surroundings(mask)
        scale = min(_CLOSE_UP / max(x1 - x0, y1 - y0), _MAGNIFICATION)
        size = max(8, round((x1 - x0) * scale)), max(8, round((y1 - y0) * scale))
        there = x0 + shift[0], y0 + shift[1], x1 + shift[0], y1 + shift[1]
        before = _close_up(self._before.grey, (x0, y0, x1, y1), size, cv2.BORDER_REPLICATE)
        after = _close_up(self._after.grey, there, size, cv2.BORDER_REPLICATE)
        soft = _close_up(mask.astype(np.float32), (x0, y0, x1, y1), size, cv2.BORDER_CONSTANT)
        rows, columns = np.mgrid[: size[1], : size[0]].astype(np.float32)
        places = np.stack([columns, rows], axis=-1) + _flow(after, before)
        moved = _sample(soft, places)
        look = _sample(before.astype(np.float32), places)
        side = 2 * _RIM + 1
        around = cv2.dilate(moved, np.ones((side, side), np.uint8)) > 1 / 2
        if not around.any():
            return np.zeros_like(mask), math.inf
        error = float(np.abs(look - after)[around].mean())
        shown = cv2.resize(moved, (x1 - x0, y1 - y0), interpolation=_resampling(1 / scale))
        return _placed(np.asarray(shown > 1 / 2), there[:2], mask.shape), error

    def _jump(self, mask: Mask) -> tuple[int, int]:
        """Shift (x, y) in pixels under which the features agree best."""
        here, there = self._before.embedding, self._after.embedding
        grid, geometry = here.grid, here.geometry
        weights = geometry.to_decoder(torch.tensor(mask)[None, None], grid)[0, 0]
        rows, columns = torch.nonzero(weights > 1 / 4, as_tuple=True)
        if len(rows) == 0:
            return 0, 0
        top, left = int(rows.min()), int(columns.min())
        bottom, right = int(rows.max()) + 1, int(columns.max()) + 1
        reach = max(2, round(_REACH * max(grid)))
        unit, target = (F.normalize(e.image[0].float().cpu(), dim=0) for e in (here, there))
        kernel = unit[:, top:bottom, left:right] * weights[top:bottom, left:right]
        padded = F.pad(target, (reach,) * 4)
        part = padded[:, top : bottom + 2 * reach, left : right + 2 * reach]
        agreement = F.conv2d(part[None], kernel[None])[0, 0]
        row, column = divmod(int(agreement.argmax()), agreement.shape[1])
        x, y = (
            (place - reach) * geometry.padded[1 - axis] / grid[1 - axis] / geometry.scale[axis]
            for axis, place in enumerate((column, row))
        )
        return round(x), round(y)


def signed_distance(mask: Mask) -> NDArray[np.float32]:
    """Pixels to the outline of a mask, positive inside; minus the diagonal for an empty one."""
    if not mask.any():
        return np.full(mask.shape, -math.hypot(*mask.shape), np.float32)
    inside = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(inside - outside, np.float32)


def _surroundings(mask: Mask) -> tuple[int, int, int, int]:
    """A window around the object of a mask, which may extend beyond the picture."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    more = max(_LEAST, round(_SURROUNDINGS * max(x1 - x0, y1 - y0)))
    return x0 - more, y0 - more, x1 + more, y1 + more


def _close_up(
    values: NDArray[Any], window: tuple[int, int, int, int], size: tuple[int, int], border: int
) -> NDArray[Any]:
    """A window of an array, resampled to `size` = (width, height)."""
    x0, y0, x1, y1 = window
    height, width = values.shape
    inside = values[max(y0, 0) : max(min(y1, height), 0), max(x0, 0) : max(min(x1, width), 0)]
    if inside.size == 0:
        return np.zeros(size[::-1], values.dtype)
    edges = max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0)
    padded = cv2.copyMakeBorder(inside, *edges, border, value=0)
    return np.asarray(cv2.resize(padded, size, interpolation=_resampling(size[0] / (x1 - x0))))


def _resampling(scale: float) -> int:
    return int(cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _placed(part: Mask, corner: tuple[int, int], size: tuple[int, ...]) -> Mask:
    """A mask of `size` with a part at (x, y), cut to it."""
    full = np.zeros(size, np.bool_)
    (x, y), (height, width) = corner, part.shape
    shown = part[max(0, -y) : max(0, size[0] - y), max(0, -x) : max(0, size[1] - x)]
    height, width = shown.shape
    full[max(y, 0) : max(y, 0) + height, max(x, 0) : max(x, 0) + width] = shown
    return full


def _flow(after: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.float32]:
    flow: Any = cv2
    found = flow.DISOpticalFlow_create(flow.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(found.calc(after, before, None), np.float32)


def _sample(values: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    found = cv2.remap(
        values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.asarray(found, np.float32)
