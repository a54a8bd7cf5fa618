"""Answers to the page as JSON: masks, run-length encoded, and objects."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.data.frames import Frame, part_of
from samadapt.data.rle import Rle
from samadapt.errors import DataError
from samadapt.proposals.proposal import Proposal
from samadapt.store.records import StoredObject

_LARGE = 1 << 26
"""Images with more pixels are large: the page gets masks as parts of the image."""
_MOST_POINTS = 1 << 21
"""Most points of a mask of a large image; larger masks are sent coarser."""


def crop_of(mask: NDArray[np.bool_] | None) -> dict[str, Any] | None:
    """Return a mask (H, W) in the page's format `Crop`, cut to its bounding box; None if empty."""
    if mask is None:
        return None
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    rle = Rle.from_mask(mask[top:bottom, left:right])
    return {
        "x": left,
        "y": top,
        "width": right - left,
        "height": bottom - top,
        "counts": rle.counts.decode("ascii"),
    }


def digest(crop: dict[str, Any] | None) -> str:
    """Return a hash of a mask; the page sends it back to accept exactly this mask."""
    return (
        "" if crop is None else hashlib.sha256(repr(sorted(crop.items())).encode()).hexdigest()[:16]
    )


def proposal_crop(proposal: Proposal) -> dict[str, Any]:
    """Return the mask of a proposal in the page's format `Crop`."""
    crop, x, y = proposal.rle.cropped()
    found = crop_of(crop)
    if found is None:
        raise DataError("a proposal without a pixel")
    return found | {"x": x, "y": y}


def rle_crop(rle: Rle) -> dict[str, Any] | None:
    """Return a mask in the page's format `Crop`; None if empty.

    A mask that is large, on a large image, is made coarser.
    """
    if not rle.area:
        return None
    pixels = rle.size[0] * rle.size[1]
    frame = Frame.over(rle.box, _MOST_POINTS if pixels > _LARGE else pixels)
    small = part_of(rle, rle.box) if frame.step == 1 else Rle.from_mask(frame.points(rle))
    return {
        "x": frame.x,
        "y": frame.y,
        "width": small.size[1],
        "height": small.size[0],
        "counts": small.counts.decode("ascii"),
        "step": frame.step,
    }


def object_json(thing: StoredObject) -> dict[str, Any]:
    """Return an object with its mask: run lengths of the image, or a `Crop` of a large image."""
    is_large = thing.height * thing.width > _LARGE
    mask = {"mask": rle_crop(thing.rle)} if is_large else {"counts": thing.counts}
    return {
        "id": thing.id,
        "key": thing.key,
        "revision": thing.revision,
        "label": thing.label_id,
        "height": thing.height,
        "width": thing.width,
        **mask,
        "source": thing.source,
        "person": thing.person,
        "prompts": thing.prompts,
    }
