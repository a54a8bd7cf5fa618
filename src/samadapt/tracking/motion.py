"""What moved between two slices: a mask of one is moved to where its object is in the other."""

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

LONGEST_SIDE = 640
"""Optical flow is computed on pictures of at most this many pixels along the longer side."""
_REACH = 0.12
"""How far objects are looked for, as a share of the grid's side."""
_RIM = 5
"""Pixels around an object in which its surroundings count too."""
_WORTH = 0.9
"""The shift that the features tell is taken when its error is at most this share of the other."""


@dataclass(frozen=True, slots=True, eq=False)
class SliceView:
    """A slice as motion sees it.

    Attributes:
        grey: (h, w) uint8, at most `LONGEST_SIDE` long.
        embedding: of the whole slice.
    """

    grey: NDArray[np.uint8]
    embedding: ImageEmbedding

    @classmethod
    def of(cls, pixels: NDArray[np.uint8], embedding: ImageEmbedding) -> SliceView:
        """From pixels (H, W, 3)."""
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        scale = LONGEST_SIDE / max(grey.shape)
        if scale < 1:
            size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        return cls(np.asarray(grey, np.uint8), embedding)


class Motion:
    """The motion from one slice to another.

    Dense optical flow (DIS; Kroeger et al., ECCV 2016) follows what moved a little and changed its
    shape. Where an object jumped further than flow can see, the model's own features find it: the
    shift under which the object's features agree best with those of the other slice. Of the two
    the one that explains the pixels better moves the mask.

    Args:
        before: the slice that masks are from.
        after: the slice that they go to.
    """

    def __init__(self, before: SliceView, after: SliceView) -> None:
        self._before, self._after = before, after
        self._flows: dict[tuple[int, int], NDArray[np.float32]] = {}

    def carry(self, mask: Mask) -> Mask:
        """The mask (H, W) where its object is in the other slice; empty if it left the picture."""
        if not mask.any():
            return mask.copy()
        size = self._after.grey.shape
        soft = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
        options = [(0, 0), self._jump(soft)]
        best, least = None, math.inf
        for shift in dict.fromkeys(options):
            moved, error = self._moved(soft, shift)
            if best is None or error < _WORTH * least:
                best, least = moved, error
        full = cv2.resize(best, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(full > 0.5)

    # -- private --------------------------------------------------------------------------

    def _moved(
        self, soft: NDArray[np.float32], shift: tuple[int, int]
    ) -> tuple[NDArray[np.float32], float]:
        """The mask shifted and then bent by flow, and how badly that explains the pixels."""
        places = self._places(shift)
        moved = _sample(soft, places)
        look = _sample(self._before.grey.astype(np.float32), places)
        size = 2 * _RIM + 1
        around = cv2.dilate(moved, np.ones((size, size), np.uint8)) > 0.5
        if not around.any():
            return moved, math.inf
        error = np.abs(look - self._after.grey)[around].mean()
        return moved, float(error)

    def _places(self, shift: tuple[int, int]) -> NDArray[np.float32]:
        """Where each pixel (x, y) of the slice after was before, (h, w, 2)."""
        if shift not in self._flows:
            x, y = shift
            height, width = self._after.grey.shape
            moved = np.array([[1, 0, x], [0, 1, y]], np.float32)
            before = cv2.warpAffine(
                self._before.grey, moved, (width, height), borderMode=cv2.BORDER_REPLICATE
            )
            flow = _flow(self._after.grey, before)
            rows, columns = np.mgrid[:height, :width].astype(np.float32)
            at = np.stack([columns - x, rows - y], axis=-1)
            self._flows[shift] = at + flow
        return self._flows[shift]

    def _jump(self, soft: NDArray[np.float32]) -> tuple[int, int]:
        """Shift (x, y) in pixels of the grey picture under which the features agree best."""
        here, there = self._before.embedding, self._after.embedding
        grid = here.grid
        geometry = here.geometry
        full = cv2.resize(soft, geometry.original[::-1], interpolation=cv2.INTER_LINEAR)
        weights = geometry.to_decoder(torch.from_numpy(full)[None, None], grid)[0, 0]
        rows, columns = torch.nonzero(weights > 0.25, as_tuple=True)
        if len(rows) == 0:
            return 0, 0
        window = (
            slice(int(rows.min()), int(rows.max()) + 1),
            slice(int(columns.min()), int(columns.max()) + 1),
        )
        reach = max(2, round(_REACH * max(grid)))
        kernel = F.normalize(here.image[0].float().cpu(), dim=0)[:, *window] * weights[window]
        target = F.pad(F.normalize(there.image[0].float().cpu(), dim=0), (reach,) * 4)
        rows_end, columns_end = window[0].stop + 2 * reach, window[1].stop + 2 * reach
        part = target[:, window[0].start : rows_end, window[1].start : columns_end]
        agreement = F.conv2d(part[None], kernel[None])[0, 0]
        best = divmod(int(agreement.argmax()), agreement.shape[1])
        cell = [geometry.padded[k] / grid[k] / geometry.scale[1 - k] for k in (0, 1)]
        shrunk = self._after.grey.shape[0] / geometry.original[0]
        y, x = ((place - reach) * size * shrunk for place, size in zip(best, cell, strict=True))
        return round(x), round(y)


def signed_distance(mask: Mask) -> NDArray[np.float32]:
    """Pixels to the outline of a mask, positive inside; minus the diagonal for an empty one."""
    if not mask.any():
        return np.full(mask.shape, -math.hypot(*mask.shape), np.float32)
    inside = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(inside - outside, np.float32)


def _flow(after: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.float32]:
    flow: Any = cv2
    found = flow.DISOpticalFlow_create(flow.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(found.calc(after, before, None), np.float32)


def _sample(values: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    found = cv2.remap(
        values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.asarray(found, np.float32)
