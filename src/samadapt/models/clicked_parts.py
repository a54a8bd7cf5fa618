"""Clicked parts: the connected parts of a mask that hold a click on the object."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from samadapt.models.click_consistency import is_inside
from samadapt.models.geometry import OUTSIDE, InputGeometry
from samadapt.models.prediction import Prediction
from samadapt.prompts import Prompt

_REACH = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
"""Parts count as connected if this kernel closes their gap (four cells of the decoder's grid),
since thin objects often break into parts there."""

_EDGE = 0.25
"""A pixel with at least this share of a removed part is removed: a little beyond its outline."""


def without_unclicked_parts(found: Prediction, prompt: Prompt, seen: InputGeometry) -> Prediction:
    """Remove from each mask the connected parts (8 neighbours) that hold no click on the object.

    A mask stays whole if it has no click inside, or if the prompt has a box or a painted (bool)
    mask, as the object may then consist of several parts.

    Args:
        found: the prediction for `prompt`; logits and masks are changed alike.
        prompt: the prompt.
        seen: geometry of the view that the logits belong to.
    """
    drawn = prompt.mask is not None and prompt.mask.dtype == np.bool_
    clicked = [click for click in prompt.clicks if click.positive]
    if not clicked or prompt.box is not None or drawn:
        return found
    cells = _cells([(click.x, click.y) for click in clicked], seen, found.logits.shape[1:])
    masks, logits = found.masks, found.logits
    for index, grid in enumerate(found.logits > 0):
        unclicked = _unclicked(grid, cells)
        if unclicked is None:
            continue
        if logits is found.logits:
            masks, logits = masks.copy(), logits.copy()
        soft = torch.from_numpy(unclicked.astype(np.float32))[None, None]
        rest = masks[index] & (seen.to_original(soft)[0, 0] <= _EDGE).numpy()
        if any(is_inside(masks[index], c) and not is_inside(rest, c) for c in clicked):
            continue  # the grid is too coarse for this mask
        masks[index] = rest
        logits[index][unclicked] = OUTSIDE
    return found if logits is found.logits else replace(found, masks=masks, logits=logits)


def _unclicked(grid: NDArray[np.bool_], cells: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """(h, w) the parts of a mask that hold none of the cells (N, 2); None if there are none."""
    count, parts = cv2.connectedComponents(cv2.dilate(grid.astype(np.uint8), _REACH))
    if count <= 2:
        return None
    clicked = parts[cells[:, 0], cells[:, 1]]
    if not clicked.any():
        return None
    unclicked = grid & ~np.isin(parts, clicked)
    return unclicked if unclicked.any() else None


def _cells(
    points: list[tuple[float, float]], seen: InputGeometry, size: tuple[int, ...]
) -> NDArray[np.int64]:
    """(N, 2) row and column of the cell under each point that the view shows.

    A point on the border, or in a cell of padding, belongs to the last cell that shows image.
    """
    at = seen.to_input(torch.tensor(points, dtype=torch.float64)).numpy()[:, ::-1]
    shown = ((at >= 0) & (at <= seen.resized)).all(1)
    scale = np.array(size) / np.array(seen.padded)
    last = np.ceil(np.array(seen.resized) * scale).astype(np.int64) - 1
    return np.asarray(np.minimum(np.floor(at[shown] * scale).astype(np.int64), last))
