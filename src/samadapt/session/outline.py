"""Editable outlines: conversion of a mask to rings of corners, and back."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.data.polygons import mask_to_parts, without_straight_points
from samadapt.data.rle import Rle

Ring = list[tuple[float, float]]
"""Corners (x, y) of a closed line, in pixels."""

_FEWEST = 3


def rings_of(mask: NDArray[np.bool_], tolerance: float = 0.0) -> list[Ring]:
    """The outlines of a mask (H, W) and of its holes.

    Args:
        mask: (H, W).
        tolerance: largest distance, in pixels, of the simplified line from the exact one (Douglas
            & Peucker 1973). A ring with fewer than three corners left is kept exactly.
    """
    rings = []
    for part in mask_to_parts(mask):
        for line in (part.outer, *part.holes):
            exact = without_straight_points(line)
            found = exact
            if tolerance > 0:
                found = cv2.approxPolyDP(exact.astype(np.int32), tolerance, True)[:, 0]
            kept = found if len(found) >= _FEWEST else exact
            rings.append([(float(x), float(y)) for x, y in kept])
    return rings


def filled(rings: Sequence[Ring], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) inside rings, by the even-odd rule: a ring inside another one is a hole.

    With tolerance 0, `filled(rings_of(mask), mask.shape)` is the mask.
    """
    enclosing = [np.asarray(ring, np.float64) for ring in rings if len(ring) >= _FEWEST]
    return Rle.even_odd(enclosing, size).mask() if enclosing else np.zeros(size, np.bool_)
