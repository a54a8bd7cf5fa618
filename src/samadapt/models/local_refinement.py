"""Local refinement: a correction is decoded again on a close-up of the changed region."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from samadapt.models.geometry import InputGeometry, Window
from samadapt.models.prediction import Prediction
from samadapt.models.zoom_in import MAGNIFICATION, span
from samadapt.prompts import Click

EXPANSION = 2.0
"""A window is this many times as wide as the region that the click changed."""

SMALLEST_SHARE = 0.2
"""No window below this share of the view's longer side: the decoder needs the surroundings."""

GAIN = 1.25
"""A close-up has at least this many times the resolution of the view before."""

_RIM = 0.06
"""Rim of a window, as a share of it, that keeps the mask of the whole view: it has more context."""


def correction_window(
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    click: Click,
    seen: InputGeometry,
    side: int,
) -> Window | None:
    """The window around the connected region that changed and holds the newest click, or None.

    This is the "local view" of FocalClick (Chen et al. 2022, arXiv 2204.02574, section 3.1), with
    our own sizes. None is returned if the mask did not change under the click, or if the window
    is so large that a close-up has no finer resolution than the view.

    Args:
        before: (h, w) earlier mask on the decoder's grid.
        after: (h, w) mask that answers the click.
        click: the newest one.
        seen: geometry of the view that both masks belong to.
        side: the longer side of a close-up's input, in pixels.
    """
    height, width = before.shape
    at = seen.to_input(torch.tensor([[click.x, click.y]]))[0].tolist()
    column = min(max(int(at[0] * width / seen.padded[1]), 0), width - 1)
    row = min(max(int(at[1] * height / seen.padded[0]), 0), height - 1)
    changed = (before != after).astype(np.uint8)
    if not changed[row, column]:
        return None
    regions = cv2.connectedComponents(changed)[1]
    x, y, across, down = cv2.boundingRect((regions == regions[row, column]).astype(np.uint8))
    cell_x = seen.padded[1] / width / seen.scale[0]
    cell_y = seen.padded[0] / height / seen.scale[1]
    box = (x * cell_x, y * cell_y, (x + across) * cell_x, (y + down) * cell_y)
    wanted = max(box[2] - box[0], box[3] - box[1]) * EXPANSION
    wanted = max(wanted, SMALLEST_SHARE * max(seen.shown), side / MAGNIFICATION)
    if wanted * max(seen.scale) * GAIN > side:
        return None
    (x0, x1), (y0, y1) = (
        span(box[axis] + corner, box[axis + 2] + corner, wanted, seen.original[1 - axis])
        for axis, corner in enumerate(seen.corner)
    )
    return x0, y0, x1, y1


def merge(
    whole: Prediction, detail: Prediction, window: Window, on_grid: NDArray[np.float32]
) -> Prediction:
    """Replace the mask of `whole` by that of `detail` inside the window, except for a rim.

    Args:
        whole: one mask.
        detail: one mask, on the close-up of `window`.
        window: the part of the image that `detail` refines.
        on_grid: (1, h, w) logits of `detail` on the grid of `whole`.
    """
    x0, y0, x1, y1 = _without_rim(window, whole.masks.shape[1:])
    masks = whole.masks.copy()
    masks[:, y0:y1, x0:x1] = detail.masks[:, y0:y1, x0:x1]
    return replace(whole, masks=masks, logits=on_grid)


def inner_part(window: Window, seen: InputGeometry, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(h, w) the cells of a view's grid whose centres lie in a window without its rim."""
    x0, y0, x1, y1 = _without_rim(window, seen.original)
    inside = []
    for axis, (first, last) in enumerate(((y0, y1), (x0, x1))):
        per_cell = seen.padded[axis] / size[axis] / seen.scale[1 - axis]
        centres = (np.arange(size[axis]) + 0.5) * per_cell + seen.corner[1 - axis]
        inside.append((centres >= first) & (centres < last))
    return np.asarray(inside[0][:, None] & inside[1][None, :])


def _without_rim(window: Window, original: tuple[int, ...]) -> Window:
    """The window without its rim, except where it lies at the image's edge."""
    x0, y0, x1, y1 = window
    height, width = original
    across, down = round((x1 - x0) * _RIM), round((y1 - y0) * _RIM)
    return (
        x0 and x0 + across,
        y0 and y0 + down,
        x1 if x1 == width else x1 - across,
        y1 if y1 == height else y1 - down,
    )
