"""Masks in requests and answers: run-length encoded crops, or whole masks of objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

Mask = NDArray[np.bool_]


def read_crop(crop: dict[str, Any] | None, size: tuple[int, int]) -> Mask:
    """Return the whole mask (H, W) of `size` from a crop in an answer; empty for None."""
    full = np.zeros(size, np.bool_)
    if crop is None:
        return full
    x, y, width, height = (int(crop[name]) for name in ("x", "y", "width", "height"))
    full[y : y + height, x : x + width] = _decoded(height, width, crop["counts"])
    return full


def read_object(thing: dict[str, Any]) -> Mask:
    """Return the mask (H, W) of an accepted object in an answer."""
    return _decoded(int(thing["height"]), int(thing["width"]), thing["counts"])


def write_crop(mask: Mask) -> dict[str, Any] | None:
    """Return a mask (H, W) as a crop for a request; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    part = np.asfortranarray(mask[top:bottom, left:right].astype(np.uint8))
    return {
        "x": int(left),
        "y": int(top),
        "width": int(right - left),
        "height": int(bottom - top),
        "counts": coco.encode(part)["counts"].decode("ascii"),
    }


def _decoded(height: int, width: int, counts: str) -> Mask:
    return np.asarray(coco.decode({"size": [height, width], "counts": counts.encode()}), np.bool_)
